"""Matrices of how much nodes tell about each other, as CSV: bare, in the order of the node table, or with identities on both sides."""

from __future__ import annotations

import csv

import numpy as np
import pyarrow as pa
import pyarrow.csv as pv
from numpy.typing import NDArray

from pipeline.contracts.nodes import Link
from pipeline.errors import ContractError
from pipeline.sources.unpacking import unpacked

MAX_WEIGHTS = 2**26


def parse_links(ids: tuple[str, ...], file: str, packed: bytes) -> tuple[Link, ...]:
    """The links in a matrix: row by row each node's sources, in their order.

    Raises:
        ContractError: It is no matrix of numbers from 0 on, or not of these nodes.
    """
    data = unpacked(packed, file)
    first = next(csv.reader([data[: data.find(b"\n") if b"\n" in data else len(data)].decode("utf-8", errors="replace")]), [])
    named = not all(_is_number(text) for text in first)
    if len(ids) ** 2 > MAX_WEIGHTS:
        raise ContractError(
            asked=f"matrix {file}", found=f"{len(ids)} x {len(ids)} weights, more than {MAX_WEIGHTS}", mend="use kind = 'distance'"
        )
    rows, columns = (ids, ids)
    if named:
        columns = tuple(text.strip() for text in first[1:])
        rows, table = _named(data, file)
    else:
        table = _numbers(data, file, 0)
    if table.shape != (len(ids), len(ids)) or sorted(rows) != sorted(ids) or sorted(columns) != sorted(ids):
        strange = next((i for i in (*rows, *columns) if i not in ids), None)
        found = f"{table.shape[0]} x {table.shape[1]} weights" + (f", among them of '{strange}'" if strange else "")
        raise ContractError(asked=f"matrix {file} of {len(ids)} nodes", found=found, mend="give the matrix of the nodes in the node table")
    if not np.isfinite(table).all() or (table < 0).any():
        y, x = np.argwhere(~(table >= 0) | np.isinf(table))[0]
        raise ContractError(
            asked=f"weight in row {y + 1}, column {x + 1} of {file}", found=f"{table[y, x]}", mend="weights are numbers from 0 on"
        )
    target, source = np.nonzero(table)
    return tuple((columns[s], rows[t], float(table[t, s])) for t, s in zip(target.tolist(), source.tolist(), strict=True))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _read(data: bytes, file: str, skip: int, texts: int) -> pa.Table:
    try:
        width = data.split(b"\n", skip + 1)[skip].count(b",") + 1
        kinds = {f"f{k}": pa.string() if k < texts else pa.float64() for k in range(width)}
        return pv.read_csv(
            pa.BufferReader(data),
            read_options=pv.ReadOptions(use_threads=False, skip_rows=skip, autogenerate_column_names=True),
            convert_options=pv.ConvertOptions(column_types=kinds, null_values=[], strings_can_be_null=False),
        )
    except (pa.ArrowException, IndexError) as error:
        raise ContractError(
            asked=f"matrix {file}", found=f"no whole matrix of numbers: {error}"[:300], mend="fetch the file again"
        ) from error


def _numbers(data: bytes, file: str, skip: int) -> NDArray[np.float64]:
    table = _read(data, file, skip, 0)
    return np.stack([column.to_numpy() for column in table.columns], axis=1)


def _named(data: bytes, file: str) -> tuple[tuple[str, ...], NDArray[np.float64]]:
    table = _read(data, file, 1, 1)
    names = tuple(str(name).strip() for name in table.column(0).to_pylist())
    values = [column.to_numpy() for column in table.columns[1:]]
    return names, np.stack(values, axis=1) if values else np.zeros((len(names), 0))

"""Wide CSV: a file per variable (its stem is the variable's `column`), a column per node, a row per stamp; joined by stamp and node."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.contracts.times import to_seconds
from pipeline.contracts.worlds import Source
from pipeline.errors import ContractError
from pipeline.sources.adapter import Readings, RejectedRows
from pipeline.sources.columns import Columns
from pipeline.sources.csv_options import CsvOptions, time_kind
from pipeline.sources.delimited import header_of, read_columns
from pipeline.sources.encodings import readable
from pipeline.sources.rows import column_of, time_fault, valid_times
from pipeline.sources.unpacking import unpacked


def _stem(file: str) -> str:
    return Path(file).name.split(".")[0]


def parse_wide(source: Source, options: CsvOptions, parts: Mapping[str, bytes]) -> Readings:
    """Readings of one file per variable, joined by stamp and node; `row` counts the joined stamps.

    Raises:
        ContractError: A variable has no file, or one cannot be read as a whole.
    """
    by_stem = {_stem(file): file for file in parts}
    stamps: dict[str, NDArray[np.int64]] = {}
    tables: dict[str, tuple[tuple[str, ...], NDArray[np.float64]]] = {}
    rejected = RejectedRows()
    for name, variable in source.variables.items():
        file = by_stem.get(column_of(name, variable))
        if file is None:
            raise ContractError(
                asked=f"a file for variable '{name}' named {column_of(name, variable)}.csv",
                found=f"files {', '.join(parts)}",
                mend="add the file to locations, or correct the variable's column",
            )
        encoding, data = readable(options.encoding, unpacked(parts[file], file), file)
        text = options.model_copy(update={"encoding": encoding})
        nodes = [n for n in header_of(data, text.dialect, file) if n != options.time]
        valid_time, fault, found = _stamped(source, text, data, nodes, file)
        bad = np.flatnonzero(fault)
        rejected = rejected + found.rejected
        rejected += RejectedRows(
            file=(file,) * len(bad),
            row=tuple(int(r) for r in found.row[bad]),
            reason=tuple(time_fault(int(fault[i]), options, source.timezone) for i in bad),
            raw=tuple(found.text_of(found.row[bad])),
        )
        stamps[name] = _numbered(valid_time[fault == 0])
        tables[name] = tuple(nodes), np.stack([found.columns[n][fault == 0] for n in nodes], axis=1) if nodes else np.zeros((0, 0))
    return _joined(stamps, tables, rejected)


def _stamped(
    source: Source, options: CsvOptions, data: bytes, nodes: list[str], file: str
) -> tuple[NDArray[np.int64], NDArray[np.int8], Columns]:
    """The instant of each row taken, the number of the rule that its stamp breaks (0: none), and the columns."""
    if options.first_time is not None and options.step is not None:
        found = read_columns(data, dict.fromkeys(nodes, "number"), options.dialect, file)
        start, step = to_seconds(options.first_time), int(options.step.total_seconds())
        return start + (found.row - 1) * step, np.zeros(len(found.row), np.int8), found
    kind = time_kind(options, data, file)
    found = read_columns(data, {options.time: kind} | dict.fromkeys(nodes, "number"), options.dialect, file)
    return *valid_times(options, source.timezone, found.columns[options.time], kind), found


_REPEATS = 4096


def _numbered(stamps: NDArray[np.int64]) -> NDArray[np.int64]:
    """Stamps made unique: stamp * 4096 + how often it came before in the file."""
    order = np.argsort(stamps, kind="stable")
    ordered = stamps[order]
    start = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]]) if len(stamps) else np.zeros(0, np.int64)
    nth = np.arange(len(stamps)) - np.repeat(start, np.diff(np.r_[start, len(stamps)]))
    numbered = np.empty_like(stamps)
    numbered[order] = ordered * _REPEATS + np.minimum(nth, _REPEATS - 1)
    return numbered


def _joined(
    stamps: dict[str, NDArray[np.int64]], tables: dict[str, tuple[tuple[str, ...], NDArray[np.float64]]], rejected: RejectedRows
) -> Readings:
    keys = np.unique(np.concatenate(list(stamps.values())))
    ids = tuple(dict.fromkeys(n for nodes, _ in tables.values() for n in nodes))
    values: dict[str, NDArray[np.float64]] = {}
    for name, (nodes, table) in tables.items():
        whole = np.full((len(keys), len(ids)), np.nan)
        whole[np.ix_(np.searchsorted(keys, stamps[name]), np.array([ids.index(n) for n in nodes]))] = table
        values[name] = whole.ravel()
    count = len(keys) * len(ids)
    return Readings(
        node_ids=ids,
        node=np.tile(np.arange(len(ids), dtype=np.int32), len(keys)),
        valid_time=np.repeat(keys // _REPEATS, len(ids)),
        published_time=None,
        values=values,
        row=np.repeat(np.arange(1, len(keys) + 1), len(ids)),
        rejected=rejected,
        raw_rows=count + len(rejected),
    )

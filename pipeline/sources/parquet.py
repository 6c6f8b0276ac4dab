"""Parquet: typed columns, of which only those needed are read; declared sizes are checked before a byte is unpacked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pydantic import model_validator

from pipeline.contracts.worlds import Source
from pipeline.errors import ContractError
from pipeline.sources.adapter import NO_TIME, Readings
from pipeline.sources.columns import Columns, Dialect, Kind, kind_of_stamp, rejected_rows, require_columns, typed_columns
from pipeline.sources.files import FileAdapter, check_locations
from pipeline.sources.options import read_options
from pipeline.sources.row_options import RowOptions, check_rows
from pipeline.sources.rows import readings_of, row_kinds

MAX_BYTES = 2**31
_MEND = "fetch the file again; a newer delivery of the same name takes its place"
_PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}


class ParquetOptions(RowOptions):
    """The `options` of a Parquet source."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if len(self.given_nodes) != 1:
            raise ValueError("takes exactly one of node, node_column, node_pattern, node_place")
        return self


class ParquetAdapter(FileAdapter):
    """Parquet files, long: a row is a reading of one node."""

    example = "*.parquet"

    def check(self, source: Source) -> None:
        """Refuse options that make no sense.

        Raises:
            ConfigError: Naming the option, its value, what is allowed.
        """
        check_rows(read_options(ParquetOptions, source), source)
        check_locations(source, self.example)

    def parse(self, source: Source, parts: Mapping[str, bytes]) -> Readings:
        """The readings in a delivery's bytes.

        Raises:
            ContractError: The file as a whole cannot be read (truncated, a column missing or of another type).
        """
        options = read_options(ParquetOptions, source)
        [(file, data)] = parts.items()
        needed = list(row_kinds(options, source, "stamp", "stamp"))
        try:
            table = _read(data, needed, options, file)
        except (pa.ArrowException, OSError, ValueError) as error:
            raise ContractError(asked=f"read {file} ({len(data)} bytes)", found=f"no whole Parquet: {error}", mend=_MEND) from error
        time = _time_kind(table[options.time], options.time_format)
        published: Kind = "number"
        stamped = options.published or options.init
        if stamped is not None:
            published = _time_kind(table[stamped], options.published_format)
        kinds = row_kinds(options, source, time, published)
        return readings_of(source, options, file, _columns(table, kinds, options, file), time, published)


def _read(data: bytes, needed: list[str], options: ParquetOptions, file: str) -> pa.Table:
    parquet = pq.ParquetFile(pa.BufferReader(data))
    given = parquet.schema_arrow.names
    names = options.contract_names(given, needed, file) if options.strict else given
    require_columns(names, needed, file)
    options.refuse_column_as_node(names, file)
    called = {name: given[names.index(name)] for name in needed}
    needed = list(called.values())
    state = parquet.metadata
    wanted = {i for i in range(state.num_columns) if state.schema.column(i).path in needed}
    groups = [state.row_group(g) for g in range(state.num_row_groups)]
    size = sum(group.column(i).total_uncompressed_size for group in groups for i in wanted)
    if max(size, 8 * state.num_rows * max(len(wanted), 1)) > MAX_BYTES or sum(g.num_rows for g in groups) != state.num_rows:
        found = f"{state.num_rows} rows and {size} bytes declared, more than {MAX_BYTES} bytes or at odds with its row groups"
        raise ContractError(asked=f"read {file}", found=found, mend="split the file")
    table = parquet.read(columns=needed)
    table.validate(full=True)
    return table.select(needed).rename_columns(list(called))


def _time_kind(column: pa.ChunkedArray, form: str) -> Kind:
    kind = column.type
    if pa.types.is_timestamp(kind):
        return "instant" if kind.tz is not None else "stamp"
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        first = next((s for s in column.to_pylist() if s), "")
        return "number" if form.startswith("epoch") else "instant" if "%z" in form else kind_of_stamp(first)
    return "stamp" if pa.types.is_date(kind) else "number"


def _columns(table: pa.Table, kinds: dict[str, Kind], options: RowOptions, file: str) -> Columns:
    rows = np.arange(1, table.num_rows + 1)

    def text_of(wanted: NDArray[np.int64]) -> list[str]:
        return [str({c: _shown(table[c][int(n) - 1]) for c in table.column_names})[:500] for n in wanted]

    dialect = Dialect(stamp_format=options.stamp_format, nulls=options.nulls)
    columns: dict[str, Any] = {}
    bad: dict[int, str] = {}
    for name, kind in kinds.items():
        columns[name], faulty = _typed(table[name], name, kind, file, _texts(dialect, file))
        for i in np.flatnonzero(faulty):
            bad.setdefault(int(i) + 1, f"column '{name}': {_shown(table[name][int(i)]):.80} is no {kind}")
    keep = ~np.isin(rows, list(bad))
    kept = {n: c.filter(pa.array(keep)) if isinstance(c, pa.Array) else c[keep] for n, c in columns.items()}
    rejected = rejected_rows(file, sorted(bad.items()), text_of)
    return Columns(columns=kept, row=rows[keep], rejected=rejected, raw_rows=table.num_rows, text_of=text_of)


def _shown(cell: Any) -> str:
    try:
        return str(cell.as_py())
    except (OverflowError, ValueError):  # an instant that Python's datetime does not reach
        return str(cell.value)


Texts = Callable[[pa.ChunkedArray, Kind], tuple[Any, NDArray[np.bool_]]]


def _texts(dialect: Dialect, file: str) -> Texts:
    """How a column of texts becomes one of another kind, by the rules of every other text."""

    def convert(column: pa.ChunkedArray, kind: Kind) -> tuple[Any, NDArray[np.bool_]]:
        cells = [[text or ""] for text in column.to_pylist()]
        rows = np.arange(1, len(cells) + 1)
        found = typed_columns(cells, {"x": kind}, dialect, file, row=rows, bad=[], raw_rows=len(cells), text_of=lambda n: [""] * len(n))
        out = np.full(len(cells), NO_TIME if kind != "number" else np.nan, np.int64 if kind != "number" else np.float64)
        out[found.row - 1] = found.columns["x"]
        return out, ~np.isin(rows, found.row)

    return convert


def _typed(column: pa.ChunkedArray, name: str, kind: Kind, file: str, texts: Texts) -> tuple[Any, NDArray[np.bool_]]:
    """A column as its kind, and where a value is none of it."""
    given = column.type
    none = np.zeros(len(column), np.bool_)
    textual = pa.types.is_string(given) or pa.types.is_large_string(given)
    if kind == "text" and (textual or pa.types.is_integer(given) or pa.types.is_dictionary(given)):
        plain = column.cast(pa.string()).combine_chunks()
        return pc.dictionary_encode(pc.if_else(pc.equal(plain, ""), None, plain)), none
    if kind == "number" and (pa.types.is_integer(given) or pa.types.is_floating(given) or pa.types.is_decimal(given)):
        values = column.cast(pa.float64(), safe=False).fill_null(float("nan")).to_numpy().copy()
        return values, np.isinf(values)
    if textual and kind != "text":
        return texts(column, kind)
    if kind in ("stamp", "instant") and pa.types.is_timestamp(given):
        return _nanoseconds(column.cast(pa.int64()), _PER_SECOND[given.unit]), none
    if kind == "stamp" and pa.types.is_date(given):
        return _nanoseconds(column.cast(pa.date32()).cast(pa.int32()).cast(pa.int64()), 0), none
    raise ContractError(asked=f"column '{name}' of {file} as {kind}", found=f"type {given}", mend="name another column in the world file")


def _nanoseconds(column: pa.ChunkedArray, per_second: int) -> NDArray[np.int64]:
    """Nanoseconds since 1970 of counts of a unit (0 per second: days); far beyond what int64 holds: its end."""
    values = column.fill_null(int(NO_TIME)).to_numpy()
    scale = 86400 * 10**9 if per_second == 0 else 10**9 // per_second
    most = 2**62 // scale
    return np.where(values == NO_TIME, NO_TIME, np.clip(values, -most, most) * scale)

"""CSV in all its habits: gzip or not, any separator, long or wide, stamps of every kind, local time, decimal commas.

Long: a row is a reading of one node, a column per variable. Wide: a file per variable (its stem is the variable's `column`),
a column per node, a row per stamp; the files of one delivery are joined by stamp and node.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.contracts.deliveries import Delivery, Part
from pipeline.contracts.nodes import NodeSet
from pipeline.contracts.worlds import RawVariable, Source
from pipeline.errors import ConfigError, ContractError
from pipeline.settings import Settings
from pipeline.sources.adapter import NO_TIME, Readings, RejectedRows
from pipeline.sources.csv_options import CsvOptions
from pipeline.sources.delimited import Columns, Dialect, Kind, header_of, read_columns, require_columns, unpacked
from pipeline.sources.locations import find_files
from pipeline.sources.options import read_options
from pipeline.sources.stamps import known_calendars, local_to_utc, session_closes

_SECOND = 1_000_000_000
_EARLIEST, _LATEST = 0, 4_102_444_800
"""1970 and 2100: a stamp outside is a mistake."""


class CsvAdapter:
    """CSV files below the data folder or a relative path."""

    def check(self, source: Source) -> None:
        """Refuse options that make no sense.

        Raises:
            ConfigError: Naming the option, its value, what is allowed.
        """
        options = read_options(CsvOptions, source)
        if not source.locations:
            raise ConfigError(asked="locations", found="none", mend="name at least one file, for example data://folder/*.csv")
        if options.calendar is not None and options.calendar not in known_calendars():
            raise ConfigError(
                asked=f"options.calendar = '{options.calendar}'", found="no such calendar", mend="for example XNYS, XLON, XCSE"
            )
        _check_encoding(options.encoding)

    def deliveries(self, source: Source, settings: Settings, as_of: datetime) -> Iterator[Delivery]:
        """One delivery per file (wide: one of all files), then the node table where the world names one.

        Raises:
            NotYetAvailable: No such file is there.
            ConfigError: The location can never be read.
        """
        files = [path for location in source.locations for path in find_files(location, settings)]
        parts = [Part(name=path.name, location=str(path), read=path.read_bytes) for path in files]
        names = [p.name for p in parts]
        if len(set(names)) < len(names):
            twice = sorted({n for n in names if names.count(n) > 1})
            raise ConfigError(
                asked=f"locations {list(source.locations)}", found=f"two files named {twice[0]}", mend="give each its own source"
            )
        if read_options(CsvOptions, source).layout == "wide":
            yield Delivery(name="wide", parts=tuple(parts))
        else:
            yield from (Delivery(name=part.name, parts=(part,)) for part in parts)
        if source.nodes is not None and source.nodes.location is not None:
            for path in find_files(source.nodes.location, settings):
                yield Delivery(name=path.name, parts=(Part(name=path.name, location=str(path), read=path.read_bytes),), role="nodes")

    def parse(self, source: Source, parts: Mapping[str, bytes]) -> Readings:
        """The readings in a delivery's bytes.

        Raises:
            ContractError: The file as a whole cannot be read (truncated, a column missing).
        """
        options = read_options(CsvOptions, source)
        if options.layout == "wide":
            return _parse_wide(source, options, parts)
        [(file, data)] = parts.items()
        return parse_long(source, options, file, data)

    def parse_places(self, source: Source, parts: Mapping[str, bytes]) -> NodeSet:
        """The places in a node table.

        Raises:
            ContractError: The file as a whole cannot be read.
        """
        [(file, data)] = parts.items()
        return parse_places(source, file, data)


def _check_encoding(name: str) -> None:
    try:
        "".encode(name)
    except LookupError as error:
        raise ConfigError(
            asked=f"options.encoding = '{name}'", found="no such encoding", mend="for example utf-8, latin-1, cp1252"
        ) from error


def _stem(file: str) -> str:
    return Path(file).name.split(".")[0]


def _column(name: str, variable: RawVariable) -> str:
    return variable.column or name


def _time_kind(options: CsvOptions, data: bytes, file: str) -> Kind:
    """Whether the first stamp of a file carries a zone; the rest must do as the first."""
    if options.time_format in ("epoch_s", "epoch_ms"):
        return "number"
    if options.time_format != "iso":
        return "instant" if "%z" in options.time_format else "stamp"
    return _iso_kind(options, data, file, options.time)


def _iso_kind(options: CsvOptions, data: bytes, file: str, column: str) -> Kind:
    names = header_of(data, options.dialect, file)
    require_columns(names, [column], file)
    for line in data[:65536].split(b"\n")[0 if options.columns else 1 :]:
        fields = line.decode(options.encoding, errors="replace").strip().split(options.separator)
        if len(fields) == len(names):
            stamp = fields[names.index(column)].strip('" ')
            return "instant" if re.search(r"(Z|[+-]\d\d:?\d\d)$", stamp[10:]) else "stamp"
    return "stamp"


def _seconds(column: NDArray[np.int64] | NDArray[np.float64], form: str) -> NDArray[np.int64]:
    """Whole seconds, rounded up: a reading is never earlier than its stamp."""
    if column.dtype == np.float64:
        scaled = column / (1000 if form == "epoch_ms" else 1)
        odd = ~np.isfinite(scaled) | (np.abs(scaled) > 1e14)
        return np.where(odd, NO_TIME, np.ceil(np.where(odd, 0, scaled)).astype(np.int64))
    return np.where(column == NO_TIME, NO_TIME, -(-column.astype(np.int64) // _SECOND))


def _valid_time(
    options: CsvOptions, zone: str, column: NDArray[np.int64] | NDArray[np.float64], kind: Kind
) -> tuple[NDArray[np.int64], NDArray[np.int8]]:
    """Instants, and per row the number of the rule in _TIME_FAULTS that its stamp breaks (0: none)."""
    seconds = _seconds(column, options.time_format)
    fault = np.where(seconds == NO_TIME, 1, 0).astype(np.int8)
    outside = (fault == 0) & ((seconds < _EARLIEST) | (seconds >= _LATEST))
    fault[outside] = 2
    seconds = np.where(fault > 0, NO_TIME, seconds)
    if options.calendar is not None:
        days = np.where(fault > 0, NO_TIME, seconds // 86400)
        seconds = session_closes(days, options.calendar)
        fault[(fault == 0) & (seconds == NO_TIME)] = 5
    elif kind == "stamp":
        seconds, twice = local_to_utc(seconds, zone, options.ambiguous)
        fault[(fault == 0) & twice] = 4
        fault[(fault == 0) & (seconds == NO_TIME)] = 3
    if options.interval is not None:
        seconds = np.where(seconds == NO_TIME, NO_TIME, seconds + int(options.interval.total_seconds()))
    return seconds, fault


def _time_fault(code: int, options: CsvOptions, zone: str) -> str:
    return {
        1: "no stamp",
        2: "a stamp outside 1970 .. 2100",
        3: f"a stamp that {zone} skips when its clocks go forward",
        4: f"a stamp that {zone} passes twice when its clocks go back; options.ambiguous = 'first' or 'second' decides",
        5: f"not a session of {options.calendar}",
    }[code]


def parse_long(source: Source, options: CsvOptions, file: str, packed: bytes) -> Readings:
    """The readings of one long file.

    Raises:
        ContractError: It cannot be read as a whole.
    """
    data = unpacked(packed, file)
    time_kind = _time_kind(options, data, file)
    kinds: dict[str, Kind] = {options.time: time_kind}
    published_kind: Kind = "number"
    if options.published is not None:
        published_kind = _iso_kind(options, data, file, options.published) if options.published_format == "iso" else "number"
        kinds[options.published] = published_kind
    if options.node_column is not None:
        kinds[options.node_column] = "text"
    kinds |= {_column(name, variable): "number" for name, variable in source.variables.items()}
    found = read_columns(data, kinds, options.dialect, file)
    valid_time, fault = _valid_time(options, source.timezone, found.columns[options.time], time_kind)
    ids, node = _nodes(options, file, found)
    reasons = {int(i): _time_fault(int(fault[i]), options, source.timezone) for i in np.flatnonzero(fault)}
    reasons = {int(i): "no node" for i in np.flatnonzero(node < 0)} | reasons
    keep = (fault == 0) & (node >= 0)
    published = None
    if options.published is not None:
        published = _seconds(found.columns[options.published], options.published_format)
        if published_kind == "stamp":
            published = local_to_utc(published, source.timezone, "second")[0]
        published = published[keep]
    bad = np.array(sorted(reasons), np.int64)
    rejected = RejectedRows(
        file=(file,) * len(bad),
        row=tuple(int(r) for r in found.row[bad]),
        reason=tuple(reasons[int(i)] for i in bad),
        raw=tuple(found.text_of(found.row[bad])),
    )
    return Readings(
        node_ids=ids,
        node=node[keep],
        valid_time=valid_time[keep],
        published_time=published,
        values={name: found.columns[_column(name, variable)][keep] for name, variable in source.variables.items()},
        row=found.row[keep],
        rejected=found.rejected + rejected,
        raw_rows=found.raw_rows,
    )


def _nodes(options: CsvOptions, file: str, found: Columns) -> tuple[tuple[str, ...], NDArray[np.int32]]:
    if options.node_column is not None:
        column = found.columns[options.node_column]
        codes = column.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int32)
        return tuple(column.dictionary.to_pylist()), codes
    name = options.node
    if options.node_pattern is not None:
        match = re.search(options.node_pattern, file)
        if match is None:
            raise ContractError(
                asked=f"node in the name of {file}", found=f"no match for '{options.node_pattern}'", mend="correct options.node_pattern"
            )
        name = match.group(1) if match.groups() else match.group(0)
    return (str(name),), np.zeros(len(found.row), np.int32)


def _parse_wide(source: Source, options: CsvOptions, parts: Mapping[str, bytes]) -> Readings:
    """Readings of one file per variable, joined by stamp and node; `row` counts the joined stamps."""
    by_stem = {_stem(file): file for file in parts}
    stamps: dict[str, NDArray[np.int64]] = {}
    tables: dict[str, tuple[tuple[str, ...], NDArray[np.float64]]] = {}
    rejected = RejectedRows()
    for name, variable in source.variables.items():
        file = by_stem.get(_column(name, variable))
        if file is None:
            raise ContractError(
                asked=f"a file for variable '{name}' named {_column(name, variable)}.csv",
                found=f"files {', '.join(parts)}",
                mend="add the file to locations, or correct the variable's column",
            )
        data = unpacked(parts[file], file)
        time_kind = _time_kind(options, data, file)
        nodes = [n for n in header_of(data, options.dialect, file) if n != options.time]
        found = read_columns(data, {options.time: time_kind} | dict.fromkeys(nodes, "number"), options.dialect, file)
        valid_time, fault = _valid_time(options, source.timezone, found.columns[options.time], time_kind)
        bad = np.flatnonzero(fault)
        rejected = rejected + found.rejected
        rejected += RejectedRows(
            file=(file,) * len(bad),
            row=tuple(int(r) for r in found.row[bad]),
            reason=tuple(_time_fault(int(fault[i]), options, source.timezone) for i in bad),
            raw=tuple(found.text_of(found.row[bad])),
        )
        stamps[name] = _numbered(valid_time[fault == 0])
        tables[name] = tuple(nodes), np.stack([found.columns[n][fault == 0] for n in nodes], axis=1) if nodes else np.zeros((0, 0))
    return _joined(stamps, tables, rejected)


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


def _east(longitude: NDArray[np.float64]) -> NDArray[np.float64]:
    return (longitude + 180) % 360 - 180 if (longitude >= 180).any() else longitude


def parse_places(source: Source, file: str, packed: bytes) -> NodeSet:
    """The places in a node table, in the order of the file.

    Raises:
        ContractError: It cannot be read as a whole, or a row of it cannot.
    """
    if source.nodes is None:
        raise ContractError(asked=f"read node table {file}", found="a source without [nodes]", mend="describe its columns in nodes = { … }")
    table = source.nodes
    ends = [c for c in (table.latitude_end, table.longitude_end) if c is not None]
    numbers = [table.latitude, table.longitude, *ends]
    kinds: dict[str, Kind] = {table.id: "text"}
    kinds.update(dict.fromkeys(numbers, "number"))
    found = read_columns(unpacked(packed, file), kinds, Dialect(separator=table.separator), file)
    if len(found.rejected):
        first = found.rejected
        raise ContractError(asked=f"row {first.row[0]} of node table {file}", found=first.reason[0], mend="mend that row")
    ids = tuple(pa.array(found.columns[table.id]).cast(pa.string()).to_pylist())
    places = np.stack([found.columns[n] for n in numbers], axis=1)
    if len(set(ids)) < len(ids) or None in ids:
        raise ContractError(asked=f"node table {file}", found="a node without id, or twice", mend="mend the table")
    if len(numbers) == 2:
        return NodeSet(ids=ids, latitude=places[:, 0], longitude=_east(places[:, 1]))
    middle = (places[:, :2] + places[:, 2:]) / 2
    return NodeSet(ids=ids, latitude=middle[:, 0], longitude=_east(middle[:, 1]), ends=places)

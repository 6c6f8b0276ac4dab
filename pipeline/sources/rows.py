"""Rows of a long table, whatever file they come from, as readings: their stamps become instants, their node is found."""

from __future__ import annotations

import re

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.contracts.worlds import RawVariable, Source
from pipeline.errors import ContractError
from pipeline.sources.adapter import NO_TIME, Readings, RejectedRows
from pipeline.sources.columns import Columns, Kind
from pipeline.sources.node_tables import placed_nodes
from pipeline.sources.row_options import RowOptions, StampOptions
from pipeline.sources.stamps import local_to_utc, session_closes

_SECOND = 1_000_000_000
_EARLIEST, _LATEST = 0, 4_102_444_800
"""1970 and 2100: a stamp outside is a mistake."""


def column_of(name: str, variable: RawVariable) -> str:
    """The provider's name of a variable."""
    return variable.column or name


def row_kinds(options: RowOptions, source: Source, time: Kind, published: Kind) -> dict[str, Kind]:
    """The columns that rows need, each with its kind."""
    kinds: dict[str, Kind] = {options.time: time}
    if options.published is not None:
        kinds[options.published] = published
    if options.init is not None:
        kinds[options.init] = published
    if options.node_column is not None:
        kinds[options.node_column] = "text"
    kinds |= dict.fromkeys(options.node_place or (), "number")
    if source.text is not None:
        kinds[source.text.column] = "text"
    return kinds | {column_of(name, variable): "number" for name, variable in source.variables.items()}


def _seconds(column: NDArray[np.int64] | NDArray[np.float64], form: str) -> NDArray[np.int64]:
    """Whole seconds, rounded up: a reading is never earlier than its stamp."""
    if column.dtype == np.float64:
        scaled = column / (1000 if form == "epoch_ms" else 1)
        odd = ~np.isfinite(scaled) | (np.abs(scaled) > 1e14)
        return np.where(odd, NO_TIME, np.ceil(np.where(odd, 0, scaled)).astype(np.int64))
    return np.where(column == NO_TIME, NO_TIME, -(-column.astype(np.int64) // _SECOND))


def valid_times(
    options: StampOptions, zone: str, column: NDArray[np.int64] | NDArray[np.float64], kind: Kind
) -> tuple[NDArray[np.int64], NDArray[np.int8]]:
    """Instants, and per row the number of the rule that its stamp breaks (0: none)."""
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


def time_fault(code: int, options: StampOptions, zone: str) -> str:
    """The rule of that number."""
    return {
        1: "no stamp",
        2: "a stamp outside 1970 .. 2100",
        3: f"a stamp that {zone} skips when its clocks go forward",
        4: f"a stamp that {zone} passes twice when its clocks go back; options.ambiguous = 'first' or 'second' decides",
        5: f"not a session of {options.calendar}",
    }[code]


def readings_of(source: Source, options: RowOptions, file: str, found: Columns, time: Kind, published_kind: Kind) -> Readings:
    """The readings in typed rows; those without stamp or node are rejected.

    Raises:
        ContractError: The node cannot be told from the file's name.
    """
    valid_time, fault = valid_times(options, source.timezone, found.columns[options.time], time)
    ids, node = _nodes(options, file, found)
    reasons = {int(i): time_fault(int(fault[i]), options, source.timezone) for i in np.flatnonzero(fault)}
    reasons = {int(i): "no node" for i in np.flatnonzero(node < 0)} | reasons
    keep = (fault == 0) & (node >= 0)

    def instants(column: str | None) -> NDArray[np.int64] | None:
        if column is None:
            return None
        seconds = _seconds(found.columns[column], options.published_format)
        utc: NDArray[np.int64] = local_to_utc(seconds, source.timezone, "second")[0] if published_kind == "stamp" else seconds
        return np.asarray(utc[keep])

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
        published_time=instants(options.published),
        values={name: found.columns[column_of(name, variable)][keep] for name, variable in source.variables.items()},
        row=found.row[keep],
        rejected=found.rejected + rejected,
        raw_rows=found.raw_rows,
        init_time=instants(options.init),
        text=None if source.text is None else found.columns[source.text.column].cast(pa.string()).filter(pa.array(keep)),
    )


def _nodes(options: RowOptions, file: str, found: Columns) -> tuple[tuple[str, ...], NDArray[np.int32]]:
    if options.node_column is not None:
        column = found.columns[options.node_column]
        codes = column.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int32)
        return tuple(column.dictionary.to_pylist()), codes
    if options.node_place is not None:
        return placed_nodes(*(found.columns[name] for name in options.node_place))
    name = options.node
    if options.node_pattern is not None:
        match = re.search(options.node_pattern, file)
        if match is None:
            raise ContractError(
                asked=f"node in the name of {file}", found=f"no match for '{options.node_pattern}'", mend="correct options.node_pattern"
            )
        name = match.group(1) if match.groups() else match.group(0)
    return (str(name),), np.zeros(len(found.row), np.int32)

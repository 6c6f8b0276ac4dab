"""Rows of a long table, whatever file they come from, as readings: their stamps become instants, their node is found."""

from __future__ import annotations

import re

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.contracts.worlds import RawVariable, Source
from pipeline.errors import ContractError
from pipeline.sources.adapter import NO_TIME, Readings, RejectedRows
from pipeline.sources.columns import Columns, Dialect, Kind, kind_of_stamp, typed_columns
from pipeline.sources.node_tables import placed_nodes
from pipeline.sources.row_options import EPOCHS, RowOptions, StampOptions
from pipeline.sources.stamps import local_to_utc, session_closes

_SECOND = 1_000_000_000
_EARLIEST, _LATEST = 0, 4_102_444_800
"""1970 and 2100: a stamp outside is a mistake."""
_SECONDS_OF_1970, _SENSIBLE = 31_536_000, 631_152_000
"""An epoch within 1970 is a mistake where in another unit it is 1990 or later."""


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
        scaled = column / EPOCHS.get(form, 1)
        odd = ~np.isfinite(scaled) | (np.abs(scaled) > 1e14)
        return np.where(odd, NO_TIME, np.ceil(np.where(odd, 0, scaled)).astype(np.int64))
    seconds = -(-column.astype(np.int64, copy=False) // _SECOND)
    seconds[column == NO_TIME] = NO_TIME
    return seconds


def _mistaken_epochs(count: NDArray[np.float64], seconds: NDArray[np.int64], form: str) -> NDArray[np.int8]:
    """Per stamp that is nonsense as declared and sensible in another unit: 6 + the place of that unit in EPOCHS; else 0."""
    found = np.zeros(len(count), np.int8)
    odd = np.isfinite(count) & ((seconds < _SECONDS_OF_1970) | (seconds >= _LATEST))
    if not odd.any():
        return found
    for place, (other, per_second) in enumerate(EPOCHS.items()):
        sensible = odd & (found == 0) & (count >= _SENSIBLE * float(per_second)) & (count < _LATEST * float(per_second))
        found[sensible & (other != form)] = 6 + place
    return found


def valid_times(
    options: StampOptions, zone: str, column: NDArray[np.int64] | NDArray[np.float64], kind: Kind
) -> tuple[NDArray[np.int64], NDArray[np.int8]]:
    """Instants, and per row the number of the rule that its stamp breaks (0: none)."""
    seconds = _seconds(column, options.time_format)
    fault = (seconds == NO_TIME).astype(np.int8)
    if seconds.min(initial=_EARLIEST) < _EARLIEST or seconds.max(initial=_EARLIEST) >= _LATEST:
        fault[(fault == 0) & ((seconds < _EARLIEST) | (seconds >= _LATEST))] = 2
    if options.time_format in EPOCHS and kind == "number":
        mistaken = _mistaken_epochs(column.astype(np.float64), seconds, options.time_format)
        fault = np.where(mistaken > 0, mistaken, fault).astype(np.int8)
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


def text_times(options: StampOptions, zone: str, texts: list[str]) -> tuple[NDArray[np.int64], NDArray[np.int8]]:
    """`valid_times` of stamps written as texts, such as a file's name holds; what is no stamp has none."""
    epoch = options.time_format in EPOCHS
    pattern = options.stamp_format
    kind: Kind = (
        "number" if epoch else "instant" if "%z" in (pattern or "") or (not pattern and kind_of_stamp(texts[0]) == "instant") else "stamp"
    )
    dialect = Dialect(stamp_format=pattern)
    rows = np.arange(1, len(texts) + 1)
    found = typed_columns(
        [[t] for t in texts], {"t": kind}, dialect, "", row=rows, bad=[], raw_rows=len(texts), text_of=lambda n: [""] * len(n)
    )
    column = np.full(len(texts), np.nan) if epoch else np.full(len(texts), NO_TIME)
    column[found.row - 1] = found.columns["t"]
    return valid_times(options, zone, column, kind)


def time_fault(code: int, options: StampOptions, zone: str) -> str:
    """The rule of that number."""
    return {
        1: "no stamp",
        2: "a stamp outside 1970 .. 2100",
        3: f"a stamp that {zone} skips when its clocks go forward",
        4: f"a stamp that {zone} passes twice when its clocks go back; options.ambiguous = 'first' or 'second' decides",
        5: f"not a session of {options.calendar}",
        **{6 + n: f"nonsense as {options.time_format}, sensible as {form}: correct options.time_format" for n, form in enumerate(EPOCHS)},
    }[code]


def time_faults(fault: NDArray[np.int8], options: StampOptions, zone: str) -> dict[int, str]:
    """The rule that each faulty stamp breaks, by its place."""
    return {int(i): time_fault(int(fault[i]), options, zone) for i in np.flatnonzero(fault)}


def readings_of(source: Source, options: RowOptions, file: str, found: Columns, time: Kind, published_kind: Kind) -> Readings:
    """The readings in typed rows; those without stamp or node are rejected.

    Raises:
        ContractError: The node cannot be told from the file's name.
    """
    valid_time, fault = valid_times(options, source.timezone, found.columns[options.time], time)
    ids, node = _nodes(options, file, found)
    reasons = {int(i): "no node" for i in np.flatnonzero(node < 0)} | time_faults(fault, options, source.timezone)
    for column in (options.published, options.init):
        reasons = ({} if column is None else _strange(found.columns[column], column, options.published_format)) | reasons
    good = np.ones(len(node), np.bool_)
    good[list(reasons)] = False
    keep = slice(None) if not reasons else good

    def instants(column: str | None) -> NDArray[np.int64] | None:
        if column is None:
            return None
        seconds = _seconds(found.columns[column], options.published_format)
        known: NDArray[np.int64] = local_to_utc(seconds, source.timezone, "second")[0] if published_kind == "stamp" else seconds
        return np.asarray(known[keep], np.int64)

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
        text=None if source.text is None else found.columns[source.text.column].cast(pa.string()).filter(pa.array(good)),
    )


def _strange(column: NDArray[np.int64] | NDArray[np.float64], name: str, form: str) -> dict[int, str]:
    """The rule that each stamp breaks that says when a row was published or its run began; one that is absent breaks none."""
    seconds = _seconds(column, form)
    odd = (seconds != NO_TIME) & ((seconds < _EARLIEST) | (seconds >= _LATEST))
    if form not in EPOCHS:
        return {int(i): f"column '{name}': a stamp outside 1970 .. 2100" for i in np.flatnonzero(odd)}
    mistaken, forms = _mistaken_epochs(column.astype(np.float64), seconds, form), tuple(EPOCHS)
    told = {6 + n: f"nonsense as {form}, sensible as {other}: correct options.published_format" for n, other in enumerate(forms)}
    return {
        int(i): f"column '{name}': {told.get(int(mistaken[i]), 'a stamp outside 1970 .. 2100')}"
        for i in np.flatnonzero(odd | (mistaken > 0))
    }


def _nodes(options: RowOptions, file: str, found: Columns) -> tuple[tuple[str, ...], NDArray[np.int32]]:
    if options.node_column is not None:
        column = found.columns[options.node_column]
        codes = column.indices.fill_null(-1) if column.indices.null_count else column.indices
        return tuple(column.dictionary.to_pylist()), codes.to_numpy(zero_copy_only=False).astype(np.int32, copy=False)
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

"""Taking in one delivery: parsed, converted, flagged, and every row accounted for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline.contracts.flags import Flag
from pipeline.contracts.nodes import NodeSet
from pipeline.contracts.observations import REJECTION_SCHEMA, RowCounts
from pipeline.contracts.worlds import Source
from pipeline.errors import ContractError
from pipeline.quality import rules
from pipeline.quality.acceptance import document_keys, series_codes
from pipeline.quality.availability import available_times, settled
from pipeline.quality.findings import findings
from pipeline.quality.screen import Screened, rest_on_series, screen
from pipeline.quality.versions import by_series, orderly, unrepeated, value_bits
from pipeline.sources.adapter import Adapter, Readings
from pipeline.sources.slabs import slab_times
from pipeline.steps.accepting import accepted, check_whole
from pipeline.stores.landing import Landed, LandingStore
from pipeline.stores.observation_tables import dictionary_column

DUPLICATE = "duplicate"
"""The reason under which repeated readings are kept beside the rejected rows."""

STAMP = pa.timestamp("s", tz="UTC")


@dataclass(frozen=True, kw_only=True)
class Work:
    """A source whose deliveries are taken in; those numbered in `replaced` have a newer one of the same name.

    `first_received` is when this store began to receive the source, int64 seconds UTC; `places` are its nodes where a table or a grid says;
    `recorded` tells that its clock has stopped.
    """

    source: Source
    adapter: Adapter
    landing: LandingStore
    first_received: int
    replaced: frozenset[int]
    places: NodeSet | None
    recorded: bool


@dataclass(frozen=True, kw_only=True, eq=False)
class Taken:
    """One delivery, parsed and screened: the readings that stay, by node and instant, and the rows that do not.

    `key` (R,) tells apart rows of one node and instant: the run of a forecast, the text of a document; all 0 for readings.
    `further` are the columns beside the variables that are kept of them; `notes` say what looks like a mistake. `rejected` are the rows
    that broke a rule, `again` those that repeat another of the delivery.
    """

    landed: Landed
    ids: tuple[str, ...]
    node: NDArray[np.int32]
    valid_time: NDArray[np.int64]
    available_time: NDArray[np.int64]
    declared: NDArray[np.bool_]
    row: NDArray[np.int64]
    values: dict[str, NDArray[np.float32]]
    flags: dict[str, NDArray[np.uint16]]
    key: NDArray[np.int64]
    further: dict[str, pa.Array]
    rejected: pa.Table
    again: Again | None
    counts: RowCounts
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, eq=False)
class Again:
    """Readings of one delivery that repeat others: codes of its nodes, instants, what they say, their rows."""

    node: NDArray[np.int32]
    valid_time: NDArray[np.int64]
    columns: dict[str, pa.Array]
    row: NDArray[np.int64]


def take_in(work: Work, landed: Landed) -> Taken | None:
    """A delivery's readings; None where it is unreadable and replaced by a newer one."""
    parts = work.landing.read(landed)
    try:
        readings = slab_times(work.adapter, work.source, parts) if work.source.slabs else work.adapter.parse(work.source, parts)
    except ContractError as error:
        if landed.number in work.replaced:
            return None
        raise ContractError(asked=f"source {landed.source}: {error.asked}", found=error.found, mend=error.mend) from error
    readings = accepted(work.source, readings, landed.parts[0].name)
    check_whole(work.source, readings, work.places, f"{landed.name} of source {landed.source}")
    horizon = landed.received_time + int(work.source.ahead.total_seconds())
    latency = int(work.source.latency.total_seconds())
    since = readings.valid_time if readings.init_time is None else readings.init_time
    available, declared = available_times(
        since, readings.published_time, latency=latency, received_time=landed.received_time, first_received=work.first_received
    )
    punctual = ~declared | (available <= since + latency)
    early = rules.future(readings.valid_time, horizon)
    unpublished = declared & (available > landed.received_time)
    key = _keys(readings)
    series = readings.node if key is None else series_codes(readings.node, key)
    variables = {} if work.source.slabs else work.source.variables
    screened = screen(
        readings.values,
        variables,
        node=series,
        valid_time=readings.valid_time,
        punctual=punctual,
        received_time=horizon,
        cadence=None if work.source.cadence is None else int(work.source.cadence.total_seconds()),
    )
    if work.source.cadence is not None or rest_on_series(variables):
        available = settled(available, series, readings.valid_time, punctual)
    keep = rows = None
    if key is not None or not orderly(readings.node, readings.valid_time):
        bits = value_bits([s.values for s in screened.values()])
        bits += [] if readings.content is None else [readings.content]
        keep = unrepeated(series, readings.valid_time, available, bits)
        rows = by_series(readings.node, readings.valid_time, available, keep)
    taken = _taken(landed, readings, available, declared, screened, keep, rows, _further(readings, early), key)
    told = {} if work.recorded else {"early": early, "unpublished": unpublished}
    notes = tuple(findings(screened, work.source.variables, readings.values, readings.node, readings.node_ids, **told))
    return replace(taken, notes=notes)


def _keys(readings: Readings) -> NDArray[np.int64] | None:
    """What tells apart rows of one node and instant; None where nothing does."""
    return readings.init_time if readings.text is None else document_keys(readings.text)


def _further(readings: Readings, early: NDArray[np.bool_]) -> dict[str, pa.Array]:
    """The columns that forecasts, documents and whole grids have beside their variables."""
    columns: dict[str, pa.Array] = {}
    if readings.init_time is not None:
        columns["init_time"] = pa.array(readings.init_time, pa.int64()).cast(STAMP)
    if readings.text is not None:
        columns |= {"text": readings.text, "text_flag": pa.array(np.where(early, np.uint16(Flag.FUTURE), np.uint16(0)))}
    if readings.content is not None:
        columns |= {"content": pa.array(readings.content), "cells": pa.array(np.full(len(readings), readings.cells, np.int64))}
    return columns


def _taken(
    landed: Landed,
    readings: Readings,
    available: NDArray[np.int64],
    declared: NDArray[np.bool_],
    screened: dict[str, Screened],
    keep: NDArray[np.bool_] | None,
    rows: NDArray[np.int64] | NDArray[np.bool_] | None,
    further: dict[str, pa.Array],
    key: NDArray[np.int64] | None,
) -> Taken:
    """What stays of a delivery: `keep` (None: all of it), in the order `rows` (None: as it lies)."""
    values = {name: s.values for name, s in screened.items()}
    bad = readings.rejected
    rejected = REJECTION_SCHEMA.empty_table()
    if len(bad):
        columns = {"delivery": [landed.id] * len(bad), "file": bad.file, "row": bad.row, "reason": bad.reason, "raw": bad.raw}
        rejected = pa.table(columns, schema=REJECTION_SCHEMA)
    kept = len(readings) if keep is None else int(np.count_nonzero(keep))
    again = None
    if keep is not None and kept < len(keep):
        places = np.flatnonzero(~keep)
        said = {n: pa.array(v[places]) for n, v in values.items()} | {n: c.take(pa.array(places)) for n, c in further.items()}
        again = Again(node=readings.node[places], valid_time=readings.valid_time[places], columns=said, row=readings.row[places])
    here: Any = slice(None) if rows is None else rows
    if rows is not None:
        further = {n: c.filter(pa.array(rows)) if rows is keep else c.take(pa.array(rows)) for n, c in further.items()}
    return Taken(
        landed=landed,
        ids=readings.node_ids,
        node=readings.node[here],
        valid_time=readings.valid_time[here],
        available_time=available[here],
        declared=declared[here],
        row=readings.row[here],
        values={n: v[here] for n, v in values.items()},
        flags={n: s.flags[here] for n, s in screened.items()},
        key=np.zeros(kept, np.int64) if key is None else key[here],
        further=further,
        rejected=rejected,
        again=again,
        counts=RowCounts(raw=readings.raw_rows, observations=kept, duplicates=len(readings) - kept, rejected=len(bad)),
    )


def not_taken(taken: Sequence[Taken]) -> pa.Table:
    """The rows that do not stay, delivery by delivery: those that broke a rule, then those that repeat others."""
    tables, waiting = [REJECTION_SCHEMA.empty_table()], list[Taken]()
    for one in taken:
        if one.rejected.num_rows:
            tables += [*_repeated(waiting), one.rejected]
            waiting = []
        waiting += [one] if one.again is not None else []
    return pa.concat_tables([*tables, *_repeated(waiting)])


def _repeated(taken: Sequence[Taken]) -> list[pa.Table]:
    """What repeats others in these deliveries, as one table."""
    found = [(t, t.again) for t in taken if t.again is not None]
    if not found:
        return []
    ids = [i for t, _ in found for i in t.ids]
    first = np.cumsum([0, *(len(t.ids) for t, _ in found)])
    origin = np.repeat(np.arange(len(found), dtype=np.int32), [len(a.row) for _, a in found])
    node = np.concatenate([a.node + np.int32(offset) for (_, a), offset in zip(found, first, strict=False)])
    return [
        duplicate_rows(
            dictionary_column(node, ids),
            np.concatenate([a.valid_time for _, a in found]),
            {name: pa.concat_arrays([a.columns[name] for _, a in found]) for name in found[0][1].columns},
            dictionary_column(origin, [t.landed.id for t, _ in found]).cast(pa.string()),
            dictionary_column(origin, [t.landed.parts[0].name for t, _ in found]).cast(pa.string()),
            np.concatenate([a.row for _, a in found]),
        )
    ]


def duplicate_rows(
    node: pa.Array,
    valid_time: NDArray[np.int64],
    columns: dict[str, pa.Array],
    delivery: pa.Array,
    file: pa.Array,
    row: NDArray[np.int64],
) -> pa.Table:
    """Repeated readings as rejection rows whose text is the reading."""
    texts = [node.cast(pa.string()), pa.array(valid_time, pa.int64()).cast(STAMP).cast(pa.string())]
    for name, column in columns.items():
        texts.append(pc.binary_join_element_wise(name, column.cast(pa.string()), "=", null_handling="replace"))
    raw = pc.binary_join_element_wise(*texts, " ", null_handling="replace")
    reason = pa.array([DUPLICATE] * len(row), pa.string())
    return pa.table(
        {"delivery": delivery, "file": file, "row": pa.array(row, pa.int64()), "reason": reason, "raw": raw}, schema=REJECTION_SCHEMA
    )

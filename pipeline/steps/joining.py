"""The rows of several deliveries, side by side and beside what is stored: news, revisions, repeats."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.contracts.observations import REJECTION_SCHEMA
from pipeline.quality.acceptance import document_keys, series_codes
from pipeline.quality.rules import future
from pipeline.quality.versions import apart, merged, value_bits
from pipeline.steps.intake import STAMP, Taken, duplicate_rows
from pipeline.stores.observation_tables import Span, Stretches, dictionary_column, node_codes, stretches_of
from pipeline.stores.observations import ObservationStore

_TIMES = ("valid_time", "available_time", "received_time")
_LONG = 64
"""Rows of a stretch, on average, from which on whole stretches are quicker moved than rows."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Joined:
    """The rows of several deliveries that are news, and those that repeat others; `spans`: where each day lies, if they are in order."""

    table: pa.Table
    repeated: pa.Table
    spans: list[Span] | None = None


def joined(store: ObservationStore, taken: list[Taken]) -> Joined:
    """The rows of several deliveries beside each other and what is stored."""
    ids = sorted({i for t in taken for i in t.ids})
    place = {identity: code for code, identity in enumerate(ids)}
    nodes = [
        np.full(len(t.node), place[t.ids[0]], np.int32) if len(t.ids) == 1 else np.array([place[i] for i in t.ids] or [0], np.int32)[t.node]
        for t in taken
    ]
    stretches = stretches_of([(code, t.valid_time) for code, t in zip(nodes, taken, strict=True)], len(ids))
    stored = store.stored_versions(set(ids), set(np.unique(stretches.day).tolist()))
    count = 0 if stored is None else stored.num_rows
    alone = not count and sum(len(t.ids) for t in taken) == len(ids)
    long = 0 < len(stretches.day) * _LONG <= stretches.length.sum()
    if alone and long and stretches.apart and not taken[0].further:
        return Joined(table=_side_by_side(store, taken, ids, stretches), repeated=REJECTION_SCHEMA.empty_table(), spans=stretches.spans)
    node = np.concatenate(nodes)
    valid = np.concatenate([t.valid_time for t in taken])
    available = np.concatenate([t.available_time for t in taken])
    values = {name: np.concatenate([t.values[name] for t in taken]) for name in store.variables}
    lengths = [len(t.row) for t in taken]
    origin = np.repeat(np.arange(len(taken), dtype=np.int32), lengths)
    received = np.repeat([t.landed.received_time for t in taken], lengths)
    keep, available = _versions(store, stored, taken, ids, node, valid, available, received, values, origin)
    row = np.concatenate([t.row for t in taken])
    columns = _keys(taken, ids, node, valid, available, received, origin, row)
    for name in taken[0].further:
        columns[name] = pa.concat_arrays([t.further[name] for t in taken])
    for name in store.variables:
        columns |= _variable(name, values[name], np.concatenate([t.flags[name] for t in taken]))
    table = pa.table(columns)
    if keep.all():
        return Joined(table=table, repeated=REJECTION_SCHEMA.empty_table())
    again = table.filter(pa.array(~keep))
    places = origin[~keep]
    repeated = duplicate_rows(
        again["node"].combine_chunks(),
        valid[~keep],
        {name: again[name].combine_chunks() for name in (*store.variables, *taken[0].further)},
        dictionary_column(places, [t.landed.id for t in taken]).cast(pa.string()),
        dictionary_column(places, [t.landed.parts[0].name for t in taken]).cast(pa.string()),
        row[~keep],
    )
    return Joined(table=table.filter(pa.array(keep)), repeated=repeated)


def _side_by_side(store: ObservationStore, taken: list[Taken], ids: list[str], stretches: Stretches) -> pa.Table:
    """All rows of deliveries that share no node with each other nor with what is stored, in the order at rest."""
    keys = [[t.valid_time for t in taken], [t.available_time for t in taken], [t.row for t in taken]]
    values, flags = ([[getattr(t, part)[name] for t in taken] for name in store.variables] for part in ("values", "flags"))
    valid, available, row, *rest = stretches.gather([*keys, *values, *flags])
    columns = _keys(
        taken,
        ids,
        np.repeat(stretches.node, stretches.length),
        valid,
        available,
        _received(taken, stretches),
        np.repeat(stretches.piece, stretches.length),
        row,
    )
    for n, name in enumerate(store.variables):
        columns |= _variable(name, rest[n], rest[len(values) + n])
    return pa.table(columns)


def _received(taken: list[Taken], stretches: Stretches) -> NDArray[np.int64]:
    """When each row of these stretches was received."""
    times = np.array([t.landed.received_time for t in taken], np.int64)
    if (times == times[0]).all():
        return np.full(int(stretches.length.sum()), times[0])
    return np.repeat(times[stretches.piece], stretches.length)


def _keys(
    taken: list[Taken],
    ids: list[str],
    node: NDArray[np.int32],
    valid: NDArray[np.int64],
    available: NDArray[np.int64],
    received: NDArray[np.int64],
    origin: NDArray[np.int32],
    row: NDArray[np.int64],
) -> dict[str, pa.Array]:
    return {
        "node": dictionary_column(node, ids),
        "valid_time": pa.array(valid, pa.int64()).cast(STAMP),
        "available_time": pa.array(available, pa.int64()).cast(STAMP),
        "received_time": pa.array(received, pa.int64()).cast(STAMP),
        "delivery": dictionary_column(origin, [t.landed.id for t in taken]),
        "row": pa.array(row, pa.int64()),
    }


def _variable(name: str, values: NDArray[np.float32], flags: NDArray[np.uint16]) -> dict[str, pa.Array]:
    return {name: pa.array(values, mask=np.isnan(values)), f"{name}_flag": pa.array(flags)}


def _versions(
    store: ObservationStore,
    stored: pa.Table | None,
    taken: list[Taken],
    ids: list[str],
    node: NDArray[np.int32],
    valid: NDArray[np.int64],
    available: NDArray[np.int64],
    received: NDArray[np.int64],
    values: dict[str, NDArray[np.float32]],
    origin: NDArray[np.int32],
) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Which of the new rows are news beside each other and what is stored, and when each was available."""
    key = np.concatenate([t.key for t in taken])
    count = 0 if stored is None else stored.num_rows
    if not count and apart(node, origin):
        return np.ones(len(node), np.bool_), available
    known = np.array([t.landed.published_time or t.landed.received_time for t in taken], np.int64)[origin]
    declared = np.concatenate([t.declared for t in taken])
    old_values, old_key = {name: np.zeros(0, np.float32) for name in values}, np.zeros(0, np.int64)
    content = [t.further["content"].to_numpy() for t in taken if "content" in t.further]
    old_content = np.zeros(0, np.int64)
    old_node, old_valid, old_available = np.zeros(0, np.int32), np.zeros(0, np.int64), np.zeros(0, np.int64)
    old_received = np.zeros(0, np.int64)
    if stored is not None and count:
        codes, old_ids = node_codes(stored)
        place = {identity: code for code, identity in enumerate(ids)}
        old_node = np.array([place.get(i, len(ids) + n) for n, i in enumerate(old_ids)], np.int32)[codes]
        old_valid, old_available, old_received = (stored[c].cast(pa.int64()).to_numpy() for c in _TIMES)
        old_key = _stored_keys(stored)
        old_content = stored["content"].to_numpy() if content else old_content
        old_values = {name: stored[name].fill_null(float("nan")).to_numpy().astype(np.float32) for name in values}
    zeros = np.zeros(count, np.int64)
    bits = value_bits([np.concatenate([old_values[name], values[name]]) for name in values])
    bits += [np.concatenate([old_content, *content])] if content else []
    all_valid = np.concatenate([old_valid, valid])
    # What was stamped later than received is news when it comes again in time, though it says the same.
    bits += [future(all_valid, np.concatenate([old_received, received]) + store.ahead)]
    nodes, keys = np.concatenate([old_node, node]), np.concatenate([old_key, key])
    found = merged(
        series_codes(nodes, keys) if keys.any() else nodes,
        all_valid,
        np.concatenate([old_available, available]),
        bits,
        delivery=np.concatenate([zeros - 1, origin]),
        known_again=np.concatenate([zeros, known]),
        declared=np.concatenate([np.ones(count, np.bool_), declared]),
        old=np.concatenate([np.ones(count, np.bool_), np.zeros(len(node), np.bool_)]),
    )
    return found.keep[count:], found.available_time[count:]


def _stored_keys(stored: pa.Table) -> NDArray[np.int64]:
    """What tells apart stored rows of one node and instant, as `Taken.key` does."""
    if "init_time" in stored.column_names:
        keys: NDArray[np.int64] = stored["init_time"].cast(pa.int64()).to_numpy()
        return keys
    if "text" in stored.column_names:
        return document_keys(stored["text"].cast(pa.string()).combine_chunks())
    return np.zeros(stored.num_rows, np.int64)

"""Observe: parse what has landed, convert, flag and version it, and account for every row."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline.api import ObserveRequest, Receipt
from pipeline.contracts.nodes import NodeSet
from pipeline.contracts.observations import REJECTION_SCHEMA, RowCounts
from pipeline.contracts.world_files import load_world
from pipeline.contracts.worlds import Source, World
from pipeline.errors import ContractError
from pipeline.quality.availability import available_times, settled
from pipeline.quality.screen import Screened, screen
from pipeline.quality.versions import merged, unrepeated, value_bits
from pipeline.settings import Settings
from pipeline.sources.adapter import Adapter, Readings
from pipeline.sources.registry import adapter_named, check_sources, source_names
from pipeline.steps.checks import check_units
from pipeline.stores.landing import Landed, LandingStore
from pipeline.stores.objects import ObjectStore
from pipeline.stores.observations import DAY, Commit, ObservationStore, dictionary_column, node_codes, places_json
from pipeline.telemetry import Progress, Stage

BATCH_BYTES = 256 * 2**20
_GZIP_GROWS = 7
_STAMP = pa.timestamp("s", tz="UTC")
NO_ROWS = RowCounts(raw=0, observations=0, duplicates=0, rejected=0)


def run(request: ObserveRequest, settings: Settings, progress: Progress) -> Receipt:
    """Take in every landed delivery not yet observed; `unchanged` where there is none.

    Raises:
        ContractError: A delivery cannot be read as a whole, and no newer one of its name has landed.
        ConfigError: The world or a source's name is wrong.
        StoreError: Storage refused, or a stored file is damaged.
    """
    world = load_world(request.world)
    check_sources(world)
    check_units(world)
    objects = ObjectStore(settings.store)
    counts: dict[str, int] = {}
    ids = {"world": world.digest}
    notes: list[str] = []
    fresh = 0
    for name in source_names(world, request.source):
        store, batches = _observe_source(objects, world, name, progress, notes)
        fresh += batches
        total = store.counts()
        counts |= {f"{name}.{key}": getattr(total, key) for key in ("raw", "observations", "duplicates", "rejected")}
        ids[f"{name}.observations"] = store.digest
    return Receipt(
        step=request.step,
        world=world.name,
        as_of=request.as_of,
        outcome="done" if fresh else "unchanged",
        ids=ids,
        counts=counts,
        paths={"observations": objects.url(f"observations/{world.name}")},
        notes=tuple(notes),
    )


def _observe_source(objects: ObjectStore, world: World, name: str, progress: Progress, notes: list[str]) -> tuple[ObservationStore, int]:
    landing, store = LandingStore(objects, world.name, name), ObservationStore(objects, world, name)
    source = world.sources[name]
    manifest = landing.manifest()
    commits = store.commits()
    done = {number for commit in commits for number in commit.deliveries}
    pending = [d for d in manifest if d.role == "readings" and d.number not in done]
    newest = {d.name: d.number for d in manifest if d.role == "readings"}
    places = _new_places(store, commits, source, landing, manifest)
    if not manifest:
        notes.append(f"source {name}: nothing has landed yet")
    if not pending and places is None:
        return store, 0
    work = _Work(
        source=source,
        adapter=adapter_named(source.adapter),
        landing=landing,
        first_received=min((d.received_time for d in manifest), default=0),
        replaced=frozenset(d.number for d in pending if newest[d.name] != d.number),
    )
    batches = list(_batches(pending)) or [[]]
    with progress.stage(f"observe {name}", len(pending), "deliveries") as stage:
        for number, batch in enumerate(batches):
            _observe_batch(work, store, batch, places if number == 0 else None, len(commits) + number, stage, notes)
    return store, len(batches)


def _new_places(
    store: ObservationStore, commits: list[Commit], source: Source, landing: LandingStore, manifest: list[Landed]
) -> NodeSet | None:
    """The node table that the world or the newest delivery of one gives, where it is not the one observed already."""
    tables = [d for d in manifest if d.role == "nodes"]
    if tables:
        found = adapter_named(source.adapter).parse_places(source, landing.read(tables[-1]))
    elif source.nodes is not None and source.nodes.rows:
        ids, latitude, longitude = zip(*source.nodes.rows, strict=True)
        found = NodeSet(ids=ids, latitude=np.array(latitude, np.float64), longitude=np.array(longitude, np.float64))
    else:
        return None
    known = store.place_table(commits)
    return None if known is not None and places_json(known) == places_json(found) else found


def _batches(pending: list[Landed]) -> Iterator[list[Landed]]:
    batch: list[Landed] = []
    size = 0
    for landed in pending:
        grown = sum(p.bytes * (_GZIP_GROWS if p.name.endswith(".gz") else 1) for p in landed.parts)
        if batch and size + grown > BATCH_BYTES:
            yield batch
            batch, size = [], 0
        batch.append(landed)
        size += grown
    if batch:
        yield batch


@dataclass(frozen=True, kw_only=True)
class _Work:
    source: Source
    adapter: Adapter
    landing: LandingStore
    first_received: int
    replaced: frozenset[int]


@dataclass(frozen=True, kw_only=True, eq=False)
class _Taken:
    """One delivery, parsed and screened: the readings that stay, and the rows that do not."""

    landed: Landed
    ids: tuple[str, ...]
    node: NDArray[np.int32]
    valid_time: NDArray[np.int64]
    available_time: NDArray[np.int64]
    declared: NDArray[np.bool_]
    row: NDArray[np.int64]
    values: dict[str, NDArray[np.float32]]
    flags: dict[str, NDArray[np.uint16]]
    rejected: pa.Table
    counts: RowCounts


def _take_in(work: _Work, landed: Landed) -> _Taken | None:
    """A delivery's readings; None where it is unreadable and replaced by a newer one."""
    parts = work.landing.read(landed)
    try:
        readings = work.adapter.parse(work.source, parts)
    except ContractError as error:
        if landed.number in work.replaced:
            return None
        raise ContractError(asked=f"source {landed.source}: {error.asked}", found=error.found, mend=error.mend) from error
    received = landed.received_time
    latency = int(work.source.latency.total_seconds())
    available, declared = available_times(
        readings.valid_time, readings.published_time, latency=latency, received_time=received, first_received=work.first_received
    )
    punctual = ~declared | (available <= readings.valid_time + latency)
    if any(v.spike or v.stuck_after for v in work.source.variables.values()):
        available = settled(available, readings.node, readings.valid_time, punctual)
    screened = screen(
        readings.values,
        work.source.variables,
        node=readings.node,
        valid_time=readings.valid_time,
        punctual=punctual,
        received_time=received + int(work.source.ahead.total_seconds()),
    )
    keep = unrepeated(readings.node, readings.valid_time, available, value_bits([s.values for s in screened.values()]))
    return _taken(landed, readings, available, declared, screened, keep)


def _taken(
    landed: Landed,
    readings: Readings,
    available: NDArray[np.int64],
    declared: NDArray[np.bool_],
    screened: dict[str, Screened],
    keep: NDArray[np.bool_],
) -> _Taken:
    values = {name: s.values for name, s in screened.items()}
    file = landed.parts[0].name
    again = ~keep
    duplicates = _duplicates(
        dictionary_column(readings.node[again], readings.node_ids),
        readings.valid_time[again],
        {n: v[again] for n, v in values.items()},
        pa.array([landed.id] * int(again.sum()), pa.string()),
        pa.array([file] * int(again.sum()), pa.string()),
        readings.row[again],
    )
    bad = readings.rejected
    rejected = pa.table(
        {"delivery": [landed.id] * len(bad), "file": bad.file, "row": bad.row, "reason": bad.reason, "raw": bad.raw},
        schema=REJECTION_SCHEMA,
    )
    kept = int(keep.sum())
    return _Taken(
        landed=landed,
        ids=readings.node_ids,
        node=readings.node[keep],
        valid_time=readings.valid_time[keep],
        available_time=available[keep],
        declared=declared[keep],
        row=readings.row[keep],
        values={n: v[keep] for n, v in values.items()},
        flags={n: s.flags[keep] for n, s in screened.items()},
        rejected=pa.concat_tables([rejected, duplicates]),
        counts=RowCounts(raw=readings.raw_rows, observations=kept, duplicates=len(keep) - kept, rejected=len(bad)),
    )


def _duplicates(
    node: pa.Array,
    valid_time: NDArray[np.int64],
    values: dict[str, NDArray[np.float32]],
    delivery: pa.Array,
    file: pa.Array,
    row: NDArray[np.int64],
) -> pa.Table:
    """Repeated readings as rejection rows whose text is the reading."""
    texts = [node.cast(pa.string()), pa.array(valid_time, pa.int64()).cast(_STAMP).cast(pa.string())]
    for name, value in values.items():
        texts.append(pc.binary_join_element_wise(name, pa.array(value).cast(pa.string()), "=", null_handling="replace"))
    raw = pc.binary_join_element_wise(*texts, " ", null_handling="replace")
    reason = pa.array(["duplicate"] * len(row), pa.string())
    return pa.table(
        {"delivery": delivery, "file": file, "row": pa.array(row, pa.int64()), "reason": reason, "raw": raw}, schema=REJECTION_SCHEMA
    )


def _observe_batch(
    work: _Work, store: ObservationStore, batch: list[Landed], places: NodeSet | None, expected: int, stage: Stage, notes: list[str]
) -> None:
    """Take in a batch of deliveries and commit it, with the node table where that is new."""
    taken: list[_Taken] = []
    refused: list[int] = []
    rows = 0
    with ThreadPoolExecutor(max(1, min(8, os.cpu_count() or 1))) as pool:
        for landed, found in zip(batch, pool.map(lambda d: _take_in(work, d), batch), strict=True):
            if found is None:
                refused.append(landed.number)
                notes.append(f"{landed.name} (delivery {landed.number}) is unreadable; a newer one took its place")
            else:
                taken.append(found)
                rows += found.counts.raw
            stage.advance(1, f"{rows:,} rows")
    counts = sum((t.counts for t in taken), NO_ROWS)
    rejected = pa.concat_tables([REJECTION_SCHEMA.empty_table(), *(t.rejected for t in taken)])
    table = store.schema.empty_table()
    if taken:
        table, repeated = _join(store, taken)
        rejected = pa.concat_tables([rejected, repeated])
        moved = repeated.num_rows
        counts += RowCounts(raw=0, observations=-moved, duplicates=moved, rejected=0)
    store.append(table, rejected, counts, deliveries=[d.number for d in batch], refused=refused, places=places, expected=expected)


def _join(store: ObservationStore, taken: list[_Taken]) -> tuple[pa.Table, pa.Table]:
    """The rows of several deliveries that are news beside what is stored, and those that repeat it."""
    ids = sorted({i for t in taken for i in t.ids})
    place = {identity: code for code, identity in enumerate(ids)}
    node = np.concatenate([np.array([place[i] for i in t.ids] or [0], np.int32)[t.node] for t in taken])
    valid = np.concatenate([t.valid_time for t in taken])
    available = np.concatenate([t.available_time for t in taken])
    values = {name: np.concatenate([t.values[name] for t in taken]) for name in store.variables}
    origin = np.repeat(np.arange(len(taken)), [len(t.row) for t in taken])
    keep, available = _versions(store, taken, ids, node, valid, available, values, origin)
    columns: dict[str, pa.Array] = {
        "node": dictionary_column(node, ids),
        "valid_time": pa.array(valid, pa.int64()).cast(_STAMP),
        "available_time": pa.array(available, pa.int64()).cast(_STAMP),
        "received_time": pa.array(np.array([t.landed.received_time for t in taken], np.int64)[origin], pa.int64()).cast(_STAMP),
        "delivery": dictionary_column(origin.astype(np.int32), [t.landed.id for t in taken]),
        "row": pa.array(np.concatenate([t.row for t in taken]), pa.int64()),
    }
    for name in store.variables:
        columns[name] = pa.array(values[name], mask=np.isnan(values[name]))
        columns[f"{name}_flag"] = pa.array(np.concatenate([t.flags[name] for t in taken]))
    table = pa.table(columns)
    if keep.all():
        return table, REJECTION_SCHEMA.empty_table()
    again = table.filter(pa.array(~keep))
    places = origin[~keep].astype(np.int32)
    repeated = _duplicates(
        again["node"].combine_chunks(),
        valid[~keep],
        {name: value[~keep] for name, value in values.items()},
        dictionary_column(places, [t.landed.id for t in taken]).cast(pa.string()),
        dictionary_column(places, [t.landed.parts[0].name for t in taken]).cast(pa.string()),
        np.concatenate([t.row for t in taken])[~keep],
    )
    return table.filter(pa.array(keep)), repeated


def _versions(
    store: ObservationStore,
    taken: list[_Taken],
    ids: list[str],
    node: NDArray[np.int32],
    valid: NDArray[np.int64],
    available: NDArray[np.int64],
    values: dict[str, NDArray[np.float32]],
    origin: NDArray[np.int64],
) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Which of the new rows are news beside each other and what is stored, and when each was available."""
    days = {int(d) for d in np.unique(valid // DAY) * DAY}
    stored = store.stored_versions(set(ids), days)
    count = 0 if stored is None else stored.num_rows
    known = np.array([t.landed.published_time or t.landed.received_time for t in taken], np.int64)[origin]
    declared = np.concatenate([t.declared for t in taken])
    old_values = {name: np.zeros(0, np.float32) for name in values}
    old_node, old_valid, old_available = np.zeros(0, np.int32), np.zeros(0, np.int64), np.zeros(0, np.int64)
    if stored is not None and count:
        codes, old_ids = node_codes(stored)
        place = {identity: code for code, identity in enumerate(ids)}
        old_node = np.array([place.get(i, len(ids) + n) for n, i in enumerate(old_ids)], np.int32)[codes]
        old_valid, old_available = (stored[c].cast(pa.int64()).to_numpy() for c in ("valid_time", "available_time"))
        old_values = {name: stored[name].fill_null(float("nan")).to_numpy().astype(np.float32) for name in values}
    zeros = np.zeros(count, np.int64)
    found = merged(
        np.concatenate([old_node, node]),
        np.concatenate([old_valid, valid]),
        np.concatenate([old_available, available]),
        value_bits([np.concatenate([old_values[name], values[name]]) for name in values]),
        delivery=np.concatenate([zeros - 1, origin]),
        known_again=np.concatenate([zeros, known]),
        declared=np.concatenate([np.ones(count, np.bool_), declared]),
        old=np.concatenate([np.ones(count, np.bool_), np.zeros(len(node), np.bool_)]),
    )
    return found.keep[count:], found.available_time[count:]

"""Observe: parse what has landed, convert, flag and version it, and account for every row."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import pyarrow as pa

from pipeline.api import ObserveRequest, Receipt
from pipeline.contracts.nodes import NodeSet
from pipeline.contracts.observations import REJECTION_SCHEMA, RowCounts
from pipeline.contracts.world_files import load_world
from pipeline.contracts.worlds import Source, World
from pipeline.settings import Settings
from pipeline.sources.mends import mend_of
from pipeline.sources.registry import adapter_named, check_sources, source_names
from pipeline.steps.accepting import check_places
from pipeline.steps.checks import check_units
from pipeline.steps.intake import DUPLICATE, Taken, Work, not_taken, take_in
from pipeline.steps.joining import Joined, joined
from pipeline.steps.repeating import again_after_conflicts
from pipeline.stores.landing import Landed, LandingStore
from pipeline.stores.objects import ObjectStore
from pipeline.stores.observation_tables import places_json
from pipeline.stores.observations import ObservationStore
from pipeline.telemetry import Progress, Stage

BATCH_BYTES = 128 * 2**20
_GZIP_GROWS = 7
MOST_NOTES = 20
"""About one source, in a receipt."""
MOST_REASONS = 3
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
    rejected: dict[str, float] = {}
    fresh = 0
    for name in source_names(world, request.source):
        store, batches = again_after_conflicts(partial(_observe_source, objects, world, name, progress, notes), notes)
        fresh += batches
        total = store.counts()
        counts |= {f"{name}.{key}": getattr(total, key) for key in ("raw", "observations", "duplicates", "rejected")}
        rejected[name] = total.rejected / max(total.raw, 1)
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
        details={"missing_share": rejected},
    )


def _observe_source(objects: ObjectStore, world: World, name: str, progress: Progress, notes: list[str]) -> tuple[ObservationStore, int]:
    landing, store = LandingStore(objects, world.name, name), ObservationStore(objects, world, name)
    source = world.sources[name]
    manifest = landing.manifest()
    totals = store.totals()
    pending = [d for d in manifest if d.role == "readings" and d.number >= totals.through]
    newest = {d.name: d.number for d in manifest if d.role == "readings"}
    known = store.place_table(totals)
    whole = source.slabs and not _cells_are_nodes(world, name)
    places = None if whole else _new_places(known, source, landing, manifest, f"source {name}")
    if not manifest:
        notes.append(f"source {name}: nothing has landed yet")
    if not pending and places is None:
        return store, 0
    work = Work(
        source=source,
        adapter=adapter_named(source.adapter),
        landing=landing,
        first_received=min((d.received_time for d in manifest), default=0),
        replaced=frozenset(d.number for d in pending if newest[d.name] != d.number),
        places=known if places is None else places,
        recorded=world.recorded is not None,
    )
    batches = list(_batches(pending)) or [[]]
    found = _Found()
    with progress.stage(f"observe {name}", len(pending), "deliveries") as stage, closing(_taken_in(work, batches)) as begun:
        for number, (batch, coming) in enumerate(begun):
            _observe_batch(store, batch, coming, places if number == 0 else None, totals.commits + number, stage, found)
    notes += found.said(name)
    return store, len(batches)


@dataclass(kw_only=True)
class _Found:
    """What was noticed while deliveries were taken in, and why rows were rejected."""

    notes: list[str] = field(default_factory=list)
    rejected: Counter[str] = field(default_factory=Counter)

    def said(self, source: str) -> list[str]:
        """As notes of a receipt."""
        more = [f"source {source}: {len(self.notes) - MOST_NOTES} more findings"] if len(self.notes) > MOST_NOTES else []
        why = [
            f"source {source}: {count:,} rows rejected: {reason}; mend: {mend_of(reason)}"
            for reason, count in self.rejected.most_common(MOST_REASONS)
        ]
        return self.notes[:MOST_NOTES] + more + why


def _cells_are_nodes(world: World, source: str) -> bool:
    """Whether a domain has the cells of a source's grid as they come."""
    return any(d.kind == "grid" and d.grid is None and source in {v.source for v in d.variables.values()} for d in world.domains.values())


def _new_places(known: NodeSet | None, source: Source, landing: LandingStore, manifest: list[Landed], where: str) -> NodeSet | None:
    """The node table that the world or the newest delivery of one gives, where it is not the one observed already."""
    tables = [d for d in manifest if d.role == "nodes"]
    if tables:
        found = adapter_named(source.adapter).parse_places(source, landing.read(tables[-1]))
    elif source.nodes is not None and source.nodes.rows:
        ids, latitude, longitude = zip(*source.nodes.rows, strict=True)
        found = NodeSet(ids=ids, latitude=np.array(latitude, np.float64), longitude=np.array(longitude, np.float64))
    else:
        return None
    check_places(found, None if source.nodes is None else source.nodes.area, where)
    return None if known is not None and places_json(known) == places_json(found) else found


def _batches(pending: list[Landed]) -> Iterator[list[Landed]]:
    """Deliveries in turn, in batches as even as they can be, so that none waits for a large last one."""
    sizes = [sum(p.bytes * (_GZIP_GROWS if p.name.endswith(".gz") else 1) for p in landed.parts) for landed in pending]
    even = sum(sizes) // max(-(-sum(sizes) // BATCH_BYTES), 1) + max(sizes, default=0)
    batch: list[Landed] = []
    size = 0
    for landed, grown in zip(pending, sizes, strict=True):
        if batch and size + grown > min(BATCH_BYTES, even):
            yield batch
            batch, size = [], 0
        batch.append(landed)
        size += grown
    if batch:
        yield batch


def _taken_in(work: Work, batches: list[list[Landed]]) -> Generator[tuple[list[Landed], list[Future[Taken | None]]], None, None]:
    """Each batch with its deliveries as they are taken in; the one after it is begun meanwhile."""
    with ExitStack() as stack:
        pool = ThreadPoolExecutor(max(1, min(8, os.cpu_count() or 1)))
        stack.callback(pool.shutdown, cancel_futures=True)

        def begun(batch: list[Landed]) -> list[Future[Taken | None]]:
            return [pool.submit(take_in, work, landed) for landed in batch]

        coming = begun(batches[0])
        for batch, following in zip(batches, [*batches[1:], []], strict=True):
            now, coming = coming, begun(following)
            yield batch, now


def _observe_batch(
    store: ObservationStore,
    batch: list[Landed],
    coming: list[Future[Taken | None]],
    places: NodeSet | None,
    expected: int,
    stage: Stage,
    noticed: _Found,
) -> None:
    """Commit a batch of deliveries, with the node table where that is new."""
    taken: list[Taken] = []
    refused: list[int] = []
    rows = 0
    for landed, found in zip(batch, (future.result() for future in coming), strict=True):
        if found is None:
            refused.append(landed.number)
            noticed.notes.append(f"{landed.name} (delivery {landed.number}) is unreadable; a newer one took its place")
        else:
            taken.append(found)
            noticed.notes += [f"{landed.source}, {landed.name}: {line}" for line in found.notes]
            rows += found.counts.raw
        stage.advance(1, f"{rows:,} rows")
    counts = sum((t.counts for t in taken), NO_ROWS)
    rejected = not_taken(taken)
    reasons = rejected["reason"].value_counts().to_pylist()
    noticed.rejected.update({r["values"]: r["counts"] for r in reasons if r["values"] != DUPLICATE})
    news = joined(store, taken) if taken else Joined(table=store.schema.empty_table(), repeated=REJECTION_SCHEMA.empty_table())
    moved = news.repeated.num_rows
    counts += RowCounts(raw=0, observations=-moved, duplicates=moved, rejected=0)
    store.append(
        news.table,
        pa.concat_tables([rejected, news.repeated]),
        counts,
        deliveries=[d.number for d in batch],
        refused=refused,
        places=places,
        expected=expected,
        spans=news.spans,
    )

"""build_cube: observations -> cube. One Zarr group per domain, only what changed, one atomic commit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.alignment.aggregate_slabs import Slabs
from pipeline.alignment.time_grid import step_seconds
from pipeline.api import BuildCubeRequest, Receipt
from pipeline.contracts.times import format_instant, to_seconds
from pipeline.contracts.world_files import load_world
from pipeline.contracts.worlds import World
from pipeline.cube.assemble import Slab, assemble, region_edge
from pipeline.cube.documents import Encode
from pipeline.cube.gaps import Gaps, gaps
from pipeline.cube.groups import Group, groups_of
from pipeline.cube.plan import KEPT_BYTES, DomainPlan, Region, check_plan
from pipeline.parallel import Crew, crew
from pipeline.settings import Settings, code_version
from pipeline.steps.build_plan import BuildPlan, chunk_count, plan_build, recipe_digest
from pipeline.steps.owing import Seen, due_spans, note_missing
from pipeline.steps.repeating import again_after_conflicts
from pipeline.steps.slab_fields import SLAB_COLUMNS, slab_fields
from pipeline.steps.texts import build_texts, encoders_of
from pipeline.stores.cube_books import RegionBook
from pipeline.stores.cube_format import CODEC_WORDS, TEXTS, GroupTemplate, VariableTemplate
from pipeline.stores.cube_writer import CubeWriter, RegionWriter, Written
from pipeline.stores.cubes import CubeStore
from pipeline.stores.kept import Kept
from pipeline.stores.objects import ObjectStore
from pipeline.stores.observations import ObservationStore
from pipeline.telemetry import Progress


@dataclass(frozen=True, kw_only=True)
class _Built:
    """What comes back from one region; `heard_N` is None where it says nothing of nodes."""

    domain: str
    book: RegionBook
    heard_N: NDArray[np.int64] | None
    gaps: tuple[Gaps, ...]
    written: Written


@dataclass(kw_only=True, eq=False)
class _Gathered:
    """What came back from all regions of a domain, without what can be told of all of them at once."""

    books: list[RegionBook] = field(default_factory=list)
    gaps: dict[int, tuple[Gaps, ...]] = field(default_factory=dict)
    heard_N: NDArray[np.int64] | None = None

    def take(self, built: _Built) -> None:
        """Take in one region."""
        self.books.append(built.book)
        self.gaps[built.book.chunk] = built.gaps
        if built.heard_N is not None:
            self.heard_N = built.heard_N if self.heard_N is None else np.minimum(self.heard_N, built.heard_N)


def run(request: BuildCubeRequest, settings: Settings, progress: Progress) -> Receipt:
    """Bring the cube up to the observations, and its axes up to `as_of`.

    Only regions that new observations or new steps touch are made again; where there are none the outcome is
    `unchanged`. An axis that already reaches beyond `as_of` keeps its steps.

    Raises:
        NotYetAvailable: Nothing was observed yet.
        ConfigError: The plan does not fit in memory.
        ConflictError: Other builds were committed meanwhile, again and again.
    """
    notes: list[str] = []
    receipt = again_after_conflicts(partial(_attempt, request, settings, progress), notes)
    return receipt.model_copy(update={"notes": (*receipt.notes, *notes)})


def _attempt(request: BuildCubeRequest, settings: Settings, progress: Progress) -> Receipt:
    world = load_world(request.world)
    plan = plan_build(world, request.as_of, settings)
    if not plan.domains and not plan.texts and plan.state is not None:
        return _receipt(request, world, CubeStore(settings.store, world.name), outcome="unchanged")
    with crew(settings) as workers:
        size = plan.size(workers)
        with progress.stage("plan", size.tasks, "regions") as stage:
            stage.advance(size.tasks, f"{size}, {workers.workers} process(es) of {workers.memory / 2**20:,.0f} MiB; {CODEC_WORDS}")
        check_plan(size, limit_bytes=workers.memory)
        encoders = encoders_of(world, plan.texts, settings, progress)
        store, notes = _build(request, world, plan, encoders, settings, workers, size.threads, progress)
    return _receipt(
        request,
        world,
        store,
        outcome="done",
        notes=notes,
        plan={"regions": size.tasks, "written_cells": size.cells},
        details={"planned_peak_bytes": size.peak_bytes, "written_bytes": size.written_bytes},
    )


def _build(
    request: BuildCubeRequest,
    world: World,
    plan: BuildPlan,
    encoders: Mapping[str, Encode],
    settings: Settings,
    workers: Crew,
    threads: int,
    progress: Progress,
) -> tuple[CubeStore, tuple[str, ...]]:
    """Make every region and commit them together; the cube as it is then, and what was noticed about the workers."""
    writer, groups = CubeWriter(settings.store, world.name), groups_of(world)
    for domain in plan.domains.values():
        writer.prepare(_template(world, groups[domain.domain], domain), fresh=len(domain.regions) == chunk_count(domain))
    moment = to_seconds(request.as_of)
    due = {name: due_spans(ObjectStore(settings.store), world, groups[name], moment) for name in plan.domains}
    regions = writer.regions(isolated=workers.isolated)
    make = partial(_build_region, settings=settings, world=world, plan=plan, due=due, writer=regions, kept=Kept(KEPT_BYTES))
    gathered, written = {name: _Gathered() for name in plan.domains}, list[Written]()

    def take(_: int, built: _Built) -> None:
        gathered[built.domain].take(built)
        written.append(built.written)

    notes = workers.each(make, [r for domain in plan.domains.values() for r in domain.regions], take, progress, threads=threads)
    writer.merge(written)
    digests = {}
    for name, of in gathered.items():
        digests[name] = writer.keep_books(name, of.books, {s: plan.consumed[s] for s in groups[name].sources}, of.heard_N)
    told = build_texts(world, plan.texts, plan.consumed, encoders, settings, writer, progress)
    digests |= {TEXTS + name: digest for name, digest in told.items()}
    writer.commit(f"{world.name} as of {format_instant(request.as_of)}", _provenance(request, world, plan.consumed, digests))
    store = CubeStore(settings.store, world.name)
    seen = {
        name: Seen(chunks=gathered[name].gaps, anew=len(domain.regions) == chunk_count(domain), node_known_time=store.heard_times(name))
        for name, domain in plan.domains.items()
        if domain.regions
    }
    note_missing(ObjectStore(settings.store), world, moment, seen)
    return store, notes


def _template(world: World, group: Group, plan: DomainPlan) -> GroupTemplate:
    variables = tuple(
        VariableTemplate(name=n, units=v.units, aggregate=v.aggregate, long_name=v.long_name, standard_name=v.standard_name)
        for n, v in group.variables.items()
    )
    return GroupTemplate(
        domain=plan.domain,
        title=group.title,
        axis_T=plan.axis_T,
        even_step=None if group.clock.step is None else step_seconds(group.clock),
        nodes=plan.nodes,
        variables=variables,
        chunk_steps=plan.chunk_steps,
        chunk_nodes=plan.chunk_nodes,
        recipe=recipe_digest(world, group),
        runs=group.runs is not None,
    )


def _build_region(
    region: Region,
    *,
    settings: Settings,
    world: World,
    plan: BuildPlan,
    due: Mapping[str, Mapping[str, tuple[int, int]]],
    writer: RegionWriter,
    kept: Kept,
) -> _Built:
    """Read, assemble and write one region; runs on any worker."""
    consumed, plan_of, group = plan.consumed, plan.domains[region.domain], groups_of(world)[region.domain]
    begin, end = region_edge(plan_of, region) - group.before, int(plan_of.axis_T[region.stop - 1]) + group.after
    objects, tables = ObjectStore(settings.store), {}
    fields: dict[str, Slabs] = {}
    for source in group.sources:
        names = [n for n, v in group.variables.items() if v.source == source]
        times = ["valid_time", "available_time", *(["init_time"] if group.runs is not None else [])]
        columns = list(SLAB_COLUMNS) if source in group.slabs else ["node", *times, *(c for n in names for c in (n, f"{n}_flag"))]
        store = ObservationStore(objects, world, source, at=consumed[source], kept=kept)
        found = store.read(begin, end, columns, dictionaries=True, in_order=source in group.slabs)
        if source in group.slabs:
            fields |= slab_fields(objects, world, group, source, plan_of.nodes, found)
        else:
            tables[source] = found
    slab = assemble(group, plan_of, region, tables, fields)
    written = writer.write(region.domain, region.start, _arrays(plan_of, slab))
    book = RegionBook(
        chunk=region.chunk,
        digest=slab.digest,
        proof=written.proofs[0],
        present=slab.present,
        known_time=slab.known_time,
        revisions=slab.revisions(),
    )
    missing = gaps(group, plan_of.axis_T[region.start : region.stop], slab, due[region.domain])
    return _Built(domain=region.domain, book=book, heard_N=slab.heard_N, gaps=missing, written=written)


def _arrays(plan: DomainPlan, slab: Slab) -> dict[str, NDArray[Any]]:
    arrays: dict[str, NDArray[Any]] = {}
    for name, cells in zip(plan.variables, slab.cells, strict=True):
        arrays |= {name: cells.values_TN, f"{name}_flag": cells.flags_TN, f"{name}_latency": cells.latency_TN}
    return arrays


def _provenance(request: BuildCubeRequest, world: World, consumed: Mapping[str, int], digests: Mapping[str, str]) -> dict[str, Any]:
    return {
        "world": world.name,
        "world_digest": world.digest,
        "code_version": code_version(),
        "as_of": format_instant(request.as_of),
        "observations": dict(consumed),
        "digest": dict(digests),
    }


def _receipt(
    request: BuildCubeRequest,
    world: World,
    store: CubeStore,
    *,
    outcome: Any,
    notes: tuple[str, ...] = (),
    plan: dict[str, int] | None = None,
    details: dict[str, Any] | None = None,
) -> Receipt:
    state, texts = store.state(), store.texts()
    domains = {name: held for name, held in state.domains.items() if name in world.domains}
    digests = {name: held.digest for name, held in state.domains.items()} | {TEXTS + name: held.digest for name, held in texts.items()}
    counts = {
        "cells": sum(d.steps * d.nodes * len(d.missing) for d in domains.values()),
        "missing": sum(round(share * d.steps * d.nodes) for d in domains.values() for share in d.missing.values()),
        "revisions": sum(d.revisions for d in domains.values()),
        "documents": sum(held.documents for held in texts.values()),
    }
    return Receipt(
        step=request.step,
        world=world.name,
        as_of=request.as_of,
        outcome=outcome,
        ids={"snapshot": state.snapshot} | {f"digest.{name}": digest for name, digest in digests.items()},
        counts=counts | {"regions": 0, "written_cells": 0} | (plan or {}),
        notes=notes,
        details={"missing_share": {name: d.missing for name, d in domains.items()}} | (details or {}),
    )

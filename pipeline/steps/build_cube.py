"""build_cube: observations -> cube. One Zarr group per domain, only what changed, one atomic commit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.alignment.node_grid import extend_nodes, grid_nodes, merge_nodes, select_nodes
from pipeline.alignment.runs import run_nodes
from pipeline.alignment.time_grid import axis, step_before, step_seconds
from pipeline.api import BuildCubeRequest, Receipt
from pipeline.contracts.nodes import NodeSet
from pipeline.contracts.provenance import digest_json
from pipeline.contracts.times import format_instant, to_seconds
from pipeline.contracts.world_files import load_world
from pipeline.contracts.worlds import World
from pipeline.cube.assemble import Slab, assemble, region_edge
from pipeline.cube.groups import Group, groups_of
from pipeline.cube.plan import DomainPlan, Region, check_plan, choose_chunk_steps, measure_plan, plan_regions, touched_chunks
from pipeline.errors import NotYetAvailable
from pipeline.parallel import isolated, map_regions, worker_count
from pipeline.settings import Settings, code_version
from pipeline.steps.texts import build_texts, streams_with_news
from pipeline.stores.cube_books import RegionBook
from pipeline.stores.cube_format import FORMAT, TEXTS, GroupTemplate, VariableTemplate, axis_digest
from pipeline.stores.cube_writer import CubeWriter, RegionWriter
from pipeline.stores.cubes import CubeState, CubeStore, DomainState
from pipeline.stores.objects import ObjectStore
from pipeline.stores.observations import ObservationStore, contract_digest
from pipeline.telemetry import Progress

MEMORY_LIMIT = 3 * 2**30
"""Bytes that the regions in work in one process may need together."""


@dataclass(frozen=True, kw_only=True)
class _Built:
    """What comes back from one region; `written` where a worker of another process made it."""

    domain: str
    book: RegionBook
    written: Any


def run(request: BuildCubeRequest, settings: Settings, progress: Progress) -> Receipt:
    """Bring the cube up to the observations, and its axes up to `as_of`.

    Only regions that new observations or new steps touch are made again; where there are none the outcome is
    `unchanged`. An axis that already reaches beyond `as_of` keeps its steps.

    Raises:
        NotYetAvailable: Nothing was observed yet.
        ConfigError: The plan does not fit in memory.
        ConflictError: Another build was committed meanwhile.
    """
    world = load_world(request.world)
    objects = ObjectStore(settings.store)
    sources = {name: ObservationStore(objects, world, name) for name in world.sources}
    consumed = {name: len(source.commits()) for name, source in sources.items()}
    if not any(consumed.values()):
        raise NotYetAvailable(
            asked=f"a cube of world {world.name}", found="no observation of any source", mend="run land and observe first"
        )
    store = CubeStore(settings.store, world.name)
    state = _state(store)
    groups = groups_of(world)
    plans = [_plan(world, group, to_seconds(request.as_of), sources, consumed, store, state) for group in groups.values()]
    work = {plan.domain: plan for plan in plans if plan is not None and (plan.regions or plan.moved)}
    news = streams_with_news(world, consumed, store)
    if not work and not news and state is not None:
        return _receipt(request, world, store, outcome="unchanged")
    if not work and state is None:
        raise NotYetAvailable(
            asked=f"a cube of world {world.name} as of {format_instant(request.as_of)}",
            found="no domain that has begun and has a node",
            mend="wait for readings, ask for a later as_of, or mend the start of the world",
        )
    size = measure_plan(list(work.values()), workers=worker_count(settings))
    check_plan(size, limit_bytes=MEMORY_LIMIT)
    writer = CubeWriter(settings.store, world.name)
    for plan in work.values():
        writer.prepare(_template(world, groups[plan.domain], plan), fresh=len(plan.regions) == _chunks(plan))
    regions = writer.regions(isolated=isolated(settings))
    make = partial(_build_region, settings=settings, world=world, groups=groups, plans=work, writer=regions)
    mapped = map_regions(make, [r for plan in work.values() for r in plan.regions], settings, progress)
    writer.merge([built.written for built in mapped.results])
    digests = {}
    for name in work:
        books = [built.book for built in mapped.results if built.domain == name]
        digests[name] = writer.keep_books(name, books, {s: consumed[s] for s in groups[name].sources})
    digests |= {TEXTS + name: digest for name, digest in build_texts(world, news, sources, consumed, writer, progress).items()}
    writer.commit(f"{world.name} as of {format_instant(request.as_of)}", _provenance(request, world, consumed, digests))
    return _receipt(
        request,
        world,
        CubeStore(settings.store, world.name),
        outcome="done",
        notes=mapped.notes,
        plan={"regions": size.tasks, "written_cells": size.cells},
        details={"planned_peak_bytes": size.peak_bytes, "written_bytes": size.written_bytes},
    )


def recipe_digest(world: World, group: Group) -> str:
    """Identity of every setting that a group's stored regions depend on."""
    sources = {name: contract_digest(world.sources[name]) for name in group.sources}
    variables = {n: [v.source, v.aggregate, v.max_age, v.long_name, v.standard_name] for n, v in group.variables.items()}
    clock = group.clock.model_dump(mode="json")
    runs = None if group.runs is None else [group.runs.clock.model_dump(mode="json"), group.runs.start, group.runs.reach]
    return digest_json([FORMAT, group.start, group.kind, clock, group.chunk_steps, variables, sources, runs])


def _state(store: CubeStore) -> CubeState | None:
    try:
        return store.state()
    except NotYetAvailable:
        return None


def _plan(
    world: World,
    group: Group,
    as_of: int,
    sources: Mapping[str, ObservationStore],
    consumed: Mapping[str, int],
    store: CubeStore,
    state: CubeState | None,
) -> DomainPlan | None:
    """What must be made of one group; None where it has no step or no node yet."""
    held = None if state is None else state.domains.get(group.name)
    known = None if held is None or held.recipe != recipe_digest(world, group) else store.nodes(group.name)
    nodes = _nodes(group, known, merge_nodes(sources[s].nodes() for s in group.sources))
    end = as_of if known is None or held is None else max(as_of, held.end)
    axis_T = axis(group.clock, group.start, end)
    if not len(axis_T) or not len(nodes):
        return None
    edge = step_before(group.clock, int(axis_T[0]))
    kept = held if known is not None and held is not None and _continues(held, axis_T, consumed) else None
    if group.runs is not None and known is not None and nodes.ids != known.ids:
        kept = None
    chunk_steps = kept.chunk_steps if kept else choose_chunk_steps(step_seconds(group.clock), len(nodes), group.chunk_steps)
    chunks = _chunks_to_make(axis_T, edge, chunk_steps, kept, {s: sources[s] for s in group.sources}, group)
    whole = len(chunks) == -(-len(axis_T) // chunk_steps)
    return DomainPlan(
        domain=group.name,
        axis_T=axis_T,
        edge=edge,
        nodes=nodes,
        variables=tuple(group.variables),
        chunk_steps=chunk_steps,
        chunk_nodes=len(nodes) if kept is None or whole else kept.chunk_nodes,
        regions=plan_regions(group.name, len(axis_T), chunk_steps, chunks),
        moved=known is not None and nodes.digest != known.digest,
    )


def _nodes(group: Group, known: NodeSet | None, found: NodeSet) -> NodeSet:
    """The nodes of a group, those known before in their order; for runs all steps of each place, sorted by name."""
    if group.runs is not None:
        return run_nodes(select_nodes(found, np.argsort(np.array(found.ids, dtype=str), kind="stable")), group.runs.count)
    return extend_nodes(known, grid_nodes(found) if group.kind == "grid" else found)


def _continues(held: DomainState, axis_T: NDArray[np.int64], consumed: Mapping[str, int]) -> bool:
    """Whether what is stored is the beginning of what is asked for; a calendar may have changed, a source may have begun anew."""
    return axis_digest(axis_T[: held.steps]) == held.axis and all(consumed[s] >= n for s, n in held.consumed.items())


def _chunks_to_make(
    axis_T: NDArray[np.int64],
    edge: int,
    chunk_steps: int,
    held: DomainState | None,
    sources: Mapping[str, ObservationStore],
    group: Group,
) -> NDArray[np.int64]:
    days = [] if held is None else [d for name, source in sources.items() for d in source.days_since(held.consumed[name])]
    stored = 0 if held is None else held.steps
    return touched_chunks(axis_T, edge, chunk_steps, stored_steps=stored, days=days, reach=group.before, ahead=group.after)


def _chunks(plan: DomainPlan) -> int:
    return -(-len(plan.axis_T) // plan.chunk_steps)


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
    region: Region, *, settings: Settings, world: World, groups: Mapping[str, Group], plans: Mapping[str, DomainPlan], writer: RegionWriter
) -> _Built:
    """Read, assemble and write one region; runs on any worker."""
    plan, group = plans[region.domain], groups[region.domain]
    begin, end = region_edge(plan, region) - group.before, int(plan.axis_T[region.stop - 1]) + group.after
    tables = {}
    for source in group.sources:
        names = [n for n, v in group.variables.items() if v.source == source]
        times = ["valid_time", "available_time", *(["init_time"] if group.runs is not None else [])]
        columns = ["node", *times, *(c for n in names for c in (n, f"{n}_flag"))]
        tables[source] = ObservationStore(ObjectStore(settings.store), world, source).read(begin, end, columns, dictionaries=True)
    slab = assemble(group, plan, region, tables)
    written = writer.write(region.domain, region.start, _arrays(plan, slab))
    book = RegionBook(
        chunk=region.chunk,
        digest=slab.digest,
        present=slab.present,
        known_time=slab.known_time,
        node_known_time=slab.node_known_time,
        revisions=slab.revisions(),
    )
    return _Built(domain=region.domain, book=book, written=written)


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

"""What a build of a world's cube has to make: found before work starts, from figures alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline.alignment.node_grid import extend_nodes, grid_nodes, merge_nodes, select_nodes
from pipeline.alignment.regrid import target_nodes
from pipeline.alignment.runs import run_nodes
from pipeline.alignment.time_grid import axis, step_before, step_seconds
from pipeline.contracts.nodes import NodeSet
from pipeline.contracts.provenance import digest_json
from pipeline.contracts.times import format_instant, to_seconds
from pipeline.contracts.worlds import World
from pipeline.cube.assemble import region_edge
from pipeline.cube.groups import Group, groups_of
from pipeline.cube.plan import DomainPlan, PlanSize, Region, choose_chunk_steps, fit_plan, plan_regions, touched_chunks
from pipeline.errors import NotYetAvailable
from pipeline.parallel import Crew
from pipeline.settings import Settings
from pipeline.steps.slab_fields import largest_file, slabs_bytes
from pipeline.steps.texts import streams_with_news, texts_bytes
from pipeline.stores.cube_format import FORMAT, axis_digest
from pipeline.stores.cubes import CubeState, CubeStore, DomainState
from pipeline.stores.landing import LandingStore
from pipeline.stores.objects import ObjectStore
from pipeline.stores.observation_index import DAY
from pipeline.stores.observations import ObservationStore, contract_digest


@dataclass(frozen=True, kw_only=True)
class BuildPlan:
    """What must be made.

    Attributes:
        domains: The groups that change.
        rows: Observations that each region reads.
        consumed: Per source the number of observation commits that the build takes in.
        decoding: Bytes that whole grids take in each region.
        texts: Streams with news, each with the number of observation commits that the cube was made of.
        texts_bytes: Bytes that taking in the documents of these takes.
        state: What the cube holds now, None where it was never built.
    """

    domains: Mapping[str, DomainPlan]
    texts: Mapping[str, int]
    rows: Mapping[Region, int]
    decoding: Mapping[Region, int]
    texts_bytes: int
    consumed: Mapping[str, int]
    state: CubeState | None

    def size(self, workers: Crew) -> PlanSize:
        """What it takes of those who shall work on it."""
        return fit_plan(
            list(self.domains.values()),
            self.rows,
            threads=workers.threads,
            spare=workers.spare,
            limit_bytes=workers.memory,
            decoding=self.decoding,
            texts=self.texts_bytes,
            isolated=workers.isolated,
        )


def plan_build(world: World, as_of: datetime, settings: Settings) -> BuildPlan:
    """Find what new observations and new steps up to `as_of` change.

    Raises:
        NotYetAvailable: Nothing was observed yet, no domain has begun, or a sentence encoder is not there.
    """
    objects = ObjectStore(settings.store)
    newest = {name: ObservationStore(objects, world, name).totals().commits for name in world.sources}
    if not any(newest.values()):
        raise NotYetAvailable(
            asked=f"a cube of world {world.name}", found="no observation of any source", mend="run land and observe first"
        )
    sources = {name: ObservationStore(objects, world, name, at=count) for name, count in newest.items()}
    store = CubeStore(settings.store, world.name)
    state = _state(store)
    groups = groups_of(world)
    plans = [_plan(world, group, to_seconds(as_of), sources, newest, store, state) for group in groups.values()]
    work = {plan.domain: plan for plan in plans if plan is not None and (plan.regions or plan.moved)}
    if not work and state is None:
        raise NotYetAvailable(
            asked=f"a cube of world {world.name} as of {format_instant(as_of)}",
            found="no domain that has begun and has a node",
            mend="wait for readings, ask for a later as_of, or mend the start of the world",
        )
    rows = {region: count for plan in work.values() for region, count in _rows(groups[plan.domain], plan, sources).items()}
    decoding = {r: size for name, plan in work.items() for r, size in _decoding(world, groups[name], plan, sources, objects).items()}
    texts = streams_with_news(world, newest, store)
    told = texts_bytes(world, texts, newest, settings)
    return BuildPlan(domains=work, rows=rows, decoding=decoding, texts_bytes=told, consumed=newest, texts=texts, state=state)


def recipe_digest(world: World, group: Group) -> str:
    """Identity of every setting that a group's stored regions depend on."""
    sources = {name: contract_digest(world.sources[name]) for name in group.sources}
    variables = {n: [v.source, v.aggregate, v.max_age, v.long_name, v.standard_name] for n, v in group.variables.items()}
    grid = None if group.grid is None else group.grid.model_dump(mode="json")
    clock = group.clock.model_dump(mode="json")
    runs = None if group.runs is None else [group.runs.clock.model_dump(mode="json"), group.runs.start, group.runs.reach]
    return digest_json([FORMAT, group.start, group.kind, clock, group.chunk_steps, variables, sources, runs, grid])


def chunk_count(plan: DomainPlan) -> int:
    """Time chunks of a domain, made again or not."""
    return -(-len(plan.axis_T) // plan.chunk_steps)


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
    named = group.slabs if group.kind == "grid" else frozenset(group.sources) - group.slabs
    found = merge_nodes(sources[s].nodes() for s in group.sources if s in named or not group.slabs)
    nodes = _nodes(group, known, found)
    end = as_of if known is None or held is None else max(as_of, held.end)
    axis_T = axis(group.clock, group.start, end)
    if not len(axis_T) or not len(nodes) or not any(consumed[s] for s in group.sources):
        return None
    edge = step_before(group.clock, int(axis_T[0]))
    kept = held if known is not None and held is not None and _continues(held, axis_T, consumed) else None
    if group.runs is not None and known is not None and nodes.ids != known.ids:
        kept = None
    chunk_steps = kept.chunk_steps if kept else choose_chunk_steps(step_seconds(group.clock), len(nodes), group.chunk_steps)
    days = [] if kept is None else [d for s in group.sources for d in sources[s].days_since(kept.consumed[s])]
    stored_steps = 0 if kept is None else kept.steps
    chunks = touched_chunks(axis_T, edge, chunk_steps, stored_steps=stored_steps, days=days, reach=group.before, ahead=group.after)
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
    if group.grid is not None:
        return target_nodes(group.grid)
    return extend_nodes(known, grid_nodes(found) if group.kind == "grid" else found)


def _continues(held: DomainState, axis_T: NDArray[np.int64], consumed: Mapping[str, int]) -> bool:
    """Whether what is stored is the beginning of what is asked for; a calendar may have changed, a source may have begun anew."""
    return axis_digest(axis_T[: held.steps]) == held.axis and all(consumed[s] >= n for s, n in held.consumed.items())


def _rows(group: Group, plan: DomainPlan, sources: Mapping[str, ObservationStore]) -> dict[Region, int]:
    """Rows of the row groups that each region reads."""
    found = dict.fromkeys(plan.regions, 0)
    if not plan.regions:
        return found
    first, last = region_edge(plan, plan.regions[0]) - group.before, int(plan.axis_T[plan.regions[-1].stop - 1]) + group.after
    for source in group.sources:
        files = sources[source].files(first, last)
        spans = [(days[0], days[-1], rows) for file in files for days, rows in zip(file.groups, file.rows, strict=True)]
        begin, end, rows = np.array(spans, np.int64).reshape(-1, 3).T
        for region in plan.regions:
            start, stop = region_edge(plan, region) - group.before, int(plan.axis_T[region.stop - 1]) + group.after
            found[region] += int(rows[(begin <= stop) & (end + DAY > start)].sum())
    return found


def _decoding(
    world: World, group: Group, plan: DomainPlan, sources: Mapping[str, ObservationStore], objects: ObjectStore
) -> dict[Region, int]:
    """Bytes that whole grids take in each region, by how many it reads, the largest of them and the largest of their files."""
    found = dict.fromkeys(plan.regions, 0)
    if not plan.regions:
        return found
    edges = {r: (region_edge(plan, r) - group.before, int(plan.axis_T[r.stop - 1]) + group.after) for r in plan.regions}
    for name in group.slabs:
        first, last = edges[plan.regions[0]][0], edges[plan.regions[-1]][1]
        rows = sources[name].read(first, last, ["valid_time", "delivery", "cells"])
        times = np.sort(rows["valid_time"].cast(pa.int64()).to_numpy())
        cells = int(rows["cells"].to_numpy().max(initial=0))
        file = largest_file(LandingStore(objects, world.name, name), set(pc.unique(rows["delivery"]).to_pylist()))
        for region, edge in edges.items():
            count = int(np.diff(np.searchsorted(times, edge, side="right"))[0])
            found[region] += slabs_bytes(world.sources[name], cells, count, file, len(plan.nodes))
    return found

"""What a build of a world's cube has to make: found before work starts, from figures alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from pipeline.alignment.node_grid import extend_nodes, grid_nodes, merge_nodes
from pipeline.alignment.time_grid import axis, step_before, step_seconds
from pipeline.contracts.provenance import digest_json
from pipeline.contracts.times import format_instant, to_seconds
from pipeline.contracts.worlds import World
from pipeline.cube.assemble import reach_seconds, region_edge
from pipeline.cube.plan import DomainPlan, Region, choose_chunk_steps, plan_regions, touched_chunks
from pipeline.errors import NotYetAvailable
from pipeline.settings import Settings
from pipeline.stores.cube_format import FORMAT, axis_digest
from pipeline.stores.cubes import CubeState, CubeStore, DomainState
from pipeline.stores.objects import ObjectStore
from pipeline.stores.observation_index import DAY
from pipeline.stores.observations import ObservationStore, contract_digest


@dataclass(frozen=True, kw_only=True)
class BuildPlan:
    """What must be made.

    Attributes:
        domains: The domains that change.
        rows: Observations that each region reads.
        consumed: Per source the number of observation commits that the build takes in.
        state: What the cube holds now, None where it was never built.
    """

    domains: Mapping[str, DomainPlan]
    rows: Mapping[Region, int]
    consumed: Mapping[str, int]
    state: CubeState | None


def plan_build(world: World, as_of: datetime, settings: Settings) -> BuildPlan:
    """Find what new observations and new steps up to `as_of` change.

    Raises:
        NotYetAvailable: Nothing was observed yet, or no domain has begun.
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
    plans = [_plan(world, name, to_seconds(as_of), sources, newest, store, state) for name in world.domains]
    work = {plan.domain: plan for plan in plans if plan is not None and (plan.regions or plan.moved)}
    if not work and state is None:
        raise NotYetAvailable(
            asked=f"a cube of world {world.name} as of {format_instant(as_of)}",
            found="no domain that has begun and has a node",
            mend="wait for readings, ask for a later as_of, or mend the start of the world",
        )
    rows = {region: count for plan in work.values() for region, count in _rows(world, plan, sources).items()}
    return BuildPlan(domains=work, rows=rows, consumed=newest, state=state)


def recipe_digest(world: World, domain: str) -> str:
    """Identity of every setting that a domain's stored regions depend on."""
    declared = world.domains[domain]
    sources = {v.source: contract_digest(world.sources[v.source]) for v in declared.variables.values()}
    variables = {n: [v.source, v.aggregate, str(v.max_age), v.long_name, v.standard_name] for n, v in declared.variables.items()}
    start = format_instant(world.domain_start(domain))
    return digest_json([FORMAT, start, declared.kind, declared.clock.model_dump(mode="json"), declared.chunk_steps, variables, sources])


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
    name: str,
    as_of: int,
    sources: Mapping[str, ObservationStore],
    consumed: Mapping[str, int],
    store: CubeStore,
    state: CubeState | None,
) -> DomainPlan | None:
    """What must be made of one domain; None where it has no step or no node yet."""
    domain, held = world.domains[name], None if state is None else state.domains.get(name)
    used = sorted({v.source for v in domain.variables.values()})
    found = merge_nodes(sources[s].nodes() for s in used)
    nodes = grid_nodes(found) if domain.kind == "grid" else found
    known = None if held is None or held.recipe != recipe_digest(world, name) else store.nodes(name)
    nodes = extend_nodes(known, nodes)
    end = as_of if known is None or held is None else max(as_of, held.end)
    axis_T = axis(domain.clock, to_seconds(world.domain_start(name)), end)
    if not len(axis_T) or not len(nodes):
        return None
    edge = step_before(domain.clock, int(axis_T[0]))
    kept = held if known is not None and held is not None and _continues(held, axis_T, consumed) else None
    chunk_steps = kept.chunk_steps if kept else choose_chunk_steps(step_seconds(domain.clock), len(nodes), domain.chunk_steps)
    days = [] if kept is None else [d for s in used for d in sources[s].days_since(kept.consumed[s])]
    stored_steps = 0 if kept is None else kept.steps
    chunks = touched_chunks(axis_T, edge, chunk_steps, stored_steps=stored_steps, days=days, reach=reach_seconds(domain))
    whole = len(chunks) == -(-len(axis_T) // chunk_steps)
    return DomainPlan(
        domain=name,
        axis_T=axis_T,
        edge=edge,
        nodes=nodes,
        variables=tuple(domain.variables),
        chunk_steps=chunk_steps,
        chunk_nodes=len(nodes) if kept is None or whole else kept.chunk_nodes,
        regions=plan_regions(name, len(axis_T), chunk_steps, chunks),
        moved=known is not None and nodes.digest != known.digest,
    )


def _continues(held: DomainState, axis_T: NDArray[np.int64], consumed: Mapping[str, int]) -> bool:
    """Whether what is stored is the beginning of what is asked for; a calendar may have changed, a source may have begun anew."""
    return axis_digest(axis_T[: held.steps]) == held.axis and all(consumed[s] >= n for s, n in held.consumed.items())


def _rows(world: World, plan: DomainPlan, sources: Mapping[str, ObservationStore]) -> dict[Region, int]:
    """Rows of the row groups that each region reads."""
    domain, found = world.domains[plan.domain], dict.fromkeys(plan.regions, 0)
    if not plan.regions:
        return found
    reach = reach_seconds(domain)
    first, last = region_edge(plan, plan.regions[0]) - reach, int(plan.axis_T[plan.regions[-1].stop - 1])
    for source in sorted({v.source for v in domain.variables.values()}):
        files = sources[source].files(first, last)
        groups = [(group[0], group[-1], rows) for file in files for group, rows in zip(file.groups, file.rows, strict=True)]
        begin, end, rows = np.array(groups, np.int64).reshape(-1, 3).T
        for region in plan.regions:
            start, stop = region_edge(plan, region) - reach, int(plan.axis_T[region.stop - 1])
            found[region] += int(rows[(begin <= stop) & (end + DAY > start)].sum())
    return found

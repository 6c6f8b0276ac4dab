"""build_cube: observations -> cube. One Zarr group per domain, only what changed, one atomic commit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from numpy.typing import NDArray

from pipeline.alignment.time_grid import step_seconds
from pipeline.api import BuildCubeRequest, Receipt
from pipeline.contracts.times import format_instant
from pipeline.contracts.world_files import load_world
from pipeline.contracts.worlds import World
from pipeline.cube.assemble import Slab, assemble, reach_seconds, region_edge
from pipeline.cube.plan import DomainPlan, Region, check_plan, measure_plan
from pipeline.parallel import Crew, crew
from pipeline.settings import Settings, code_version
from pipeline.steps.build_plan import BuildPlan, chunk_count, plan_build, recipe_digest
from pipeline.stores.cube_books import RegionBook
from pipeline.stores.cube_format import GroupTemplate, VariableTemplate
from pipeline.stores.cube_writer import CubeWriter, RegionWriter
from pipeline.stores.cubes import CubeState, CubeStore
from pipeline.stores.objects import ObjectStore
from pipeline.stores.observations import ObservationStore
from pipeline.telemetry import Progress


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
    plan = plan_build(world, request.as_of, settings)
    if not plan.domains and plan.state is not None:
        return _receipt(request, world, plan.state, outcome="unchanged")
    with crew(settings) as workers:
        size = measure_plan(list(plan.domains.values()), plan.rows, threads=workers.threads)
        with progress.stage("plan", size.tasks, "regions") as stage:
            stage.advance(size.tasks, f"{size}, {workers.workers} process(es) of {workers.memory / 2**20:,.0f} MiB")
        check_plan(size, limit_bytes=workers.memory)
        notes = _build(request, world, plan, settings, workers, progress)
    return _receipt(
        request,
        world,
        CubeStore(settings.store, world.name).state(),
        outcome="done",
        notes=notes,
        plan={"regions": size.tasks, "written_cells": size.cells},
        details={"planned_peak_bytes": size.peak_bytes, "written_bytes": size.written_bytes},
    )


def _build(
    request: BuildCubeRequest, world: World, plan: BuildPlan, settings: Settings, workers: Crew, progress: Progress
) -> tuple[str, ...]:
    """Make every region and commit them together; returns what was noticed about the workers."""
    writer = CubeWriter(settings.store, world.name)
    for domain in plan.domains.values():
        writer.prepare(_template(world, domain), fresh=len(domain.regions) == chunk_count(domain))
    make = partial(_build_region, settings=settings, world=world, plan=plan, writer=writer.regions(isolated=workers.isolated))
    mapped = workers.map(make, [r for domain in plan.domains.values() for r in domain.regions], progress)
    writer.merge([built.written for built in mapped.results])
    digests = {}
    for name in plan.domains:
        used = {v.source for v in world.domains[name].variables.values()}
        books = [built.book for built in mapped.results if built.domain == name]
        digests[name] = writer.keep_books(name, books, {s: plan.consumed[s] for s in used})
    writer.commit(f"{world.name} as of {format_instant(request.as_of)}", _provenance(request, world, plan.consumed, digests))
    return mapped.notes


def _template(world: World, plan: DomainPlan) -> GroupTemplate:
    domain = world.domains[plan.domain]
    variables = []
    for name, variable in domain.variables.items():
        raw = world.sources[variable.source].variables[name]
        variables.append(
            VariableTemplate(
                name=name,
                units=raw.to or raw.unit,
                aggregate=variable.aggregate,
                long_name=variable.long_name,
                standard_name=variable.standard_name,
            )
        )
    return GroupTemplate(
        domain=plan.domain,
        title=domain.title,
        axis_T=plan.axis_T,
        even_step=None if domain.clock.step is None else step_seconds(domain.clock),
        nodes=plan.nodes,
        variables=tuple(variables),
        chunk_steps=plan.chunk_steps,
        chunk_nodes=plan.chunk_nodes,
        recipe=recipe_digest(world, plan.domain),
    )


def _build_region(region: Region, *, settings: Settings, world: World, plan: BuildPlan, writer: RegionWriter) -> _Built:
    """Read, assemble and write one region; runs on any worker."""
    consumed, plan_of, domain = plan.consumed, plan.domains[region.domain], world.domains[region.domain]
    begin, end = region_edge(plan_of, region) - reach_seconds(domain), int(plan_of.axis_T[region.stop - 1])
    objects, tables = ObjectStore(settings.store), {}
    for source in sorted({v.source for v in domain.variables.values()}):
        names = [n for n, v in domain.variables.items() if v.source == source]
        columns = ["node", "valid_time", "available_time", *(c for n in names for c in (n, f"{n}_flag"))]
        tables[source] = ObservationStore(objects, world, source, at=consumed[source]).read(begin, end, columns, dictionaries=True)
    slab = assemble(world, plan_of, region, tables)
    written = writer.write(region.domain, region.start, _arrays(plan_of, slab))
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
    state: CubeState,
    *,
    outcome: Any,
    notes: tuple[str, ...] = (),
    plan: dict[str, int] | None = None,
    details: dict[str, Any] | None = None,
) -> Receipt:
    domains = state.domains
    counts = {
        "cells": sum(d.steps * d.nodes * len(d.missing) for d in domains.values()),
        "missing": sum(round(share * d.steps * d.nodes) for d in domains.values() for share in d.missing.values()),
        "revisions": sum(d.revisions for d in domains.values()),
    }
    return Receipt(
        step=request.step,
        world=world.name,
        as_of=request.as_of,
        outcome=outcome,
        ids={"snapshot": state.snapshot} | {f"digest.{name}": d.digest for name, d in domains.items()},
        counts=counts | {"regions": 0, "written_cells": 0} | (plan or {}),
        notes=notes,
        details={"missing_share": {name: d.missing for name, d in domains.items()}} | (details or {}),
    )

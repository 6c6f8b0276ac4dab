"""The groups of a cube: the cells of each domain, and the runs that others forecast for it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Literal

from pipeline.alignment.aggregate import Method
from pipeline.alignment.runs import run_length
from pipeline.alignment.time_grid import step_seconds
from pipeline.contracts.modalities import TargetGrid
from pipeline.contracts.times import to_seconds
from pipeline.contracts.worlds import Clock, World

FUTURE = ".future"
"""How the name of a domain's group of runs ends."""


@dataclass(frozen=True, kw_only=True)
class GroupVariable:
    """One variable: where it comes from, how it meets the axis, and its metadata. Seconds throughout.

    `interpolate` is how far apart two instants of a forecast may be for the steps between to lie on a line.
    """

    source: str
    aggregate: Method
    latency: int
    max_age: int | None
    units: str
    long_name: str
    standard_name: str | None
    interpolate: int = 0


@dataclass(frozen=True, kw_only=True)
class Runs:
    """What the steps of a group of runs are: `count` labels of a domain's clock after the start of each, within `reach` seconds.

    `neighbours` is how many places a node of the domain takes its values from.
    """

    clock: Clock
    start: int
    reach: int
    count: int
    neighbours: int


@dataclass(frozen=True, kw_only=True)
class Group:
    """What a group holds; its axis are the labels of `clock` from `start` (seconds UTC) on.

    Attributes:
        runs: Set where the axis are the starts of runs.
        slabs: Those of its sources whose grids stay whole in landing.
        grid: The cells that these are brought to; None: the domain's nodes, or the grid as it comes.
    """

    name: str
    title: str
    kind: Literal["node", "grid"]
    clock: Clock
    start: int
    chunk_steps: int | None
    variables: dict[str, GroupVariable]
    runs: Runs | None = None
    slabs: frozenset[str] = frozenset()
    grid: TargetGrid | None = None

    @property
    def sources(self) -> tuple[str, ...]:
        """The sources of its variables, sorted."""
        return tuple(sorted({v.source for v in self.variables.values()}))

    @property
    def before(self) -> int:
        """How long before its own interval a cell may take a reading from: the longest `max_age`."""
        return max((v.max_age for v in self.variables.values() if v.max_age is not None), default=0)

    @property
    def after(self) -> int:
        """How long after its label a cell may take a reading from: what a run speaks of comes after its start."""
        return 0 if self.runs is None else self.runs.reach + step_seconds(self.runs.clock)


def groups_of(world: World) -> dict[str, Group]:
    """The groups of a world's cube by name, a domain's runs after its cells."""
    found: dict[str, Group] = {}
    for name in world.domains:
        found[name] = _cells(world, name)
        runs = _runs(world, name)
        if runs is not None:
            found[runs.name] = runs
    return found


def _cells(world: World, name: str) -> Group:
    domain = world.domains[name]
    variables = {}
    for key, v in domain.variables.items():
        made = _variable(world, v.source, key, v.aggregate, v.long_name)
        variables[key] = replace(made, max_age=_seconds(v.max_age) if v.max_age is not None else None, standard_name=v.standard_name)
    return Group(
        name=name,
        title=domain.title,
        kind=domain.kind,
        clock=domain.clock,
        start=to_seconds(world.domain_start(name)),
        chunk_steps=domain.chunk_steps,
        variables=variables,
        slabs=frozenset(v.source for v in variables.values() if world.sources[v.source].slabs),
        grid=domain.grid,
    )


def _runs(world: World, name: str) -> Group | None:
    domain, future = world.domains[name], world.domains[name].future
    if future is None:
        return None
    source = world.sources[future.source]
    cycle, reach = _seconds(source.runs or source.ahead), _seconds(future.reach or source.ahead)
    start = to_seconds(world.domain_start(name))
    variables = {}
    for key, v in future.variables.items():
        made = _variable(world, future.source, key, v.aggregate, v.long_name)
        variables[key] = replace(made, interpolate=_seconds(v.interpolate))
    return Group(
        name=name + FUTURE,
        title=f"{domain.title}: forecasts by others",
        kind="grid",
        clock=Clock(step=source.runs),
        start=(start - reach) // cycle * cycle,
        chunk_steps=None,
        variables=variables,
        runs=Runs(clock=domain.clock, start=start, reach=reach, count=run_length(domain.clock, reach), neighbours=future.neighbours),
    )


def _variable(world: World, source: str, name: str, aggregate: Method, long_name: str) -> GroupVariable:
    declared = world.sources[source]
    raw = declared.variables[name]
    return GroupVariable(
        source=source,
        aggregate=aggregate,
        latency=_seconds(declared.latency_of(name)),
        max_age=None,
        units=raw.to or raw.unit,
        long_name=long_name,
        standard_name=None,
    )


def _seconds(duration: timedelta) -> int:
    return int(duration.total_seconds())

"""The inputs of a world against their contracts and against the time that its champion was trained on."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.alignment.time_grid import step_seconds
from pipeline.contracts.alerts import Finding
from pipeline.contracts.cubes import DomainCube
from pipeline.contracts.provenance import digest_json
from pipeline.contracts.times import compact_instant, from_seconds, to_seconds
from pipeline.contracts.worlds import World
from pipeline.cube.groups import FUTURE, groups_of
from pipeline.errors import NotYetAvailable
from pipeline.monitoring.feeds import late_runs, late_texts
from pipeline.monitoring.freshness import freshness, late_sources, node_ages
from pipeline.monitoring.nodes import gathered, node_findings
from pipeline.monitoring.profile import FORMAT, Profile, block_steps, judges_drift, judges_shifts, profile_of
from pipeline.monitoring.recent import needed_steps, recent_of
from pipeline.monitoring.variables import drifted, incomplete
from pipeline.settings import Settings
from pipeline.steps import reading
from pipeline.stores.cubes import CubeStore
from pipeline.stores.profiles import ProfileStore
from pipeline.telemetry import Progress
from pipeline.windows.folds import fold_boundaries

_CLOSED_DAYS = 20
_MOST_AGES = 2048
_LATEST_RUNS = 3
"""Times the reach of a run or a document that the newest one is looked for."""


@dataclass(frozen=True, kw_only=True)
class Looked:
    """What a look at the inputs found: findings, per domain how fresh they are, and what could not be judged."""

    findings: list[Finding]
    inputs: dict[str, Any]
    notes: tuple[str, ...]


def look_at_inputs(
    world: World,
    settings: Settings,
    store: ProfileStore,
    *,
    as_of: datetime,
    cut_off: datetime,
    standing: frozenset[str],
    progress: Progress,
) -> Looked:
    """Freshness, completeness, frozen and shifted sensors, and drift, as known at `as_of`; the reference ends with the training at `cut_off`."""
    moment = to_seconds(as_of)
    found: list[Finding] = []
    inputs: dict[str, Any] = {}
    notes: list[str] = []
    opened: dict[str, DomainCube] = {}
    with progress.stage("inputs", len(world.domains), "domains") as stage:
        for name in world.domains:
            profile = _profile(world, settings, store, name, cut_off)
            cube = _newest(world, settings, name, as_of, profile)
            if cube is not None:
                opened[name] = cube
                inputs[name] = _described(world, name, cube, moment)
            if cube is not None and profile is not None and profile.blocks:
                found += _domain(world, name, cube, profile, moment, standing)
                notes += _unjudged(name, profile)
            else:
                notes.append(
                    f"domain {name}: only lateness is judged: {'no training time of a whole block' if cube is not None else 'no cube'}"
                )
            stage.advance()
    late = [*late_sources(world, opened, as_of=moment), *_late_feeds(world, settings, as_of)]
    gone = {(finding.domain, finding.variable) for finding in late}
    # What has not come at all is late, and not also incomplete or silent.
    found = [f for f in found if f.rule not in ("incomplete", "silent_node") or (f.domain, f.variable) not in gone]
    return Looked(findings=late + found, inputs=inputs, notes=tuple(notes))


def _late_feeds(world: World, settings: Settings, as_of: datetime) -> Iterator[Finding]:
    """Runs of forecasts by others, and documents, that are late."""
    moment = to_seconds(as_of)
    foretold = [name for name, domain in world.domains.items() if domain.future is not None]
    streams = {name: stream for name, stream in world.texts.items() if world.sources[stream.source].cadence is not None}
    if not foretold and not streams:
        return
    store = CubeStore(settings.cubes or settings.store, world.name)
    runs: dict[str, DomainCube] = {}
    for name in foretold:
        group = groups_of(world)[name + FUTURE].runs
        with contextlib.suppress(NotYetAvailable):
            runs[name] = store.open_runs(as_of, name, start=moment - _LATEST_RUNS * (group.reach if group else 0))
    known: dict[str, NDArray[np.int64]] = {}
    for name, stream in streams.items():
        with contextlib.suppress(NotYetAvailable):
            known[name] = store.open_texts(as_of, name, since=moment - _LATEST_RUNS * int(stream.reach.total_seconds())).available_time_D
    yield from late_runs(world, runs, as_of=moment)
    yield from late_texts(world, known, as_of=moment)


def _unjudged(name: str, profile: Profile) -> list[str]:
    """What a training time is too short for."""
    found = []
    if not judges_shifts(profile):
        found.append(
            f"domain {name}: levels of sensors are not judged: the training time has {profile.blocks} block(s) of {profile.block} steps"
        )
    if not judges_drift(profile):
        found.append(
            f"domain {name}: drift is not judged: the training time has {profile.stretches} stretch(es) of {profile.stretch} steps"
        )
    return found


def _domain(world: World, name: str, cube: DomainCube, profile: Profile, moment: int, standing: frozenset[str]) -> list[Finding]:
    domain, rules = world.domains[name], world.monitoring
    found: list[Finding] = []
    for recent in recent_of(world, domain, cube, profile, as_of=moment):
        single = node_findings(recent, profile, rules, step=step_seconds(domain.clock), as_of=moment)
        found += gathered(single, len(profile.nodes), rules, standing)
        found += incomplete(recent, profile, rules)
        if not any(f.rule == "shifted_unit" and not f.subject for f in found if f.variable == recent.variable):
            found += drifted(recent, profile, rules)
    return found


def _described(world: World, name: str, cube: DomainCube, moment: int) -> dict[str, Any]:
    """How fresh each variable is, and by name the age of each node that is not as fresh (None: no good value at all)."""
    domain = world.domains[name]
    rows = freshness(cube, as_of=moment, steps=domain.context)
    ages: Mapping[str, Mapping[str, int | None]] = node_ages(cube, as_of=moment) if len(cube.nodes) <= _MOST_AGES else {}
    older = {row.variable: {n: age for n, age in ages.get(row.variable, {}).items() if age != row.age_seconds} for row in rows}
    return {row.variable: row.to_json() | {"older_nodes": older[row.variable]} for row in rows}


def _newest(world: World, settings: Settings, name: str, as_of: datetime, profile: Profile | None) -> DomainCube | None:
    """What the rules look at, and at least the context."""
    domain = world.domains[name]
    steps = max(domain.context, needed_steps(profile) if profile else 7 * block_steps(domain)) + 1
    latency = max(int(world.sources[v.source].latency_of(key).total_seconds()) for key, v in domain.variables.items())
    back = (
        steps * step_seconds(domain.clock) * (1 if domain.clock.step is not None else 2)
        + latency
        + _CLOSED_DAYS * 86400 * (domain.clock.step is None)
    )
    start = to_seconds(as_of) - back
    return reading.open_cubes(world, settings, as_of, domains=[name], start={name: start}, absent_is_fine=True).get(name)


def _profile(world: World, settings: Settings, store: ProfileStore, name: str, cut_off: datetime) -> Profile | None:
    """The profile of a domain's training time, kept for the next look; None where there is no cube."""
    until = fold_boundaries(world, name, to_seconds(cut_off))[0]
    on = digest_json([FORMAT, world.digest, world.domains[name].model_dump(mode="json"), name, until])[:16]
    key = f"{name}-{compact_instant(from_seconds(until))}-{on}"
    known = store.find(key)
    if known is not None:
        return known
    try:
        cube = reading.open_cubes(world, settings, cut_off, domains=[name], until={name: until})[name]
    except (NotYetAvailable, KeyError):
        return None
    made = profile_of(world.domains[name], cube)
    store.keep(key, made)
    return made

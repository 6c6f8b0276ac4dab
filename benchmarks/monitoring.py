"""What does monitoring say of a long stretch of real feeds: how often it cries, of what, and how soon planted faults are found?

Looks at the inputs of a built cube every so often, each look as of its instant, the reference retrained each week; what was said lies in
the table, alert by alert, to be judged by hand. Then, again and again, plants faults in the same readings (a frozen sensor, one in
kelvin, one in degrees Fahrenheit, one that falls silent) and counts the hours until each is found under its name, and raises whole regions. With `--lane` it also judges the forecasts of a
replay day by day. `python -m benchmarks.monitoring --world us --from 2017-02-01T00:00Z --to 2017-10-26T00:00Z`
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any
from unittest.mock import patch

import numpy as np
import typer

from pipeline.contracts.alerts import Alert
from pipeline.contracts.cubes import DomainCube
from pipeline.contracts.times import format_instant, from_seconds, parse_instant, to_seconds
from pipeline.contracts.world_files import load_world
from pipeline.contracts.worlds import World
from pipeline.monitoring.outcomes import DAY, residual_findings, skill_findings
from pipeline.monitoring.standing import renewed
from pipeline.settings import Settings, read_settings
from pipeline.steps import reading
from pipeline.steps.looking_at_inputs import Looked, look_at_inputs
from pipeline.steps.looking_at_outcomes import daily_of, promised_of
from pipeline.stores.lanes import LaneStore
from pipeline.stores.objects import ObjectStore
from pipeline.stores.profiles import ProfileStore
from pipeline.stores.registry import Registry
from pipeline.stores.scores import ScoreStore
from pipeline.telemetry import QUIET
from pipeline.verification.grounds import regions_of

FAULTS = {"frozen": "frozen_sensor", "kelvin": "shifted_unit", "fahrenheit": "shifted_unit", "silent": "silent_node"}
"""Faults that are planted, and the rule under whose name each should be found."""

app = typer.Typer(add_completion=False)


@dataclass
class Heard:
    """Alerts as they opened, and for how many looks each stood."""

    standing: tuple[Alert, ...] = ()
    opened: list[tuple[int, Alert]] = field(default_factory=list)
    looks: Counter[str] = field(default_factory=Counter)

    def look(self, findings: Any, now: int, heal_after: int) -> None:
        """Go on from the look before."""
        change = renewed(self.standing, findings, now=now, heal_after=heal_after)
        self.standing = change.standing
        self.opened += [(now, alert) for alert in change.opened]
        self.looks.update(alert.key for alert in change.standing)


@dataclass(frozen=True, kw_only=True)
class Planted:
    """A fault of one node of one variable from an instant on."""

    kind: str
    domain: str
    variable: str
    node: str
    since: int

    def into(self, cube: DomainCube) -> DomainCube:
        """The readings with this fault."""
        v, n = cube.variables.index(self.variable), cube.nodes.ids.index(self.node)
        at, values, flags = int(np.searchsorted(cube.valid_time, self.since)), cube.values_TNV.copy(), cube.flags_TNV.copy()
        known = np.flatnonzero(np.isfinite(values[:at, n, v]))
        if self.kind == "silent":
            values[at:, n, v], flags[at:, n, v] = np.nan, 1
        elif self.kind == "kelvin":
            values[at:, n, v] = values[at:, n, v] + np.float32(273.15)
        elif self.kind == "fahrenheit":
            values[at:, n, v] = values[at:, n, v] * np.float32(1.8) + np.float32(32)
        elif len(known):
            values[at:, n, v], flags[at:, n, v] = values[known[-1], n, v], 0
        return replace(cube, values_TNV=values, flags_TNV=flags)


@dataclass(frozen=True, kw_only=True)
class Drifted:
    """A region whose readings of one variable are higher from an instant on."""

    domain: str
    variable: str
    nodes: tuple[int, ...]
    since: int
    by: float

    def into(self, cube: DomainCube) -> DomainCube:
        """The readings with this drift."""
        at, values = int(np.searchsorted(cube.valid_time, self.since)), cube.values_TNV.copy()
        values[at:, list(self.nodes), cube.variables.index(self.variable)] += np.float32(self.by)
        return replace(cube, values_TNV=values)


class _Looker:
    """Looks at a world's inputs as of instants, with a profile of the weeks before, and with faults where some are planted."""

    def __init__(self, world: World, settings: Settings, objects: ObjectStore) -> None:
        self._world, self._settings, self._profiles = world, settings, ProfileStore(objects, world.name)
        self._open = reading.open_cubes
        self.planted: Sequence[Planted | Drifted] = ()

    def look(self, now: int, standing: tuple[Alert, ...]) -> Looked:
        """One look; a reference never has a planted fault."""
        cut_off = from_seconds(now - now % (7 * DAY))
        known = frozenset(alert.key for alert in standing)
        with patch.object(reading, "open_cubes", self._faulty):
            return look_at_inputs(
                self._world, self._settings, self._profiles, as_of=from_seconds(now), cut_off=cut_off, standing=known, progress=QUIET
            )

    def _faulty(self, *args: Any, **named: Any) -> dict[str, DomainCube]:
        found: dict[str, DomainCube] = self._open(*args, **named)
        for fault in self.planted if not named.get("until") else ():
            if fault.domain in found:
                found[fault.domain] = fault.into(found[fault.domain])
        return found


@app.command()
def main(
    world: Annotated[str, typer.Option()] = "us",
    first: Annotated[str, typer.Option("--from")] = "2017-02-01T00:00Z",
    last: Annotated[str, typer.Option("--to")] = "2017-10-26T00:00Z",
    every_hours: int = 24,
    target: Annotated[str, typer.Option(help="domain.variable in which faults are planted")] = "weather.temperature",
    plantings: int = 6,
    drifts: Annotated[str, typer.Option(help="by how much the target of a whole region is raised")] = "10,15",
    lane: Annotated[str | None, typer.Option(help="a replay whose forecasts are judged too")] = None,
) -> None:
    loaded, settings = load_world(world), read_settings()
    start, end = (to_seconds(parse_instant(text)) for text in (first, last))
    with tempfile.TemporaryDirectory() as folder:
        looker = _Looker(loaded, settings, ObjectStore(folder))
        _quiet(loaded, looker, start, end, every_hours)
        if plantings:
            _planted(loaded, looker, start, end, target, plantings)
            _drifted(loaded, looker, start, end, target, plantings, [float(by) for by in drifts.split(",")])
    if lane:
        _forecasts(loaded, settings, lane)


def _quiet(world: World, looker: _Looker, start: int, end: int, every_hours: int) -> None:
    heard, began, times = Heard(), time.process_time(), range(start, end + 1, every_hours * 3600)
    for now in times:
        heard.look(looker.look(now, heard.standing).findings, now, world.monitoring.heal_after)
        print(format_instant(from_seconds(now)), len(heard.standing), file=sys.stderr)
    spent = (time.process_time() - began) / len(times)
    print(f"{world.name}: {len(times)} looks, {spent:.2f} processor seconds each, {len(heard.opened)} alerts opened")
    _table(heard)


def _table(heard: Heard) -> None:
    print("| opened | alert | level | looks | what it says |\n|---|---|---|---|---|")
    for now, alert in heard.opened:
        print(
            f"| {format_instant(from_seconds(now))} | {alert.key} | {alert.finding.level} | {heard.looks[alert.key]} | {alert.finding.text} |"
        )


def _planted(world: World, looker: _Looker, start: int, end: int, target: str, plantings: int) -> None:
    domain, variable = target.split(".")
    nodes = reading.open_cubes(world, read_settings(), from_seconds(start), domains=[domain])[domain].nodes.ids
    random = np.random.default_rng(0)
    hours: dict[str, list[float]] = {kind: [] for kind in FAULTS}
    for since in np.linspace(start, end - 4 * DAY, plantings).astype(np.int64) // 3600 * 3600:
        chosen = random.choice(nodes, len(FAULTS), replace=False)
        planted = [
            Planted(kind=kind, domain=domain, variable=variable, node=str(node), since=int(since))
            for kind, node in zip(FAULTS, chosen, strict=True)
        ]
        looker.planted = planted
        for fault, found in _until_found(looker, planted, int(since)).items():
            hours[fault.kind].append(found)
    for kind, waited in hours.items():
        known = [h for h in waited if np.isfinite(h)]
        said = f"{min(known):g} to {max(known):g} h, median {np.median(known):g} h" if known else "never"
        print(f"{kind} ({FAULTS[kind]}): {len(known)} of {len(waited)} found within three days, {said}")


def _until_found(looker: _Looker, planted: list[Planted], since: int) -> Mapping[Planted, float]:
    found = dict.fromkeys(planted, float("inf"))
    for hours in range(3, 73, 3):
        keys = {f.key for f in looker.look(since + hours * 3600, ()).findings}
        for fault in planted:
            if f"{FAULTS[fault.kind]}/{fault.domain}/{fault.variable}/{fault.node}" in keys and found[fault] > hours:
                found[fault] = hours
        if all(np.isfinite(list(found.values()))):
            break
    return found


def _drifted(world: World, looker: _Looker, start: int, end: int, target: str, plantings: int, drifts: list[float]) -> None:
    domain, variable = target.split(".")
    nodes = reading.open_cubes(world, read_settings(), from_seconds(start), domains=[domain])[domain].nodes
    names, region_N = regions_of(world.domains[domain], nodes)
    for by in drifts:
        found = 0
        for since in np.linspace(start + 30 * DAY, end - 7 * DAY, plantings).astype(np.int64) // 3600 * 3600:
            for r, name in enumerate(names):
                inside = tuple(np.flatnonzero(region_N == r).tolist())
                looker.planted = [Drifted(domain=domain, variable=variable, nodes=inside, since=int(since), by=by)]
                keys = {f.key for f in looker.look(int(since) + 7 * DAY, ()).findings}
                found += f"drifted_input/{domain}/{variable}/{name}" in keys
        print(f"drifted (drifted_input), a region {by:+g}: {found} of {plantings * len(names)} found after a week")


def _forecasts(world: World, settings: Settings, lane: str) -> None:
    """Each day of a replay judged as its own monitoring would have, held against the scorecard of the champion of that day."""
    objects = ObjectStore(LaneStore(settings, world.name).url(lane))
    scores, registry = ScoreStore(objects, world.name), Registry(objects, world.name)
    times, heard = scores.issue_times(), Heard()
    for now in range(times[0] // DAY * DAY + (world.monitoring.days + 1) * DAY, times[-1] + DAY, DAY):
        days = daily_of(scores, first=times[0], last=now - 1, progress=QUIET)
        promised = promised_of(registry, registry.champion(from_seconds(now)))
        found = residual_findings(days, promised, world.monitoring)
        found += [
            f
            for key, row in days.items()
            if not row.region and key in promised
            for f in skill_findings(row, promised[key], world.monitoring)
        ]
        heard.look(found, now, world.monitoring.heal_after)
    print(f"replay {lane}: {len(times)} issue times, {len(heard.opened)} alerts opened")
    _table(heard)


if __name__ == "__main__":
    app()

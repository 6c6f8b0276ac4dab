"""kill -9 of land, observe and build_cube at random moments, by time and by write, beside a reader that never rests."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field

from tests.torture.proxy import Plan
from tests.torture.scene import Scene, differences, random_of
from tests.torture.states import STEPS, units_of

_MOST_A_STEP = 4


@dataclass
class Tally:
    """Kills of one step on one kind of store, and what came of them.

    Attributes:
        lost: Units that were there and then were not, or that the same command did not bring to the undisturbed state.
        torn: Units that a reader could not read.
        mixed: Units that a reader saw in a state that never was.
    """

    kills: int = 0
    by_time: int = 0
    reads: int = 0
    lost: list[str] = field(default_factory=list)
    torn: list[str] = field(default_factory=list)
    mixed: list[str] = field(default_factory=list)

    @property
    def wrong(self) -> list[str]:
        """All that must not be."""
        return [*self.lost, *self.torn, *self.mixed]


def kill_steps(scene: Scene, where: str, *, kills: int, seed: int) -> dict[str, Tally]:
    """Kill each step so often, day after day of world after world, and run each to its end in between."""
    rng = random_of(seed, f"kills {where}")
    tallies = {step: Tally() for step in STEPS}
    rounds = 0
    while any(tally.kills < kills for tally in tallies.values()):
        store = scene.store(where, f"killed-{where}-{rounds}")
        rounds += 1
        for day in range(1, scene.days + 1):
            for step, tally in tallies.items():
                _one_step(scene, where, store, step, day, tally, min(_MOST_A_STEP, kills - tally.kills), rng)
            if all(tally.kills >= kills for tally in tallies.values()):
                break
        for fault in scene.reader.verify(store, scene.world_file):
            tallies["build_cube"].torn.append(f"store verify: {fault}")
    return tallies


def _one_step(scene: Scene, where: str, store: str, step: str, day: int, tally: Tally, most: int, rng: random.Random) -> None:
    before, after = scene.expected(day - 1, step), scene.expected(day, step)
    place = f"{where} {step} day {day}"
    scene.reader.watch(store, scene.world_file, units_of(scene.world, step))
    finished = False
    for _ in range(most):
        by_time = rng.random() < 0.5
        ended = scene.step(where, store, step, day, **_death(scene, where, step, by_time, rng))
        if not ended.killed:
            assert ended.answer is not None, ended
            finished = True
            break
        tally.kills += 1
        tally.by_time += by_time
        if not differences(scene.look(store, step), after):
            break
    if not finished:
        scene.complete(where, store, step, day)
    reads, seen = scene.reader.stop()
    tally.reads += reads
    for unit, states in seen.items():
        for fault in _faults(states, before[unit], after[unit]):
            kind = tally.torn if fault.startswith("torn") else tally.lost if fault.startswith("lost") else tally.mixed
            kind.append(f"{place} {unit}: {fault}")
    tally.lost += [f"{place} {line}" for line in differences(scene.look(store, step), after)]


def _death(scene: Scene, where: str, step: str, by_time: bool, rng: random.Random) -> dict[str, object]:
    if by_time:
        return {"kill_after": rng.uniform(0, scene.seconds.get((where, step), 1.0))}
    at = rng.randrange(scene.writes.get((where, step), 8))
    return {"plan": Plan(kill_at_write=at, kill_after_applied=rng.random() < 0.5)} if where == "S3" else {"kill_at": at}


def _faults(states: list[str], before: str, after: str) -> Iterator[str]:
    """What is wrong with the states that a reader saw one after another."""
    for earlier, later in zip(["", *states], states, strict=False):
        if later.startswith("torn"):
            yield later
        elif later not in (before, after):
            yield f"mixed: {later}, neither {before} nor {after}"
        elif earlier == after != before:
            yield f"lost: {later} after {earlier}"

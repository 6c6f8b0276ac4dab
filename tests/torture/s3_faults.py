"""Land, observe and build_cube while requests to S3 fail: right data, or a clear error and the old state."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from itertools import product

from tests.torture.proxy import FAULTS, Fault, Plan
from tests.torture.scene import PATIENCE, Scene, differences, random_of
from tests.torture.states import STEPS

BURSTS = (1, 1, 1, 1, 3, 10_000)
"""How many requests in a row a fault befalls: mostly one; now and then all from then on."""


@dataclass
class Tally:
    """Trials of one fault.

    Attributes:
        struck: Requests that it befell.
        healed: Trials that ended with the right data all the same.
        refused: Trials that ended with a clear error and the old state, which the same command then brought to the right one.
        slow: Trials that had not ended after the longest time that a trial may take, and were killed.
        wrong: Trials that ended with other data, or with an error that is not clear.
        unproved: Writes that came without a checksum.
        kinds: What the errors were.
        longest: Seconds of the longest trial.
    """

    trials: int = 0
    struck: int = 0
    healed: int = 0
    refused: int = 0
    slow: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    unproved: list[str] = field(default_factory=list)
    kinds: Counter[str] = field(default_factory=Counter)
    longest: float = 0.0


def fail_requests(
    scene: Scene, *, trials: int, seed: int, faults: tuple[Fault, ...] = FAULTS, bursts: tuple[int, ...] = BURSTS
) -> dict[Fault, Tally]:
    """So many trials of each fault, over the steps in turn."""
    return {fault: _trials(scene, fault, trials, seed, bursts) for fault in faults}


def _trials(scene: Scene, fault: Fault, trials: int, seed: int, bursts: tuple[int, ...]) -> Tally:
    rng, tally = random_of(seed, f"faults {fault}"), Tally()
    name, rounds, asked = fault.replace(" ", "-"), 0, dict.fromkeys(STEPS, 24)
    while tally.trials < trials:
        store = scene.store("S3", f"failing-{name}-{rounds}")
        rounds += 1
        for day, step in product(range(1, scene.days + 1), STEPS):
            if tally.trials < trials:
                plan = Plan(
                    fault=fault, first=rng.randrange(asked[step]), times=rng.choice(bursts), seed=rng.randrange(2**32), stall=PATIENCE * 4
                )
                asked[step] = _one(scene, store, step, day, plan, tally) or asked[step]
        for line in scene.reader.verify(store, scene.world_file):
            tally.wrong.append(f"{fault}: store verify: {line}")
    return tally


def _one(scene: Scene, store: str, step: str, day: int, plan: Plan, tally: Tally) -> int:
    """One trial; returns how many requests the fault could have befallen."""
    before, after = scene.expected(day - 1, step), scene.expected(day, step)
    place = f"{plan.fault} x {plan.times} from {plan.first}, {step} day {day}"
    ended = scene.step("S3", store, step, day, plan=plan)
    tally.unproved += plan.unproved
    found = scene.look(store, step)
    if plan.struck:
        tally.trials += 1
        tally.struck += plan.struck
        tally.longest = max(tally.longest, ended.seconds)
    if ended.answer is not None:
        tally.healed += bool(plan.struck)
        tally.wrong += [f"{place}: {line}" for line in differences(found, after)]
        return plan.seen
    if ended.killed:
        tally.slow.append(place)
    elif not ended.clear:
        tally.wrong.append(f"{place}: {ended.error}")
    tally.refused += ended.clear
    tally.kinds[(ended.error or "").split(": Mend")[0][:160]] += 1
    tally.wrong += [f"{place}: {unit} is {state}" for unit, state in found.items() if state not in (before[unit], after[unit])]
    scene.complete("S3", store, step, day)
    tally.wrong += [f"{place}, run again: {line}" for line in differences(scene.look(store, step), after)]
    return 0

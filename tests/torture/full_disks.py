"""Land, observe and build_cube on a disk that fills up, and with files that may not grow: the old state whole, the error clear."""

from __future__ import annotations

import os
import random
import re
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from tests.torture.scene import Scene, differences, random_of
from tests.torture.states import STEPS

Limit = Literal["full disk", "file limit"]
ROOMY = 2**29
_MOST_A_STEP = 4


@dataclass
class Tally:
    """Trials: how many steps found no room (`refused`), how many finished in time, what went wrong, what the errors were."""

    refused: int = 0
    finished: int = 0
    wrong: list[str] = field(default_factory=list)
    kinds: Counter[str] = field(default_factory=Counter)


@contextmanager
def small_disk(folder: Path) -> Iterator[Path | None]:
    """A file system of its own, whose size can be changed; None where we may not make one."""
    folder.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={ROOMY}", "tmpfs", folder], capture_output=True)
    if made.returncode:
        yield None
        return
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def run_out_of_room(scene: Scene, limit: Limit, *, refusals: int, seed: int, disk: Path) -> Tally:
    """Let each step meet a limit at a random byte until so many were refused, and finish each with room."""
    rng, tally, rounds = random_of(seed, limit), Tally(), 0
    while tally.refused < refusals:
        store = str(disk / f"{limit.replace(' ', '-')}-{rounds}")
        rounds += 1
        for day in range(1, scene.days + 1):
            for step in STEPS:
                most = _MOST_A_STEP if tally.refused < refusals else 0
                _one_step(scene, limit, disk, store, step, day, tally, rng, most)
        tally.wrong += [f"store verify: {fault}" for fault in scene.reader.verify(store, scene.world_file)]
    return tally


def _one_step(scene: Scene, limit: Limit, disk: Path, store: str, step: str, day: int, tally: Tally, rng: random.Random, most: int) -> None:
    before, after = scene.expected(day - 1, step), scene.expected(day, step)
    for _ in range(most):
        place = f"{limit}, {step} day {day}"
        if limit == "full disk":
            room = rng.randrange(_ADDED[step])
            _resize(disk, _used(disk) + room)
            ended = scene.step("disk", store, step, day)
            _resize(disk, ROOMY)
        else:
            ended = scene.step("disk", store, step, day, most_bytes=rng.randrange(1, _LARGEST[step]))
        found = scene.look(store, step)
        if ended.answer is not None:
            tally.finished += 1
            tally.wrong += [f"{place}: {line}" for line in differences(found, after)]
            break
        tally.refused += 1
        error = ended.error or ""
        tally.kinds[re.sub(r"[0-9a-f]{16,}|\d+", "…", error.replace(str(disk), ""))[:110]] += 1
        if not ended.clear or store not in error or not re.search(r"\d+ bytes", error):
            tally.wrong.append(f"{place}: {error}")
        tally.wrong += [f"{place}: {unit} is {state}" for unit, state in found.items() if state not in (before[unit], after[unit])]
    scene.complete("disk", store, step, day)
    tally.wrong += [f"{limit}, {step} day {day}, run again: {line}" for line in differences(scene.look(store, step), after)]


_ADDED = {"land": 60_000, "observe": 250_000, "build_cube": 350_000}
"""Bytes of disk that a step takes at most, about."""

_LARGEST = {"land": 14_000, "observe": 20_000, "build_cube": 12_000}
"""Bytes of the largest files that a step writes, about."""


def _used(disk: Path) -> int:
    state = os.statvfs(disk)
    return (state.f_blocks - state.f_bfree) * state.f_frsize


def _resize(disk: Path, size: int) -> None:
    subprocess.run(["mount", "-o", f"remount,size={size}", disk], check=True)

"""Several ways to the same end, measured in turns: what slows the machine down for a while slows all of them."""

from __future__ import annotations

import contextlib
import os
import platform
import resource
import statistics
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from pipeline.process_tree import descendants


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Wall and processor seconds of one run, ended children included."""

    wall: float
    processor: float


@dataclass(frozen=True, kw_only=True)
class Costs:
    """All runs of one way."""

    runs: tuple[Cost, ...]

    @property
    def wall(self) -> float:
        """The median."""
        return statistics.median(cost.wall for cost in self.runs)

    @property
    def processor(self) -> float:
        """The median."""
        return statistics.median(cost.processor for cost in self.runs)

    @property
    def spread(self) -> str:
        """Fastest and slowest wall seconds."""
        walls = [cost.wall for cost in self.runs]
        return f"{min(walls):.2f}–{max(walls):.2f}"


def cost_of(work: Callable[[], object]) -> Cost:
    """What some work costs."""
    began, before = time.perf_counter(), _processor()
    work()
    return Cost(wall=time.perf_counter() - began, processor=_processor() - before)


def memory_of(root: int, *, below: bool = True) -> int:
    """Bytes of a process, and of all below it if asked, what they share counted once."""
    found = 0
    for process in {root, *(descendants(root) if below else ())}:
        with contextlib.suppress(OSError):
            lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
            found += next(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
    return found


@contextlib.contextmanager
def peaks(every: float = 0.1, *, own: bool = False) -> Iterator[dict[int, int]]:
    """The most bytes that each child of this process took, with all below it, while this lasts; looked at every so many seconds.

    With `own` also what this process took without them.
    """
    found: dict[int, int] = {}
    over = threading.Event()

    def look() -> None:
        while not over.wait(every):
            if own:
                found[os.getpid()] = max(found.get(os.getpid(), 0), memory_of(os.getpid(), below=False))
            for child in [int(word) for one in Path("/proc/self/task").glob("*/children") for word in one.read_text().split()]:
                found[child] = max(found.get(child, 0), memory_of(child))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield found
    finally:
        over.set()
        thread.join()


def in_turns(ways: Mapping[str, Callable[[], object]], *, runs: int) -> dict[str, Costs]:
    """Every way so many times, one after the other in each round."""
    found: dict[str, list[Cost]] = {name: [] for name in ways}
    for _ in range(runs):
        for name, work in ways.items():
            found[name].append(cost_of(work))
    return {name: Costs(runs=tuple(costs)) for name, costs in found.items()}


def setting(*libraries: str) -> str:
    """When, where and with what this is measured, as a line."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    used = ", ".join(f"{name} {version(name)}" for name in libraries)
    load = f"load average at the start {os.getloadavg()[0]:.1f}"
    return (
        f"{datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} cores, {memory:.0f} GiB, {platform.platform(terse=True)}, "
        f"Python {platform.python_version()}, {used}; {load}"
    )


def _processor() -> float:
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in usages)

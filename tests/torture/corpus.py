"""The hostile corpus, counted: what became of each file, in what time and memory."""

from __future__ import annotations

import resource
import time
from collections import Counter
from dataclasses import dataclass, field

from tests.unit.sources.test_hostile import CORPUS, test_it_gets_what_it_deserves


@dataclass
class Tally:
    """Files by what became of them as they deserve; those with which something else became; the slowest; growth of memory in MiB."""

    fates: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    longest: float = 0.0
    slowest: str = ""
    memory: float = 0.0


def take_corpus() -> Tally:
    """Give every file to its adapter."""
    tally, before = Tally(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for hostile in CORPUS:
        began = time.monotonic()
        try:
            test_it_gets_what_it_deserves(hostile)
            tally.fates[hostile.fate] += 1
        except AssertionError as error:
            tally.wrong.append(f"{hostile.name}: {error}")
        seconds = time.monotonic() - began
        if seconds > tally.longest:
            tally.longest, tally.slowest = seconds, hostile.name
    tally.memory = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    return tally

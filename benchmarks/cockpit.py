"""How long the cockpit's grid and panels take with a year of hourly issue times: `python -m benchmarks.cockpit`.

Ours: a month that is over read from its summary. Beside it: every receipt read one by one, which is what there would be without.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from pipeline.cockpit.grid import grid
from pipeline.contracts.times import format_instant, to_seconds
from pipeline.stores.objects import ObjectStore
from pipeline.stores.receipts import Receipts, Summary

HOURS = 8760
LAST = datetime(2026, 11, 1, tzinfo=UTC)
STEPS = ("land", "observe", "build_cube", "predict", "publish", "verify")
ROUNDS = 5


def fill(objects: ObjectStore) -> None:
    """A year of hourly receipts of six steps."""
    receipts = Receipts(objects)
    for hour in range(HOURS):
        as_of = LAST - timedelta(hours=hour)
        for step in STEPS:
            receipt = {"step": step, "world": "w", "as_of": format_instant(as_of), "outcome": "done", "details": {}}
            receipts.save(receipt, as_of=as_of, source=None, recorded_time=as_of, seconds=1.0, attempt=f"run-{hour}:1")


def year(receipts: Receipts) -> list[Summary]:
    """All summaries, as a cockpit that has just started reads them."""
    return [row for month in receipts.months("w") for row in receipts.summaries("w", month)]


def timed(work: Callable[[], object]) -> float:
    """Seconds of one call."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def main() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as folder:
        objects = ObjectStore(folder)
        fill(objects)
        plain = timed(lambda: year(Receipts(objects)))
        Receipts(objects).close_months("w", LAST + timedelta(days=40))
        cold, warm = [], []
        first, last = to_seconds(LAST - timedelta(days=366)), to_seconds(LAST) + 1
        for _ in range(ROUNDS):
            cold.append(timed(lambda: year(Receipts(objects))))
            warm.append(timed(lambda: grid(year(Receipts(objects)), [], first=first, last=last)))
    print("| what | seconds (median of 5) |\n|---|---|")
    print(f"| every receipt one by one ({HOURS * len(STEPS):,}; once) | {plain:.2f} |")
    print(f"| a year from monthly summaries | {statistics.median(cold):.2f} |")
    print(f"| the grid of a year, summaries and cells | {statistics.median(warm):.2f} |")


if __name__ == "__main__":
    main()

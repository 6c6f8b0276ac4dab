"""How long the cockpit's grid and panels take with a year of hourly issue times and daily trainings: `python -m benchmarks.cockpit`.

Ours: a month that is over read from its summary. Beside it: every receipt read one by one, which is what there would be without.
Takes half a minute on a quiet machine.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from unittest.mock import patch

from pipeline.api import load_world
from pipeline.cockpit.due import due_in
from pipeline.cockpit.grid import grid
from pipeline.cockpit.panels import over_time, panels
from pipeline.contracts.scores import Decision, Verdict
from pipeline.contracts.times import format_instant, to_seconds
from pipeline.stores.objects import ObjectStore
from pipeline.stores.receipts import Receipts, Summary
from pipeline.stores.sealed import SealedLog

WORLD = load_world("london")
"""A world with a schedule, so that what is due is looked for too."""

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
            receipt = {"step": step, "world": WORLD.name, "as_of": format_instant(as_of), "outcome": "done", "details": {}}
            receipts.save(receipt, as_of=as_of, source=None, recorded_time=as_of, seconds=1.0, attempt=f"run-{hour}:1")


def train(objects: ObjectStore) -> None:
    """A year of daily candidates, each kept back."""
    candidates, decisions = (SealedLog(objects, f"registry/{WORLD.name}/{log}") for log in ("candidates", "decisions"))
    losses = [{"validation": {"weather": {"relative_to_anchor": 1 / n}}} for n in range(1, 25)]
    kept = tuple(
        Verdict(domain="weather", variable=f"v{n}", published="ridge", reasons=("joint does not beat ridge",) * 8) for n in range(6)
    )
    for day in range(365):
        as_of, model_id = format_instant(LAST - timedelta(days=364 - day)), f"model-{day}"
        card = {"as_of": as_of, "recipe": "tiny", "epochs": 24, "history": losses}
        candidates.append({"model_id": model_id, "card": card, "files": {}}, expected=day)
        about = {"world": WORLD.name, "as_of": as_of, "model_id": model_id, "champion": "model-0"}
        decision = Decision(**about, outcome="kept", verdicts=kept, reason="it loses")
        decisions.append(decision.model_dump(mode="json"), expected=day)


def year(receipts: Receipts) -> list[Summary]:
    """All summaries, as a cockpit that has just started reads them."""
    return [row for month in receipts.months(WORLD.name) for row in receipts.summaries(WORLD.name, month)]


def timed(work: Callable[[], object]) -> float:
    """Seconds of one call."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def main() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as folder:
        objects = ObjectStore(folder)
        with patch("os.fsync"):
            fill(objects)
        plain = timed(lambda: year(Receipts(objects)))
        Receipts(objects).close_months(WORLD.name, LAST + timedelta(days=40))
        with patch("os.fsync"):
            train(objects)
        cold, warm, due, beside, slow = [], [], [], [], []
        first, last = to_seconds(LAST - timedelta(days=366)), to_seconds(LAST) + 1
        promised = partial(due_in, WORLD, first=first, last=last, now=LAST)
        for _ in range(ROUNDS):
            cold.append(timed(lambda: year(Receipts(objects))))
            warm.append(timed(lambda: grid(year(Receipts(objects)), [], first=first, last=last)))
            due.append(timed(lambda: grid(year(Receipts(objects)), [], first=first, last=last, due=promised())))
            beside.append(timed(lambda: panels(objects, WORLD, now=LAST)))
            slow.append(timed(lambda: over_time(objects, WORLD, Receipts(objects), now=LAST)))
    print("| what | seconds (median of 5) |\n|---|---|")
    print(f"| every receipt one by one ({HOURS * len(STEPS):,}; once) | {plain:.2f} |")
    print(f"| a year from monthly summaries | {statistics.median(cold):.2f} |")
    print(f"| the grid of a year, summaries and cells | {statistics.median(warm):.2f} |")
    print(f"| the same held against an hourly schedule | {statistics.median(due):.2f} |")
    print(f"| the panels, with 365 candidates and as many verdicts | {statistics.median(beside):.2f} |")
    print(f"| cost and storage over time | {statistics.median(slow):.2f} |")


if __name__ == "__main__":
    main()

"""The status grid: what became of every step over time, in so many columns that it can be read."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from pipeline.stores.receipts import Summary

OUTCOMES = ("none", "unchanged", "done", "degraded", "waiting", "running", "failed")
"""In the order of how much they ask for attention; a cell shows the most urgent of what it holds."""

WIDTHS = (900, 3600, 6 * 3600, 86400, 7 * 86400)
"""Seconds that one column may stand for."""

STATES = {
    "failed": "failed",
    "skipped": "degraded",
    "upstream_failed": "failed",
    "running": "running",
    "restarting": "running",
    "deferred": "waiting",
    "queued": "waiting",
    "scheduled": "waiting",
    "up_for_retry": "waiting",
    "up_for_reschedule": "waiting",
}
"""What a scheduler's unfinished task means here; those that ended well have left a receipt. A source that is late is skipped."""


@dataclass(frozen=True, kw_only=True)
class Unfinished:
    """A task of a scheduler that has not ended well: its step, its instant (seconds UTC), its state, and where to look."""

    step: str
    source: str | None
    as_of: int
    state: str
    since: str
    run: str
    link: str


def width_for(seconds: int, columns: int) -> int:
    """The narrowest column with which a span fits into so many columns."""
    return next((width for width in WIDTHS if seconds <= width * columns), WIDTHS[-1])


def grid(done: Iterable[Summary], unfinished: Iterable[Unfinished], *, first: int, last: int, columns: int = 120) -> dict[str, Any]:
    """Per step the cells between two instants (seconds UTC), each with its outcome, how much it holds and where to look.

    A failure that a later receipt of the same step and instant has made good is not shown.
    """
    width = width_for(last - first, columns)
    cells: dict[str, dict[int, dict[str, Any]]] = {}
    good: dict[tuple[str, str | None, int], str] = {}
    for row in done:
        if first <= row.as_of < last:
            good[row.step, row.source, row.as_of] = row.recorded_time
            outcome = "degraded" if row.degraded else row.outcome
            _add(cells, row.step, row.as_of // width * width, outcome, row.source, row.as_of, row.attempt, None)
    for task in unfinished:
        healed = good.get((task.step, task.source, task.as_of))
        if first <= task.as_of < last and not (healed is not None and healed > task.since):
            outcome = STATES.get(task.state, "waiting")
            _add(cells, task.step, task.as_of // width * width, outcome, task.source, task.as_of, task.run, task.link)
    steps = {step: [cell | {"at": at} for at, cell in sorted(found.items())] for step, found in cells.items()}
    return {"first": first // width * width, "last": last, "width": width, "steps": steps}


def _add(
    cells: dict[str, dict[int, dict[str, Any]]],
    step: str,
    at: int,
    outcome: str,
    source: str | None,
    as_of: int,
    run: str | None,
    link: str | None,
) -> None:
    cell = cells.setdefault(step, {}).setdefault(
        at, {"outcome": "none", "count": 0, "as_of": as_of, "source": source, "run": run, "link": link}
    )
    cell["count"] += 1
    if OUTCOMES.index(outcome) >= OUTCOMES.index(cell["outcome"]):
        cell |= {"outcome": outcome, "as_of": as_of, "source": source, "run": run, "link": link}

"""The status grid: what became of every step over time, in so many columns that it can be read."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from pipeline.stores.receipts import Summary

OUTCOMES = {
    "none": "nothing",
    "unchanged": "nothing to do",
    "done": "done",
    "late": "done late",
    "old": "from old inputs",
    "degraded": "inputs missing",
    "absent": "due, and not there",
    "waiting": "waiting or to be retried",
    "running": "running",
    "failed": "failed",
}
"""In the order of how much they ask for attention, with their meaning; a cell shows the most urgent of what it holds."""

ROWS = (
    "land",
    "observe",
    "build_cube",
    "train",
    "evaluate",
    "promote",
    "inputs",
    "predict",
    "publish",
    "verify",
    "monitor",
    "replay",
    "retain",
)
"""The steps that the page has a row for; tasks around them, such as an approval's branches, are Airflow's own to show."""

FORECAST = ("predict", "publish")
"""The steps of which every due issue time has one."""

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


@dataclass(frozen=True, kw_only=True)
class Due:
    """What a world's schedule promises, in seconds.

    Attributes:
        within: Per step how long after its instant it may end; none of a step that is never late.
        issue_times: The instants of which a forecast must be there by now, ascending (seconds UTC).
    """

    within: Mapping[str, int] = field(default_factory=dict)
    issue_times: Sequence[int] = ()


NOTHING_DUE = Due()


def width_for(seconds: int, columns: int) -> int:
    """The narrowest column with which a span fits into so many columns."""
    weeks = -(-seconds // (WIDTHS[-1] * columns))
    return next((width for width in WIDTHS if seconds <= width * columns), weeks * WIDTHS[-1])


def grid(
    done: Iterable[Summary],
    unfinished: Iterable[Unfinished],
    *,
    first: int,
    last: int,
    columns: int = 120,
    due: Due = NOTHING_DUE,
    run: str | None = None,
) -> dict[str, Any]:
    """Per step the cells between two instants (seconds UTC), each with its outcome, how much it holds and where to look.

    A failure that a later receipt of the same step and instant has made good is not shown. Cells that hold what a `run` of the
    scheduler did are marked.
    """
    cells = _Cells(width=width_for(last - first, columns), marked=run)
    good: dict[tuple[str, str | None, int], str] = {}
    issued: dict[str, set[int]] = {step: set() for step in FORECAST}
    for row in done:
        if row.step in issued:
            issued[row.step].add(row.as_of)
        if first <= row.as_of < last:
            good[row.step, row.source, row.as_of] = row.recorded_time
            after = _after(row) if row.step in due.within else 0
            outcome = _outcome(row, is_late=after > due.within.get(row.step, after))
            cells.add(row.step, row.as_of, outcome, source=row.source, run=row.attempt and row.attempt.rpartition(":")[0], after=after)
    for task in unfinished:
        healed = good.get((task.step, task.source, task.as_of))
        if first <= task.as_of < last and not (healed is not None and healed > task.since):
            cells.add(task.step, task.as_of, STATES.get(task.state, "waiting"), source=task.source, run=task.run, link=task.link)
    for step, times in issued.items():
        for issue_time in _unmet(due.issue_times, sorted(times)):
            if first <= issue_time < last:
                cells.add(step, issue_time, "absent")
    return {"first": first // cells.width * cells.width, "last": last, "width": cells.width, "steps": cells.by_step()}


def most_urgent(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Of a grid's rows the most urgent cell of each column, whatever its step, in the order of time."""
    best: dict[int, dict[str, Any]] = {}
    for step in (step for step in found["steps"] if step in ROWS):
        for cell in found["steps"][step]:
            held = best.get(cell["at"])
            if held is None or _RANK[cell["outcome"]] > _RANK[held["outcome"]]:
                best[cell["at"]] = {"at": cell["at"], "as_of": cell["as_of"], "outcome": cell["outcome"], "step": step}
    return [cell for _, cell in sorted(best.items())]


def _outcome(row: Summary, *, is_late: bool) -> str:
    if row.degraded:
        return "degraded"
    return "old" if row.old else "late" if is_late else row.outcome


def _after(row: Summary) -> int:
    """Seconds from the instant of a step to its first good end."""
    return int(datetime.fromisoformat(row.recorded_time).timestamp()) - row.as_of


def _unmet(due: Sequence[int], found: Sequence[int]) -> list[int]:
    """The instants before whose successor nothing was found; a forecast that waited has a later issue time than its tick."""
    unmet = []
    for number, tick in enumerate(due):
        place, end = bisect_left(found, tick), due[number + 1] if number + 1 < len(due) else math.inf
        if place == len(found) or found[place] >= end:
            unmet.append(tick)
    return unmet


_RANK = {outcome: rank for rank, outcome in enumerate(OUTCOMES)}


class _Cells:
    """Cells that grow as they are met."""

    def __init__(self, *, width: int, marked: str | None) -> None:
        self.width, self._marked = width, marked
        self._cells: dict[str, dict[int, dict[str, Any]]] = {}

    def add(
        self,
        step: str,
        as_of: int,
        outcome: str,
        *,
        source: str | None = None,
        run: str | None = None,
        link: str | None = None,
        after: int = 0,
    ) -> None:
        """Count one more in its cell; it shows where it is as urgent as what was shown."""
        row = self._cells.setdefault(step, {})
        cell = row.setdefault(as_of // self.width * self.width, {"outcome": "none", "count": 0})
        cell["count"] += 1
        if self._marked is not None and run == self._marked:
            cell["marked"] = True
        if _RANK[outcome] >= _RANK[cell["outcome"]]:
            cell |= {"outcome": outcome, "as_of": as_of, "source": source, "run": run, "link": link, "after": after}

    def by_step(self) -> dict[str, list[dict[str, Any]]]:
        """Per step its cells in the order of time."""
        return {step: [cell | {"at": at} for at, cell in sorted(row.items())] for step, row in self._cells.items()}

"""The cockpit's status grid for a terminal: every step over time, a sign a column."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from rich.text import Text

from pipeline.api import STEPS, World
from pipeline.cockpit.due import due_in
from pipeline.cockpit.grid import OUTCOMES, STATES, Unfinished, grid
from pipeline.contracts.times import format_duration, format_instant, from_seconds, to_seconds
from pipeline.stores.receipts import Receipts, Summary

SIGNS = {
    "done": ("█", "green"),
    "unchanged": ("▒", "green"),
    "late": ("▲", "cyan"),
    "old": ("◆", "magenta"),
    "degraded": ("▼", "yellow"),
    "absent": ("○", "bold red"),
    "waiting": ("◌", "cyan"),
    "running": ("▶", "bold blue"),
    "failed": ("✖", "bold red"),
}
"""How an outcome looks; those of tasks that have not ended well only the scheduler knows."""

_NOTHING = ("·", "dim")
_ORDER = [request.step for request in STEPS]
_MARGIN = 13


def grid_of(
    world: World,
    receipts: Receipts,
    *,
    now: datetime,
    days: int,
    until: datetime | None = None,
    columns: int = 87,
    unfinished: Iterable[Unfinished] = (),
) -> dict[str, Any]:
    """The grid of so many days up to an instant, by default now where a schedule goes on, else the newest that holds anything."""
    rows: list[Summary] = []
    for month in reversed(receipts.months(world.name)):
        if until is None or month <= f"{until:%Y-%m}":
            rows += receipts.summaries(world.name, month)
        if rows and max(row.as_of for row in rows) - min(row.as_of for row in rows) > (days + 31) * 86400:
            break
    newest = max([row.as_of for row in rows] + ([to_seconds(now)] if world.schedule else []), default=0)
    last = newest + 1 if until is None else to_seconds(until)
    first = max(last - days * 86400, min((row.as_of for row in rows), default=last - 1))
    return grid(rows, unfinished, first=first, last=last, columns=columns, due=due_in(world, first=first, last=last, now=now))


def grid_lines(found: Mapping[str, Any]) -> list[Text]:
    """The grid for people: its span, a line per step, what the signs that occur mean."""
    steps, width = found["steps"], found["width"]
    count = -(-(found["last"] - found["first"]) // width)
    span = f"{format_instant(from_seconds(found['first']))} to {format_instant(from_seconds(found['last'] - 1))}"
    lines = [Text(f"{span}, a column is {format_duration(timedelta(seconds=width))}", "dim")]
    for step in sorted(steps, key=lambda name: (_ORDER.index(name) if name in _ORDER else len(_ORDER), name)):
        line = Text(f"{step:<{_MARGIN}}")
        for sign, style in _signs(steps[step], found["first"], width, count):
            line.append(sign, style)
        lines.append(line)
    seen = {cell["outcome"] for cells in steps.values() for cell in cells}
    legend = Text(" " * _MARGIN)
    for outcome in (outcome for outcome in SIGNS if outcome in seen):
        legend.append(SIGNS[outcome][0], SIGNS[outcome][1]).append(f" {OUTCOMES[outcome]}   ", "dim")
    return [*lines, legend] if steps else []


def pending(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The cells of a grid that show what has not ended well, the most urgent first, then the newest."""
    rank = list(OUTCOMES)
    cells = [
        cell | {"step": step} for step, row in found["steps"].items() for cell in row if cell["outcome"] in STATES.values() and cell["link"]
    ]
    return sorted(cells, key=lambda cell: (rank.index(cell["outcome"]), cell["as_of"]), reverse=True)


def _signs(cells: Iterable[Mapping[str, Any]], first: int, width: int, count: int) -> list[tuple[str, str]]:
    signs = [_NOTHING] * count
    for cell in cells:
        signs[(cell["at"] - first) // width] = SIGNS.get(cell["outcome"], _NOTHING)
    return signs

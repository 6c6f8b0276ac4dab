"""The cockpit's status grid for a terminal: every step over time, a sign a column."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any, TextIO

from pipeline.api import STEPS
from pipeline.cockpit.grid import grid
from pipeline.contracts.times import format_duration, format_instant, from_seconds
from pipeline.stores.objects import ObjectStore
from pipeline.stores.receipts import Receipts, Summary

_SIGNS = {"done": ("█", "green"), "unchanged": ("▒", "green"), "degraded": ("▼", "yellow")}
_NOTHING = ("·", "dim")
_ORDER = [request.step for request in STEPS]


def grid_of(world: str, store: str, *, days: int, columns: int = 100) -> dict[str, Any]:
    """The grid of the newest days that hold anything, from receipts alone: what is running or failed only the scheduler knows."""
    receipts = Receipts(ObjectStore(store))
    rows: list[Summary] = []
    for month in reversed(receipts.months(world)):
        rows += receipts.summaries(world, month)
        if max(row.as_of for row in rows) - min(row.as_of for row in rows) > days * 86400:
            break
    last = max((row.as_of for row in rows), default=0) + 1
    first = max(last - days * 86400, min((row.as_of for row in rows), default=0))
    return grid(rows, (), first=first, last=last, columns=columns)


def show_grid(found: Mapping[str, Any], stream: TextIO) -> None:
    """Print the grid for people."""
    from rich.console import Console
    from rich.text import Text

    console = Console(file=stream, width=None if stream.isatty() else 160, highlight=False)
    steps, width = found["steps"], found["width"]
    if not steps:
        return
    count = -(-(found["last"] - found["first"]) // width)
    span = f"{format_instant(from_seconds(found['first']))} .. {format_instant(from_seconds(found['last'] - 1))}"
    console.print(
        f"{span}, a column is {format_duration(timedelta(seconds=width))}: █ done  ▒ unchanged  ▼ degraded  · nothing", soft_wrap=True
    )
    for step in sorted(steps, key=lambda name: (_ORDER.index(name) if name in _ORDER else len(_ORDER), name)):
        line = Text(f"{step:<12} ")
        for sign, style in _line(steps[step], found["first"], width, count):
            line.append(sign, style)
        console.print(line, soft_wrap=True)


def _line(cells: Iterable[Mapping[str, Any]], first: int, width: int, count: int) -> list[tuple[str, str]]:
    signs = [_NOTHING] * count
    for cell in cells:
        signs[(cell["at"] - first) // width] = _SIGNS.get(cell["outcome"], _NOTHING)
    return signs

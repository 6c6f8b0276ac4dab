"""Progress: how a step tells those who wait how far it is."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Protocol, TextIO


class Stage(Protocol):
    """One counted piece of work."""

    def advance(self, amount: float = 1, note: str = "") -> None:
        """Count `amount` more as done; `note` is the newest figure worth reading (loss, rows/s)."""


class Progress(Protocol):
    """Where a step reports; the terminal shows bars, a log shows plain lines, a program JSON lines."""

    @contextmanager
    def stage(self, name: str, total: float | None, unit: str = "") -> Iterator[Stage]:
        """A piece of work of `total` units (None: unknown)."""


class _Quiet:
    def advance(self, amount: float = 1, note: str = "") -> None:
        return None

    @contextmanager
    def stage(self, name: str, total: float | None, unit: str = "") -> Iterator[_Quiet]:
        yield self


QUIET: Progress = _Quiet()
"""Reports nothing, for tests and for use as a library."""


class _Counted:
    """A stage that reports its state at the start, at most every `interval` seconds, and at the end."""

    def __init__(self, report: Callable[[dict[str, Any]], None], name: str, total: float | None, unit: str, interval: float) -> None:
        self._report, self._interval, self._note = report, interval, ""
        self._name, self._total, self._unit, self._done = name, total, unit, 0.0
        self._began = self._reported = time.monotonic()

    def advance(self, amount: float = 1, note: str = "") -> None:
        self._done += amount
        self._note = note or self._note
        if time.monotonic() - self._reported >= self._interval:
            self.report("advance")

    def report(self, event: str) -> None:
        self._reported = time.monotonic()
        seconds = round(self._reported - self._began, 2)
        state = {"stage": self._name, "done": self._done, "total": self._total, "unit": self._unit, "note": self._note, "seconds": seconds}
        self._report({"event": event, **state})


class _Reporting:
    """Progress as a sequence of reports."""

    def __init__(self, report: Callable[[dict[str, Any]], None], interval: float) -> None:
        self._report, self._interval = report, interval

    @contextmanager
    def stage(self, name: str, total: float | None, unit: str = "") -> Iterator[_Counted]:
        counted = _Counted(self._report, name, total, unit, self._interval)
        counted.report("begin")
        yield counted
        counted.report("end")


def json_lines(stream: TextIO, interval: float = 1.0) -> Progress:
    """Progress as one JSON object a line: `event` (begin, advance, end), `stage`, `done`, `total`, `unit`, `note`, `seconds`."""

    def report(state: dict[str, Any]) -> None:
        stream.write(json.dumps(state, ensure_ascii=False) + "\n")
        stream.flush()

    return _Reporting(report, interval)


def plain_lines(stream: TextIO, interval: float = 5.0) -> Progress:
    """Progress as plain lines, for logs and pipes."""

    def report(state: dict[str, Any]) -> None:
        if state["event"] != "begin":
            stream.write(f"  {describe(state)}\n")
            stream.flush()

    return _Reporting(report, interval)


def describe(state: dict[str, Any]) -> str:
    """One report in words: `epochs 3/12 epoch, loss 0.12, 41 s`."""
    done, total = (f"{value:,.0f}" if value is not None else "" for value in (state["done"], state["total"]))
    count = f" {done}{'/' + total if total else ''} {state['unit']}".rstrip() if state["done"] or total else ""
    return f"{state['stage']}{count}{', ' + state['note'] if state['note'] else ''}, {state['seconds']:.1f} s"


class _Bar:
    def __init__(self, advance: Callable[[float, str], None]) -> None:
        self._advance = advance

    def advance(self, amount: float = 1, note: str = "") -> None:
        self._advance(amount, note)


class _Bars:
    """Progress as bars that are drawn by rich."""

    def __init__(self, bars: Any) -> None:
        self._bars = bars

    @contextmanager
    def stage(self, name: str, total: float | None, unit: str = "") -> Iterator[_Bar]:
        bar = self._bars.add_task(name, total=total, unit=unit, note="")

        def advance(amount: float, note: str) -> None:
            self._bars.update(bar, advance=amount, **({"note": note} if note else {}))

        yield _Bar(advance)
        done = self._bars.tasks[self._bars.task_ids.index(bar)].completed
        self._bars.update(bar, total=total or done or 1, completed=total or done or 1)


@contextmanager
def _rich_bars(stream: TextIO) -> Iterator[Progress]:
    from rich import progress as rich
    from rich.console import Console

    columns = (
        rich.SpinnerColumn(finished_text="[green]✓"),
        rich.TextColumn("{task.description}"),
        rich.BarColumn(bar_width=28),
        rich.MofNCompleteColumn(),
        rich.TextColumn("{task.fields[unit]} [dim]{task.fields[note]}"),
        rich.TimeElapsedColumn(),
    )
    with rich.Progress(*columns, console=Console(file=stream)) as bars:
        yield _Bars(bars)


def progress_on(stream: TextIO, *, as_json: bool) -> AbstractContextManager[Progress]:
    """The progress that suits a stream: JSON lines where asked for, bars on a terminal, plain lines elsewhere."""
    if as_json:
        return nullcontext(json_lines(stream))
    return _rich_bars(stream) if stream.isatty() else nullcontext(plain_lines(stream))

"""What a training reports to, in the form of `pipeline.telemetry.Progress`, and what it says of its own speed."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from typing import Protocol, TypeVar

T = TypeVar("T")


class Stage(Protocol):
    """One counted piece of work."""

    def advance(self, amount: float = 1, note: str = "") -> None:
        """Count `amount` more as done."""


class Progress(Protocol):
    """Where training reports."""

    def stage(self, name: str, total: float | None, unit: str = "") -> AbstractContextManager[Stage]:
        """A piece of work of `total` units."""


class Pace:
    """How fast a training goes, how much of that is waiting for windows, and how long the rest takes; monotonic time only.

    Args:
        steps: All that are to be done at most, from now on.
    """

    def __init__(self, steps: int) -> None:
        self._steps, self._began = steps, time.monotonic()
        self.done, self.windows, self.waited = 0, 0, 0.0

    @property
    def seconds(self) -> float:
        """Since the beginning."""
        return max(time.monotonic() - self._began, 1e-9)

    def waiting(self, items: Iterable[T]) -> Iterator[T]:
        """The same items; how long each is waited for is counted."""
        source = iter(items)
        while True:
            asked = time.monotonic()
            item = next(source, None)
            self.waited += time.monotonic() - asked
            if item is None:
                return
            yield item

    def step(self, windows: int) -> None:
        """A step on so many windows is done."""
        self.done += 1
        self.windows += windows

    def note(self) -> str:
        """Windows per second, the share of waiting, and the longest that it still takes."""
        left = round(self.seconds / max(self.done, 1) * max(self._steps - self.done, 0))
        minutes, seconds = divmod(left, 60)
        hours, minutes = divmod(minutes, 60)
        until = f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"
        return f"{self.windows / self.seconds:,.0f} windows/s, waiting {self.waited / self.seconds:.1%}, {until} left"

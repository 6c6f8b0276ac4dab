"""Progress: how a step tells those who wait how far it is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol


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

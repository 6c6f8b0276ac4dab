"""What a training reports to, in the form of `pipeline.telemetry.Progress`."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Protocol


class Stage(Protocol):
    """One counted piece of work."""

    def advance(self, amount: float = 1, note: str = "") -> None:
        """Count `amount` more as done."""


class Progress(Protocol):
    """Where training reports."""

    def stage(self, name: str, total: float | None, unit: str = "") -> AbstractContextManager[Stage]:
        """A piece of work of `total` units."""

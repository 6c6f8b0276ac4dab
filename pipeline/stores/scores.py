"""Scores of issued forecasts at rest: per issue time the exact statistics, append-only."""

from __future__ import annotations

from typing import Any

from pipeline.stores.issues import IssueLogs
from pipeline.stores.objects import ObjectStore


class ScoreStore:
    """What verification found; a later look at the same issue time is a new record that holds all of it."""

    def __init__(self, objects: ObjectStore, world_name: str) -> None:
        self._objects = objects
        self._issues = IssueLogs(objects, f"scores/{world_name}/issues")

    def add(self, issue_time: int, record: dict[str, Any]) -> bool:
        """Keep a record; False where the newest of that issue time equals it."""
        return self._issues.log(issue_time).extend(record)[1]

    def newest(self, issue_time: int) -> dict[str, Any] | None:
        """The newest record of an issue time, or None where it was never verified."""
        return self._issues.log(issue_time).newest()

    def issue_times(self, newest: int | None = None) -> list[int]:
        """The issue times that were verified, ascending (int64 seconds UTC); only so many of the newest, if asked."""
        return self._issues.times() if newest is None else self._issues.newest(newest)

    def url(self, issue_time: int) -> str:
        """Where the records of an issue time lie."""
        return self._objects.url(self._issues.place(issue_time))

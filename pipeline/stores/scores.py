"""Scores of issued forecasts at rest: per issue time the exact statistics, append-only."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pipeline.contracts.times import compact_instant, from_seconds
from pipeline.stores.objects import ObjectStore
from pipeline.stores.sealed import SealedLog


class ScoreStore:
    """What verification found; a later look at the same issue time is a new record that holds all of it."""

    def __init__(self, objects: ObjectStore, world_name: str) -> None:
        self._objects, self._base = objects, f"scores/{world_name}/issues"

    def add(self, issue_time: int, record: dict[str, Any]) -> bool:
        """Keep a record; False where the newest of that issue time equals it."""
        return self._log(issue_time).extend(record)[1]

    def newest(self, issue_time: int) -> dict[str, Any] | None:
        """The newest record of an issue time, or None where it was never verified."""
        return self._log(issue_time).newest()

    def issue_times(self) -> list[int]:
        """The issue times that were verified, ascending (int64 seconds UTC)."""
        names = {key.removeprefix(self._base).split("/")[1] for key in self._objects.list(self._base)}
        return sorted(int(datetime.strptime(name + "+0000", "%Y%m%dT%H%M%SZ%z").timestamp()) for name in names)

    def url(self, issue_time: int) -> str:
        """Where the records of an issue time lie."""
        return self._objects.url(f"{self._base}/{compact_instant(from_seconds(issue_time))}")

    def _log(self, issue_time: int) -> SealedLog:
        return SealedLog(self._objects, f"{self._base}/{compact_instant(from_seconds(issue_time))}")

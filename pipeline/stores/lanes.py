"""Lanes: replays at rest, each under a root of its own beside the live stores, and what they are."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from pipeline.contracts.provenance import canonical_json
from pipeline.contracts.replays import LaneRecord
from pipeline.contracts.times import compact_instant, parse_compact
from pipeline.errors import NotYetAvailable, StoreError
from pipeline.settings import Settings
from pipeline.stores.objects import ObjectStore

_POLL_SECONDS = 2.0


class LaneStore:
    """The lanes of one world, at `replays/<world>/`: a record and a scorecard each, and a store of the lane's own.

    The store of a lane holds registry, forecasts, published products and scores as the live one does, and no cubes.
    """

    def __init__(self, settings: Settings, world_name: str) -> None:
        self._settings, self._base = settings, f"replays/{world_name}"
        self._objects = ObjectStore(settings.store)

    def enter(self, record: LaneRecord) -> bool:
        """Keep the record of a lane; False where it was there."""
        return self._objects.put_once(f"{self._base}/lanes/{record.lane_id}.json", canonical_json(record.model_dump(mode="json")))

    def record(self, lane_id: str) -> LaneRecord:
        """What a lane is.

        Raises:
            NotYetAvailable: There is no such lane.
            StoreError: Its record is damaged.
        """
        key = f"{self._base}/lanes/{lane_id}.json"
        try:
            found = LaneRecord.model_validate_json(self._objects.get(key))
        except NotYetAvailable as error:
            known = ", ".join(self.lane_ids()) or "none yet"
            raise NotYetAvailable(asked=f"lane {lane_id} of replay", found=f"lanes: {known}", mend="run cubecast replay") from error
        except ValidationError as error:
            raise _damaged(self._objects.url(key), f"no lane's record ({error.error_count()} faults)") from error
        if found.lane_id != lane_id:
            raise _damaged(self._objects.url(key), f"the record of lane {found.lane_id}")
        return found

    def lane_ids(self) -> list[str]:
        """The lanes there are, sorted."""
        prefix = f"{self._base}/lanes/"
        return [key.removeprefix(prefix).removesuffix(".json") for key in self._objects.list(prefix.rstrip("/"))]

    def settings(self, lane_id: str) -> Settings:
        """Settings under which every step works in the lane: its own store, the live cubes."""
        return replace(self._settings, store=self.url(lane_id), cubes=self._settings.cubes or self._settings.store)

    def url(self, lane_id: str) -> str:
        """Where the lane's own store lies."""
        return self._objects.url(f"{self._base}/{lane_id}")

    def walked(self, lane_id: str) -> dict[datetime, str]:
        """The trainings that are done: when each came in force, and its model."""
        prefix = f"{self._base}/{lane_id}/walk"
        return {parse_compact(key.removeprefix(f"{prefix}/")[:16]): self._objects.get(key).decode() for key in self._objects.list(prefix)}

    def keep_walked(self, lane_id: str, in_force: datetime, model_id: str) -> None:
        """Note that a training is done, once all that it leaves is there.

        Raises:
            ConflictError: Another model came in force at that instant.
        """
        self._objects.put_once(f"{self._base}/{lane_id}/walk/{compact_instant(in_force)}.txt", model_id.encode())

    def scorecard(self, lane_id: str) -> bytes | None:
        """The newest scorecard of a lane as JSON bytes, or None."""
        key = self._scorecard_key(lane_id)
        return self._objects.get(key) if self._objects.exists(key) else None

    def keep_scorecard(self, lane_id: str, content: dict[str, Any]) -> bool:
        """Renew the scorecard, a view of the lane's scores; False where it said the same."""
        data = canonical_json(content)
        if self.scorecard(lane_id) == data:
            return False
        self._objects.replace(self._scorecard_key(lane_id), data)
        return True

    def scorecard_url(self, lane_id: str) -> str:
        """Where the scorecard lies."""
        return self._objects.url(self._scorecard_key(lane_id))

    @contextlib.contextmanager
    def turn(self, lane_id: str, waiting: Callable[[], None]) -> Iterator[None]:
        """One process at a time may train in a lane; the others wait, and are told so by `waiting` now and then.

        On S3 there is nothing to hold: what two make at once is equal, and the second finds it there.
        """
        if "://" in self._settings.store:
            yield
            return
        import filelock

        path = Path(self.url(lane_id)) / "work" / "turn.lock"
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(path)
        while not lock.is_locked:
            try:
                lock.acquire(timeout=_POLL_SECONDS)
            except filelock.Timeout:
                waiting()
        try:
            yield
        finally:
            lock.release()

    def _scorecard_key(self, lane_id: str) -> str:
        return f"{self._base}/scorecards/{lane_id}.json"


def _damaged(place: str, found: str) -> StoreError:
    return StoreError(asked=f"read {place}", found=found, mend="move that lane away and run cubecast replay again")

"""Backtests at rest: what each was asked, what each origin found, once, and the scorecard of them together."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from pydantic import ValidationError

from pipeline.contracts.backtests import BacktestRecord
from pipeline.contracts.provenance import canonical_json
from pipeline.errors import NotYetAvailable, StoreError
from pipeline.settings import Settings
from pipeline.stores.objects import ObjectStore


class BacktestStore:
    """The backtests of one world, at `backtests/<world>/`; the models of each origin have a store of their own there."""

    def __init__(self, settings: Settings, world_name: str) -> None:
        self._settings, self._base = settings, f"backtests/{world_name}"
        self._objects = ObjectStore(settings.store)

    def enter(self, record: BacktestRecord) -> bool:
        """Keep what a backtest was asked; False where it was there."""
        return self._objects.put_once(f"{self._base}/records/{record.backtest_id}.json", canonical_json(record.model_dump(mode="json")))

    def ids(self) -> list[str]:
        """The backtests there are, sorted."""
        prefix = f"{self._base}/records/"
        return [key.removeprefix(prefix).removesuffix(".json") for key in self._objects.list(prefix.rstrip("/"))]

    def record(self, backtest_id: str) -> BacktestRecord:
        """What a backtest was asked.

        Raises:
            NotYetAvailable: There is no such backtest.
            StoreError: Its record is damaged.
        """
        known = self.ids()
        found = [name for name in known if name.startswith(backtest_id)]
        if len(found) != 1:
            raise NotYetAvailable(
                asked=f"backtest {backtest_id}", found=f"backtests: {', '.join(known) or 'none yet'}", mend="run cubecast backtest"
            )
        key = f"{self._base}/records/{found[0]}.json"
        try:
            return BacktestRecord.model_validate_json(self._objects.get(key))
        except ValidationError as error:
            mend = "delete that file and run the same backtest again"
            raise StoreError(asked=f"read {self._objects.url(key)}", found=f"{error.error_count()} faults", mend=mend) from error

    def settings(self, backtest_id: str, number: int) -> Settings:
        """Settings under which the model of an origin is trained: a store of its own, the live cubes."""
        root = self._objects.url(f"{self._base}/stores/{backtest_id}/{number:04d}")
        return replace(self._settings, store=root, cubes=self._settings.cubes or self._settings.store)

    def roots(self) -> list[str]:
        """The places of all stores of models, below the store itself."""
        places = [f"{self._base}/stores/{backtest_id}" for backtest_id in self._objects.children(f"{self._base}/stores")]
        return [f"{place}/{number}" for place in places for number in self._objects.children(place)]

    def found(self, backtest_id: str) -> dict[int, dict[str, Any]]:
        """What the origins that are done found, by number."""
        prefix = f"{self._base}/origins/{backtest_id}"
        return {int(key.rsplit("/", 1)[1][:4]): json.loads(self._objects.get(key)) for key in self._objects.list(prefix)}

    def keep(self, backtest_id: str, number: int, content: dict[str, Any]) -> bool:
        """Keep what an origin found, once and whole; False where it was there.

        Raises:
            ConflictError: Something else was found before.
        """
        return self._objects.put_once(f"{self._base}/origins/{backtest_id}/{number:04d}.json", canonical_json(content))

    def scorecard(self, backtest_id: str) -> dict[str, Any]:
        """The scorecard of a backtest.

        Raises:
            NotYetAvailable: No origin is done yet.
        """
        content: dict[str, Any] = json.loads(self._objects.get(self._scorecard_key(backtest_id)))
        return content

    def keep_scorecard(self, backtest_id: str, content: dict[str, Any]) -> bool:
        """Renew the scorecard, a view of what the origins found; False where it said the same."""
        key, data = self._scorecard_key(backtest_id), canonical_json(content)
        if self._objects.exists(key) and self._objects.get(key) == data:
            return False
        self._objects.replace(key, data)
        return True

    def scorecard_url(self, backtest_id: str) -> str:
        """Where the scorecard lies."""
        return self._objects.url(self._scorecard_key(backtest_id))

    def _scorecard_key(self, backtest_id: str) -> str:
        return f"{self._base}/scorecards/{backtest_id}.json"

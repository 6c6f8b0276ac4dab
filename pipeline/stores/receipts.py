"""Receipts at rest: what each step did for which instant, and when that was recorded."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from pipeline.contracts.provenance import canonical_json
from pipeline.contracts.times import compact_instant, format_instant
from pipeline.errors import StoreError
from pipeline.stores.objects import ObjectStore

Record = dict[str, Any]
"""A record: `receipt`, `source` (or None), `recorded_time`, `confirmed_time` (or None), `seconds`."""


class Receipts:
    """Receipts of all worlds under one store, at `receipts/<world>/<as_of>/<step>[.source].json`."""

    def __init__(self, objects: ObjectStore) -> None:
        self._objects = objects

    def save(self, receipt: Mapping[str, Any], *, as_of: datetime, source: str | None, recorded_time: datetime, seconds: float) -> str:
        """Record a receipt; one that found everything unchanged confirms what is recorded and does not hide it."""
        key = f"receipts/{receipt['world']}/{compact_instant(as_of)}/{receipt['step']}{'.' + source if source else ''}.json"
        record: Record = {
            "receipt": dict(receipt),
            "source": source,
            "recorded_time": format_instant(recorded_time),
            "confirmed_time": None,
            "seconds": round(seconds, 3),
        }
        if receipt["outcome"] == "unchanged" and (known := self._whole(key)):
            record = known | {"confirmed_time": format_instant(recorded_time)}
        self._objects.replace(key, canonical_json(record))
        return key

    def find(self, world: str, as_of: datetime, step: str, source: str | None = None) -> Record | None:
        """The record of one step for one instant, or None."""
        key = f"receipts/{world}/{compact_instant(as_of)}/{step}{'.' + source if source else ''}.json"
        return self._load(key) if self._objects.exists(key) else None

    def newest(self, world: str) -> dict[tuple[str, str | None], Record]:
        """The record with the latest `as_of` of each (step, source) of a world."""
        keys: dict[str, str] = {}
        for key in self._objects.list(f"receipts/{world}"):
            keys[key.rsplit("/", 1)[1]] = key
        records = [self._load(key) for key in keys.values()]
        return {(record["receipt"]["step"], record["source"]): record for record in records}

    def _whole(self, key: str) -> Record | None:
        """The record, or None where there is none that can be read: the step's own receipt then takes its place."""
        try:
            return self._load(key) if self._objects.exists(key) else None
        except StoreError:
            return None

    def _load(self, key: str) -> Record:
        try:
            record: Record = json.loads(self._objects.get(key))
            lacking = {"receipt", "source", "recorded_time", "confirmed_time", "seconds"} - set(record) or {"step"} - set(record["receipt"])
        except (ValueError, TypeError) as error:
            raise _unreadable(self._objects.url(key), str(error)) from error
        if lacking:
            raise _unreadable(self._objects.url(key), f"no {', '.join(sorted(lacking))}")
        return record


def _unreadable(place: str, found: str) -> StoreError:
    return StoreError(
        asked=f"read receipt {place}", found=found, mend="delete that file, then run the same step again: it writes its receipt anew"
    )

"""Receipts at rest: what each step did for which instant, and when that was recorded."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from pipeline.contracts.provenance import canonical_json
from pipeline.contracts.times import compact_instant, format_instant, parse_instant, to_seconds
from pipeline.errors import StoreError
from pipeline.stores.objects import ObjectStore

Record = dict[str, Any]
"""A record: `receipt`, `source` (or None), `recorded_time`, `confirmed_time` (or None), `seconds`, `attempt` (or None)."""

_MONTH = re.compile(r"\d{4}-\d{2}")
_OPEN_AGAIN = b"null"
_ENOUGH = 0.8
"""Share of a context below which a forecast counts as made with inputs missing."""


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What is worth knowing of one record among thousands.

    Attributes:
        as_of: The instant as of which the step was asked, int64 seconds UTC.
        degraded: It was done with inputs missing.
        old: It was done from inputs older than they should have been; summaries of earlier versions do not tell.
        attempt: The scheduler's run and attempt that did it, `<run>:<number>`; None outside of one.
    """

    key: str
    step: str
    source: str | None
    as_of: int
    outcome: str
    seconds: float
    recorded_time: str
    degraded: bool
    attempt: str | None
    old: bool = False


class Receipts:
    """Receipts of all worlds under one store, at `receipts/<world>/<year-month of as_of>/<as_of>/<step>[.source].json`.

    Months that are over have a summary, so that a year of them is read at a glance; it can be made again at any time.
    """

    def __init__(self, objects: ObjectStore) -> None:
        self._objects = objects
        self._summaries: dict[str, Summary] = {}
        self._months: dict[str, tuple[bytes, list[Summary]]] = {}

    def save(
        self,
        receipt: Mapping[str, Any],
        *,
        as_of: datetime,
        source: str | None,
        recorded_time: datetime,
        seconds: float,
        attempt: str | None = None,
    ) -> str:
        """Record a receipt; one that found everything unchanged confirms what is recorded and does not hide it.

        Its paths are kept as they lie below the store, so that they hold wherever the store is moved. Returns the record's key.
        """
        key = _key(receipt["world"], as_of, receipt["step"], source)
        record: Record = {
            "receipt": {
                **receipt,
                "paths": {name: path.removeprefix(f"{self._objects.root}/") for name, path in receipt.get("paths", {}).items()},
            },
            "source": source,
            "recorded_time": format_instant(recorded_time),
            "confirmed_time": None,
            "seconds": round(seconds, 3),
            "attempt": attempt,
        }
        if receipt["outcome"] == "unchanged" and (known := self._whole(key)):
            record = known | {"confirmed_time": format_instant(recorded_time)}
        summary = _summary_key(receipt["world"], f"{as_of:%Y-%m}")
        if self._objects.exists(summary):
            self._objects.replace(summary, _OPEN_AGAIN)
        self._objects.replace(key, canonical_json(record))
        return key

    def find(self, world: str, as_of: datetime, step: str, source: str | None = None) -> Record | None:
        """The record of one step for one instant, or None."""
        key = _key(world, as_of, step, source)
        return self._load(key) if self._objects.exists(key) else None

    def at(self, path: str) -> Record:
        """The record that lies at a whole path or URL.

        Raises:
            StoreError: It is not in this store, or cannot be read.
        """
        below = f"{self._objects.root}/"
        if not path.startswith(f"{below}receipts/"):
            raise StoreError(
                asked=f"read receipt {path}",
                found=f"the store is {self._objects.root}",
                mend="set CUBECAST_STORE to the store in which the step ran",
            )
        return self._load(path.removeprefix(below))

    def newest(self, world: str) -> dict[tuple[str, str | None], Record]:
        """The record with the latest `as_of` of each (step, source) of a world."""
        keys: dict[str, str] = {}
        for month in self.months(world):
            found = self._closed(world, month)
            names = [row.key for row in found] if found is not None else self._objects.list(f"receipts/{world}/{month}")
            keys |= {key.rsplit("/", 1)[1]: key for key in names}
        records = [self._load(key) for key in keys.values()]
        return {(record["receipt"]["step"], record["source"]): record for record in records}

    def months(self, world: str) -> list[str]:
        """The months (`2026-11`) with a record, ascending."""
        return [name for name in self._objects.children(f"receipts/{world}") if _MONTH.fullmatch(name)]

    def summaries(self, world: str, month: str) -> list[Summary]:
        """What is worth knowing of every record of a month, by `as_of` and step; each record is read once."""
        closed = self._closed(world, month)
        if closed is not None:
            return closed
        keys = self._objects.list(f"receipts/{world}/{month}")
        unread = [key for key in keys if key not in self._summaries]
        with ThreadPoolExecutor(8) as pool:
            self._summaries |= {row.key: row for row in pool.map(lambda key: _summary(key, self._load(key)), unread)}
        return [self._summaries[key] for key in keys]

    def close_months(self, world: str, now: datetime) -> list[str]:
        """Write the summaries of the months that ended a week or more before `now` and have none yet; names them."""
        last = f"{now - timedelta(days=7):%Y-%m}"
        closed = [month for month in self.months(world) if month < last and self._closed(world, month) is None]
        for month in closed:
            rows = [asdict(row) for row in self.summaries(world, month)]
            self._objects.replace(_summary_key(world, month), canonical_json(rows))
        return closed

    def _closed(self, world: str, month: str) -> list[Summary] | None:
        key = _summary_key(world, month)
        if not self._objects.exists(key) or (content := self._objects.get(key)) == _OPEN_AGAIN:
            return None
        known = self._months.get(key)
        if known is not None and known[0] == content:
            return known[1]
        try:
            rows = [Summary(**row) for row in json.loads(content)]
        except (ValueError, TypeError) as error:
            raise _unreadable(self._objects.url(key), str(error)) from error
        self._months[key] = (content, rows)
        return rows

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


def _key(world: str, as_of: datetime, step: str, source: str | None) -> str:
    return f"receipts/{world}/{as_of:%Y-%m}/{compact_instant(as_of)}/{step}{'.' + source if source else ''}.json"


def _summary_key(world: str, month: str) -> str:
    return f"receipts/{world}/summaries/{month}.json"


def _summary(key: str, record: Record) -> Summary:
    receipt = record["receipt"]
    details = receipt.get("details") or {}
    inputs = details.get("inputs") or {}
    return Summary(
        key=key,
        step=receipt["step"],
        source=record["source"],
        as_of=to_seconds(parse_instant(receipt["as_of"])),
        outcome=receipt["outcome"],
        seconds=record["seconds"],
        recorded_time=record["recorded_time"],
        degraded=(bool(receipt.get("notes")) and receipt["step"] == "predict")
        or any(row.get("share_present", 1) < _ENOUGH for row in inputs.values()),
        attempt=record.get("attempt"),
        old=bool(details.get("late")),
    )


def _unreadable(place: str, found: str) -> StoreError:
    return StoreError(
        asked=f"read receipt {place}", found=found, mend="delete that file, then run the same step again: it writes its receipt anew"
    )

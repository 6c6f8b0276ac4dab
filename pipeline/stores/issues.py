"""Records by issue time, filed by month: the newest is found without listing the years before it."""

from __future__ import annotations

import itertools
from collections import Counter
from datetime import UTC, datetime

from pipeline.contracts.times import compact_instant, format_instant, from_seconds
from pipeline.stores.objects import ObjectStore
from pipeline.stores.sealed import SealedLog

_STAMP = "%Y%m%dT%H%M%SZ"


class IssueLogs:
    """One sealed log per issue time, at `<prefix>/<year-month>/<instant>/`."""

    def __init__(self, objects: ObjectStore, prefix: str) -> None:
        self._objects, self._prefix = objects, prefix

    def log(self, issue_time: int) -> SealedLog:
        """The log of one issue time, empty where nothing was recorded."""
        return SealedLog(self._objects, self.place(issue_time))

    def place(self, issue_time: int) -> str:
        """The key below which the records of an issue time lie."""
        moment = from_seconds(issue_time)
        return f"{self._prefix}/{moment:%Y-%m}/{compact_instant(moment)}"

    def times(self, since: int | None = None) -> list[int]:
        """The issue times with a record, ascending (int64 seconds UTC); none before `since`."""
        first = "" if since is None else f"{from_seconds(since):%Y-%m}"
        found = itertools.chain.from_iterable(self._in(month) for month in self._months() if month >= first)
        return [t for t in found if since is None or t >= since]

    def sizes(self, month: str) -> dict[int, int]:
        """Per issue time of a month (`2014-09`) how many records there are, ascending."""
        prefix = f"{self._prefix}/{month}"
        counts = Counter(key.removeprefix(prefix).split("/")[1] for key in self._objects.list(prefix))
        return {_seconds(name): counts[name] for name in sorted(counts)}

    def newest(self, most: int = 1) -> list[int]:
        """The newest issue times with a record, ascending, at most so many."""
        found: list[int] = []
        for month in reversed(self._months()):
            found = self._in(month) + found
            if len(found) >= most:
                break
        return found[-most:]

    def around(self, issue_time: int) -> str:
        """What there is where an issue time is not: how many others, from when to when, and the nearest."""
        known = self.times()
        if not known:
            return "none, at no instant yet"
        names = [format_instant(from_seconds(t)) for t in (known[0], known[-1], min(known, key=lambda t: abs(t - issue_time)))]
        return f"none; {len(known)} other issue times from {names[0]} to {names[1]}, the nearest {names[2]}"

    def _months(self) -> list[str]:
        return self._objects.children(self._prefix)

    def _in(self, month: str) -> list[int]:
        # Files, not folders: a writer that dies leaves an empty folder on a local disk.
        prefix = f"{self._prefix}/{month}"
        names = {key.removeprefix(prefix).split("/")[1] for key in self._objects.list(prefix)}
        return sorted(_seconds(name) for name in names)


def _seconds(name: str) -> int:
    return int(datetime.strptime(name, _STAMP).replace(tzinfo=UTC).timestamp())

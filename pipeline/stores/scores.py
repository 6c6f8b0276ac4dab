"""Scores of issued forecasts at rest: per issue time the exact statistics, append-only, and their sums over days and months."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass
from typing import Any

from pipeline.contracts.provenance import canonical_json, digest_json
from pipeline.contracts.times import from_seconds
from pipeline.errors import ContractError
from pipeline.stores.issues import IssueLogs
from pipeline.stores.objects import ObjectStore
from pipeline.verification.statistics import FORMAT, WHOLE, Statistics

Record = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Period:
    """The scores of all issue times of a period together.

    `issue_times` counts those that were verified, `observed` those of them with at least one observation, `left_out`
    those scored on other variables, units or leads than the newest one.
    """

    statistics: Statistics
    issue_times: int
    observed: int
    left_out: int


@dataclass(frozen=True, kw_only=True)
class _Sum:
    """Final records added up: per issue time how many records there were, and whether something was observed."""

    issues: Mapping[int, tuple[int, bool]]
    statistics: Statistics

    def fits(self, sizes: Mapping[int, int]) -> bool:
        """Whether nothing of it was looked at again since."""
        return all(sizes.get(issue_time) == records for issue_time, (records, _) in self.issues.items())


_NONE = _Sum(issues={}, statistics=Statistics.zero())


@dataclass(frozen=True, kw_only=True)
class _Growing:
    """A sum, and whether it lacked something."""

    sum: _Sum
    lacked: bool = False

    def joined(self, parts: Iterable[_Sum]) -> _Growing:
        """With those of some single records that it lacks; one of other variables or leads is read by itself, later."""
        issues, statistics, lacked = dict(self.sum.issues), self.sum.statistics, self.lacked
        for part in parts:
            if not part.issues.keys() - issues.keys():
                continue
            lacked = True
            try:
                statistics = statistics + part.statistics
            except ContractError:
                continue
            issues |= part.issues
        return _Growing(sum=_Sum(issues=issues, statistics=statistics), lacked=lacked)


class ScoreStore:
    """What verification found; a later look at the same issue time is a new record that holds all of it.

    Beside the records lie views: per month an index of what is final, and the sums of the final records per day and per
    month, so that a period of thousands of issue times is read in as many objects as it has months and odd days.
    """

    def __init__(self, objects: ObjectStore, world_name: str) -> None:
        self._objects, self._base = objects, f"scores/{world_name}"
        self._issues = IssueLogs(objects, f"{self._base}/issues")

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

    def final(self, issue_times: Iterable[int]) -> set[int]:
        """Those of some issue times whose scores can change no more."""
        found: set[int] = set()
        for month, asked in _by_month(issue_times).items():
            index, sizes = self._index(month), self._issues.sizes(month)
            for issue_time in asked:
                if index.get(issue_time, (0, False))[0] == sizes.get(issue_time, -1):
                    if index[issue_time][1]:
                        found.add(issue_time)
                elif (record := self.newest(issue_time)) is not None and _is_final(record):
                    found.add(issue_time)
        return found

    def renew(self, issue_times: Iterable[int]) -> None:
        """Bring the index and the sums up to the records of the months that these issue times lie in."""
        for month in _by_month(issue_times):
            sizes, index = self._issues.sizes(month), self._index(month)
            if index.keys() == sizes.keys() and all(index[t][0] == n for t, n in sizes.items()):
                continue
            fresh = {t: r for t, n in sizes.items() if index.get(t, (0, False))[0] != n and (r := self.newest(t)) is not None}
            index = {t: index[t] if t not in fresh else (n, _is_final(fresh[t])) for t, n in sizes.items()}
            whole = self._begun(f"{month}/sum", sizes)
            for day, of_day in _by_day(t for t, (_, final) in index.items() if final).items():
                own = self._begun(f"{month}/{day}", sizes)
                lacking = [t for t in of_day if t not in own.sum.issues or t not in whole.sum.issues]
                parts = _merged([self._part(t, sizes[t], fresh.get(t)) for t in lacking], own.sum.issues.keys() | whole.sum.issues.keys())
                self._keep_sum(f"{month}/{day}", own.joined(parts))
                whole = whole.joined(parts)
            self._keep_sum(f"{month}/sum", whole)
            self._view(f"{month}/index", {"issues": [[t, *entry] for t, entry in sorted(index.items())]})

    def period(self, first: int, last: int) -> Period:
        """The scores of the issue times from `first` to `last` (int64 seconds UTC, both included)."""
        sums: list[_Sum] = []
        for month in sorted(_by_month(self._issues.times(first)), reverse=True):
            sizes = self._issues.sizes(month)
            asked = {t: n for t, n in sizes.items() if first <= t <= last}
            sums += self._sums(f"{month}/sum", asked, sizes) or [
                each for day, of_day in sorted(_by_day(asked).items(), reverse=True) for each in self._day(month, day, of_day, sizes)
            ]
        return _together(sums)

    def whole_by_day(self, first: int, last: int) -> Iterator[tuple[str, Period]]:
        """Per day (`2026-11-23`), ascending, the scores over all cells of its issue times, from `first` to `last`; without their parts."""
        for month in sorted(_by_month(self._issues.times(first))):
            sizes = self._issues.sizes(month)
            for day, of_day in sorted(_by_day(t for t in sizes if first <= t <= last).items()):
                yield day, _together(self._day(month, day, of_day, sizes, WHOLE.what))

    def _day(self, month: str, day: str, of_day: list[int], sizes: Mapping[int, int], what: str | None = None) -> list[_Sum]:
        asked = {t: sizes[t] for t in of_day}
        return self._sums(f"{month}/{day}", asked, sizes, what) or self._each(asked, what)

    def _sums(self, name: str, asked: Mapping[int, int], sizes: Mapping[int, int], what: str | None = None) -> list[_Sum]:
        """A sum, and what it lacks of what is asked; nothing where it holds more than that, or is outdated."""
        known = self._sum(name, what)
        if not known.issues or not known.fits(sizes) or not known.issues.keys() <= asked.keys():
            return []
        return [*self._each({t: n for t, n in asked.items() if t not in known.issues}, what), known]

    def _each(self, asked: Mapping[int, int], what: str | None = None) -> list[_Sum]:
        records = {t: record for t in sorted(asked, reverse=True) if (record := self.newest(t)) is not None}
        return [
            _Sum(issues={t: (asked[t], _observed(r))}, statistics=Statistics.from_json(r["statistics"], what=what))
            for t, r in records.items()
        ]

    def _begun(self, name: str, sizes: Mapping[int, int]) -> _Growing:
        """A sum to be added to, empty where one of its records was looked at again."""
        known = self._sum(name)
        return _Growing(sum=known if known.fits(sizes) else _NONE)

    def _part(self, issue_time: int, size: int, record: Record | None) -> _Sum:
        """A record as a sum; nothing where it was written with other statistics, since such a one is read by itself."""
        record = record or self.newest(issue_time)
        try:
            return (
                _NONE
                if record is None
                else _Sum(issues={issue_time: (size, _observed(record))}, statistics=Statistics.from_json(record["statistics"]))
            )
        except ContractError:
            return _NONE

    def _keep_sum(self, name: str, grown: _Growing) -> None:
        if grown.lacked:
            issues = [[t, *entry] for t, entry in sorted(grown.sum.issues.items())]
            self._view(name, {"issues": issues, "statistics": grown.sum.statistics.to_json()})

    def _sum(self, name: str, what: str | None = None) -> _Sum:
        content = self._read(name)
        if content is None:
            return _NONE
        try:
            statistics = Statistics.from_json(content["statistics"], what=what)
        except ContractError:
            return _NONE
        return _Sum(issues={t: (records, observed) for t, records, observed in content["issues"]}, statistics=statistics)

    def _index(self, month: str) -> dict[int, tuple[int, bool]]:
        content = self._read(f"{month}/index") or {"issues": []}
        return {t: (records, final) for t, records, final in content["issues"]}

    def _read(self, name: str) -> Any:
        """The content of a view; None where it is not there or damaged: it can be derived again."""
        key = f"{self._base}/sums/{name}.json"
        try:
            held = json.loads(self._objects.get(key)) if self._objects.exists(key) else {}
            return held["content"] if held.get("sha256") == digest_json(held.get("content")) else None
        except ValueError:
            return None

    def _view(self, name: str, content: dict[str, Any]) -> None:
        key, data = f"{self._base}/sums/{name}.json", canonical_json({"content": content, "sha256": digest_json(content)})
        if not self._objects.exists(key) or self._objects.get(key) != data:
            self._objects.replace(key, data)


def _merged(parts: list[_Sum], held: Set[int]) -> list[_Sum]:
    """Parts as one, where none of them is held already and all are of the same variables and leads."""
    issues = {t: entry for part in parts for t, entry in part.issues.items()}
    if held & issues.keys():
        return parts
    try:
        return [_Sum(issues=issues, statistics=Statistics.added([part.statistics for part in parts]))]
    except ContractError:
        return parts


def _together(sums: list[_Sum]) -> Period:
    """All sums, newest first; of a domain whose variables or leads changed only what is alike the newest."""
    axes: dict[str, Any] = {}
    parts, left_out = [], 0
    for each in sums:
        own = each.statistics
        fitting = {domain: axis for domain, axis in own.axes.items() if axes.setdefault(domain, axis) == axis}
        left_out += len(each.issues) if len(fitting) < len(own.axes) else 0
        parts.append(own if len(fitting) == len(own.axes) else own.only(frozenset(fitting)))
    return Period(
        statistics=Statistics.added(parts),
        issue_times=sum(len(each.issues) for each in sums),
        observed=sum(observed for each in sums for _, observed in each.issues.values()),
        left_out=left_out,
    )


def _is_final(record: Record) -> bool:
    return bool(record["final"]) and record["statistics"].get("format") == FORMAT


def _observed(record: Record) -> bool:
    return bool(record["counts"]["all"]["observed"])


def _by_month(issue_times: Iterable[int]) -> dict[str, list[int]]:
    return _by(issue_times, "%Y-%m")


def _by_day(issue_times: Iterable[int]) -> dict[str, list[int]]:
    return _by(issue_times, "%Y-%m-%d")


def _by(issue_times: Iterable[int], pattern: str) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for issue_time in sorted(issue_times):
        found.setdefault(from_seconds(issue_time).strftime(pattern), []).append(issue_time)
    return found

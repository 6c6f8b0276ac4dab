"""Stamps as sources write them, to int64 seconds UTC: local time with its gaps and folds, and sessions of an exchange."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from typing import Literal
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from pipeline.sources.adapter import NO_TIME

Ambiguous = Literal["reject", "first", "second"]
_DAY = 86400


def _offset(zone: ZoneInfo, second: int) -> int:
    shift = datetime.fromtimestamp(second, UTC).astimezone(zone).utcoffset()
    return 0 if shift is None else round(shift.total_seconds())


@lru_cache(maxsize=64)
def _offsets(zone: str, first_day: int, last_day: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Starts (UTC) and offsets of the spans of constant offset from `first_day` to `last_day` (days since 1970)."""
    place = ZoneInfo(zone)
    starts, offsets = [first_day * _DAY], [_offset(place, first_day * _DAY)]
    for day in range(first_day, last_day):
        low, high = day * _DAY, (day + 1) * _DAY
        if _offset(place, high) == offsets[-1]:
            continue
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if _offset(place, middle) == offsets[-1] else (low, middle)
        starts.append(high)
        offsets.append(_offset(place, high))
    return np.array(starts, np.int64), np.array(offsets, np.int64)


def utc_offsets(utc: NDArray[np.int64], zone: str) -> NDArray[np.int64]:
    """Seconds by which the zone's clocks are ahead of UTC at each instant (seconds UTC)."""
    days = utc // _DAY
    starts, offsets = _offsets(zone, int(days.min()) - 1, int(days.max()) + 2)
    return offsets[np.searchsorted(starts, utc, side="right") - 1]


def local_to_utc(local: NDArray[np.int64], zone: str, ambiguous: Ambiguous) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Seconds UTC of local wall-clock seconds, NO_TIME where there are none; and where that is for being named twice.

    A wall-clock time that the zone skips has none. One that it passes twice is the first or second pass, or none.
    """
    known = local != NO_TIME
    if zone == "UTC" or not known.any():
        return local, np.zeros(len(local), np.bool_)
    days = local[known] // _DAY
    starts, offsets = _offsets(zone, int(days.min()) - 2, int(days.max()) + 3)
    opens = starts + offsets
    closes = np.append(starts[1:], np.iinfo(np.int64).max // 2) + offsets
    first = np.minimum(np.searchsorted(closes, local, side="right"), len(starts) - 1)
    second = np.maximum(np.searchsorted(opens, local, side="right") - 1, 0)
    twice = known & (first < second)
    chosen = np.where(twice, second if ambiguous == "second" else first, np.minimum(first, second))
    utc = local - offsets[chosen]
    lost = ~known | (first > second) | (twice if ambiguous == "reject" else np.zeros_like(twice))
    return np.where(lost, NO_TIME, utc), twice & lost


def session_closes(day: NDArray[np.int64], calendar: str) -> NDArray[np.int64]:
    """Close (seconds UTC) of the session on each date (days since 1970); NO_TIME where the exchange had none.

    Half-days, holidays and daylight saving are the calendar's.
    """
    known = day != NO_TIME
    if not known.any():
        return day
    dates, closes = _closes(calendar, int(day[known].min()), int(day[known].max()))
    place = np.minimum(np.searchsorted(dates, day), max(len(dates) - 1, 0))
    if not len(dates):
        return np.full(len(day), NO_TIME)
    return np.where(known & (dates[place] == day), closes[place], NO_TIME)


@lru_cache(maxsize=8)
def _whole_calendar(calendar: str, first_year: int, last_year: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    import exchange_calendars

    closes = exchange_calendars.get_calendar(calendar, start=f"{first_year}-01-01", end=f"{last_year}-12-31").closes
    dates = closes.index.to_numpy().astype("datetime64[D]").astype(np.int64)
    return dates, closes.dt.tz_convert(None).to_numpy().astype("datetime64[s]").astype(np.int64)


def _closes(calendar: str, first: int, last: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    years = [int(np.datetime64(d, "D").astype("datetime64[Y]").astype(np.int64)) + 1970 for d in (first, last)]
    return _whole_calendar(calendar, years[0] // 10 * 10, years[1] // 10 * 10 + 9)


def known_calendars() -> tuple[str, ...]:
    """The exchange calendars at hand, sorted."""
    import exchange_calendars

    return tuple(sorted(exchange_calendars.get_calendar_names()))

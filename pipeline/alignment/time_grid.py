"""The axis of a clock: labels name the END of an interval, (previous label, label]; a session is named by its close."""

from __future__ import annotations

from functools import lru_cache
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from pipeline.alignment.public_holidays import public_holidays
from pipeline.contracts.times import from_seconds
from pipeline.contracts.worlds import Clock

DAY, SUNDAY = 86400, 6
_MARGIN_DAYS = 20


def step_seconds(clock: Clock) -> int:
    """Seconds of one step; a session counts as one day."""
    return DAY if clock.step is None else int(clock.step.total_seconds())


def axis(clock: Clock, start_s: int, end_s: int) -> NDArray[np.int64]:
    """Labels from `start_s` to `end_s`, both included: `start_s` + k steps, or the closes of the sessions between."""
    if end_s < start_s:
        return np.zeros(0, np.int64)
    if clock.step is not None:
        return np.arange(start_s, end_s + 1, step_seconds(clock), dtype=np.int64)
    closes = _closes(str(clock.calendar), start_s - DAY, end_s + DAY)
    return closes[(closes >= start_s) & (closes <= end_s)]


def step_of(axis_T: NDArray[np.int64], instants: NDArray[np.int64]) -> NDArray[np.int64]:
    """The step in whose interval each instant lies, the first where it is earlier; `len(axis_T)` after the last."""
    steps = np.diff(axis_T)
    if len(steps) and (steps == steps[0]).all():
        found: NDArray[np.int64] = np.clip(-((axis_T[0] - instants) // steps[0]), 0, len(axis_T))
        return found
    return np.searchsorted(axis_T, instants, side="left")


def steps_ahead(clock: Clock, label: int, count: int) -> NDArray[np.int64]:
    """The next `count` labels after `label` (itself a label; for sessions any instant)."""
    if clock.step is not None:
        return label + step_seconds(clock) * np.arange(1, count + 1, dtype=np.int64)
    closes = _closes(str(clock.calendar), label, label + DAY * (2 * count + _MARGIN_DAYS))
    return closes[closes > label][:count]


def step_before(clock: Clock, label: int) -> int:
    """The label before `label`: where the first interval of an axis begins."""
    if clock.step is not None:
        return label - step_seconds(clock)
    closes = _closes(str(clock.calendar), label - DAY * _MARGIN_DAYS, label)
    return int(closes[closes < label][-1])


def season_steps(clock: Clock, season_s: int) -> int:
    """Steps of one season; on a calendar of sessions five to the week, 0 where the season is shorter than a week."""
    if clock.step is not None:
        return season_s // step_seconds(clock)
    return season_s // (7 * DAY) * 5


def local_slots(
    valid_time: NDArray[np.int64], zone: ZoneInfo, step: int, holidays: str | None = None
) -> tuple[NDArray[np.int16], NDArray[np.int16]]:
    """Slot of the local day (0 .. 86400/step - 1) and day of the week (0 = Monday) of instants, right across DST.

    A public holiday of the region `holidays`, where one is named, counts as a Sunday.
    """
    local = valid_time + _utc_offsets(valid_time, zone)
    day, second = np.divmod(local, DAY)
    weekday = ((day + 3) % 7).astype(np.int16)
    if holidays is not None and len(day):
        weekday[np.isin(day, public_holidays(holidays, int(day.min()), int(day.max())))] = SUNDAY
    return (second // step).astype(np.int16), weekday


def _closes(calendar: str, start_s: int, end_s: int) -> NDArray[np.int64]:
    return _closes_of_years(calendar, from_seconds(start_s).year, from_seconds(end_s).year)


@lru_cache(maxsize=32)
def _closes_of_years(calendar: str, first: int, last: int) -> NDArray[np.int64]:
    # Without explicit bounds the library asks what day it is today.
    import exchange_calendars

    closes = exchange_calendars.get_calendar(calendar, start=f"{first}-01-01", end=f"{last}-12-31").closes
    return np.asarray(closes.dt.tz_localize(None).to_numpy().astype("datetime64[s]").astype(np.int64))


def _utc_offsets(instants: NDArray[np.int64], zone: ZoneInfo) -> NDArray[np.int64]:
    if not len(instants):
        return np.zeros(0, np.int64)
    days = np.arange(instants.min() // DAY * DAY, instants.max() + DAY + 1, DAY)
    offsets = np.array([_offset(int(d), zone) for d in days], np.int64)
    changes = [_first_with(zone, int(days[i]), int(days[i + 1])) for i in np.flatnonzero(np.diff(offsets))]
    edges = np.array([days[0], *changes], np.int64)
    levels = np.array([_offset(int(e), zone) for e in edges], np.int64)
    return levels[np.searchsorted(edges, instants, side="right") - 1]


def _offset(instant: int, zone: ZoneInfo) -> int:
    offset = from_seconds(instant).astimezone(zone).utcoffset()
    return 0 if offset is None else int(offset.total_seconds())


def _first_with(zone: ZoneInfo, before: int, after: int) -> int:
    """The second at which the offset changes between two instants that differ in it once."""
    old = _offset(before, zone)
    while after - before > 1:
        middle = (before + after) // 2
        before, after = (middle, after) if _offset(middle, zone) == old else (before, middle)
    return after

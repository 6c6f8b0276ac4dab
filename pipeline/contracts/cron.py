"""Cron lines: when they tick, in UTC. Light: stdlib only."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache

_RANGES = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))
_FARTHEST = 366 * 8
"""Days after which a line that has not ticked never does: 29 February across a century."""


@lru_cache(maxsize=64)
def _fields(line: str) -> tuple[frozenset[int], ...]:
    return tuple(_values(field, *span) for field, span in zip(line.split(), _RANGES, strict=True))


def _values(field: str, low: int, high: int) -> frozenset[int]:
    found: set[int] = set()
    for part in field.split(","):
        span, _, step = part.partition("/")
        first, dash, last = span.partition("-")
        begin = low if span == "*" else int(first)
        end = high if span == "*" or (step and not dash) else int(last or first)
        found |= set(range(begin, end + 1, int(step or 1)))
    return frozenset(found)


def _on(line: str, day: date) -> bool:
    """Whether a line ticks on a day; with both days given either counts, as cron has it."""
    _, _, days, months, weekdays = _fields(line)
    of_month, of_week = day.day in days, not weekdays.isdisjoint({day.isoweekday(), day.isoweekday() % 7})
    texts = line.split()
    both = not texts[2].startswith("*") and not texts[4].startswith("*")
    return day.month in months and (of_month or of_week if both else of_month and of_week)


def _of_day(line: str) -> list[timedelta]:
    minutes, hours, *_ = _fields(line)
    return [timedelta(hours=h, minutes=m) for h in sorted(hours) for m in sorted(minutes)]


def ticks_before(line: str, moment: datetime) -> Iterator[datetime]:
    """The ticks at or before an instant, the newest first."""
    times = _of_day(line)[::-1]
    midnight = moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    for back in range(_FARTHEST):
        day = midnight - timedelta(days=back)
        if _on(line, day.date()):
            yield from (day + time for time in times if day + time <= moment)


def last_tick(line: str, moment: datetime) -> datetime | None:
    """The newest tick at or before an instant; None where the line never ticks."""
    return next(ticks_before(line, moment), None)


@lru_cache(maxsize=64)
def longest_gap(line: str) -> timedelta:
    """The longest time between two ticks in a row, over a year and a bit; zero where the line never ticks twice."""
    times = _of_day(line)
    start = date(2023, 1, 1)
    days = [start + timedelta(days=n) for n in range(800) if _on(line, start + timedelta(days=n))]
    within = [b - a for a, b in itertools.pairwise(times)]
    between = [(b - a) + times[0] - times[-1] for a, b in itertools.pairwise(days)]
    return max([*within, *between], default=timedelta(0))

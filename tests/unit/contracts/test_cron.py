from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from croniter import croniter

from pipeline.contracts.cron import last_tick, longest_gap, ticks_before

LINES = ("*/15 * * * *", "0 */6 * * *", "40 3 * * *", "5,35 1-5/2 * * *", "0 0 1 * *", "30 6 * * 1", "0 12 13 * 5", "0 9 * 2,3 7")
MOMENTS = (datetime(2026, 11, 23, 0, 30, tzinfo=UTC), datetime(2024, 3, 1, tzinfo=UTC), datetime(2025, 12, 31, 23, 59, 59, tzinfo=UTC))


@pytest.mark.parametrize("line", LINES)
def test_the_ticks_are_those_that_croniter_knows(line: str) -> None:
    for moment in MOMENTS:
        theirs = croniter(line, moment + timedelta(seconds=1))
        ours = ticks_before(line, moment)
        assert [next(ours) for _ in range(5)] == [theirs.get_prev(datetime) for _ in range(5)]


def test_a_line_that_never_ticks_has_no_tick_and_no_gap() -> None:
    assert last_tick("0 0 31 2 *", MOMENTS[0]) is None
    assert longest_gap("0 0 31 2 *") == timedelta(0)


def test_a_tick_of_years_ago_is_found() -> None:
    assert last_tick("0 0 29 2 *", MOMENTS[2]) == datetime(2024, 2, 29, tzinfo=UTC)


@pytest.mark.parametrize(
    ("line", "gap"),
    [
        ("*/15 * * * *", timedelta(minutes=15)),
        ("0 6,18 * * *", timedelta(hours=12)),
        ("0 6-9 * * *", timedelta(hours=21)),
        ("0 8 * * 1-5", timedelta(days=3)),
        ("0 0 1 * *", timedelta(days=31)),
    ],
)
def test_the_longest_gap_of_a_line(line: str, gap: timedelta) -> None:
    assert longest_gap(line) == gap

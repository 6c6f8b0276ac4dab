from datetime import timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from pipeline.alignment.time_grid import axis, local_slots, season_steps, step_before, step_of, step_seconds, steps_ahead
from pipeline.contracts.times import from_seconds, parse_instant, to_seconds
from pipeline.contracts.worlds import Clock

FIVE = Clock(step=timedelta(minutes=5))
NEW_YORK = Clock(calendar="XNYS")


def at(text: str) -> int:
    return to_seconds(parse_instant(text))


def test_a_fixed_step_runs_from_the_start_and_includes_both_ends() -> None:
    found = axis(FIVE, at("2014-08-01T00:00Z"), at("2014-09-30T23:55Z"))
    assert len(found) == 17568
    assert (np.diff(found) == 300).all()


def test_an_axis_that_ends_before_it_starts_is_empty() -> None:
    assert len(axis(FIVE, 1000, 999)) == 0
    assert len(axis(NEW_YORK, at("2014-09-01T00:00Z"), at("2014-09-01T23:00Z"))) == 0  # Labor Day


def test_a_session_is_named_by_its_close_in_utc_across_dst_and_half_days() -> None:
    closes = axis(NEW_YORK, at("2014-10-31T00:00Z"), at("2014-11-29T00:00Z"))
    words = [f"{from_seconds(t):%m-%d %H:%M}" for t in closes]
    assert words[0] == "10-31 20:00"  # summer time
    assert words[1] == "11-03 21:00"  # winter time
    assert words[-1] == "11-28 18:00"  # the day after Thanksgiving closes at 13:00
    assert "11-27 21:00" not in words


def test_the_next_steps_follow_the_label_and_the_step_before_precedes_it() -> None:
    assert list(steps_ahead(FIVE, 600, 2)) == [900, 1200]
    assert step_before(FIVE, 600) == 300
    friday = at("2014-08-29T20:00Z")
    assert [from_seconds(t).day for t in steps_ahead(NEW_YORK, friday, 2)] == [2, 3]
    assert from_seconds(step_before(NEW_YORK, at("2014-09-02T20:00Z"))).day == 29


def test_sessions_ahead_are_as_many_as_asked_for_over_holidays() -> None:
    assert len(steps_ahead(NEW_YORK, at("2014-12-20T00:00Z"), 60)) == 60


@pytest.mark.parametrize("zone", ["Europe/Copenhagen", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "UTC"])
def test_local_slots_agree_with_the_clock_on_the_wall_through_two_years(zone: str) -> None:
    times = np.arange(at("2014-01-01T00:00Z"), at("2016-01-01T00:00Z"), 1800 * 7)
    slot, weekday = local_slots(times, ZoneInfo(zone), 900)
    for i in range(0, len(times), 3):
        local = from_seconds(int(times[i])).astimezone(ZoneInfo(zone))
        assert (slot[i], weekday[i]) == ((local.hour * 60 + local.minute) // 15, local.weekday())


def test_a_public_holiday_is_a_sunday_from_midnight_to_midnight_of_local_time() -> None:
    new_year = [at(t) for t in ("2014-12-31T22:59Z", "2014-12-31T23:00Z", "2015-01-01T22:59Z", "2015-01-01T23:00Z")]
    _, weekday = local_slots(np.array(new_year), ZoneInfo("Europe/Copenhagen"), 900, "DK")
    assert list(weekday) == [2, 6, 6, 4]


@pytest.mark.parametrize(("region", "days"), [("DK", 1), ("GB-ENG", 1), ("GB-SCT", 2), ("US", 1)])
def test_holidays_are_those_of_the_region_and_all_other_days_are_as_they_were(region: str, days: int) -> None:
    times = np.arange(at("2023-01-01T12:00Z"), at("2025-01-01T12:00Z"), 86400)
    plain, told = (local_slots(times, ZoneInfo("UTC"), 900, r)[1] for r in (None, region))
    moved = np.flatnonzero(plain != told)
    assert set(told[moved]) == {6}
    assert 10 < len(moved) < 30
    early_january = [
        from_seconds(int(times[i])).day
        for i in moved
        if (date := from_seconds(int(times[i]))).year == 2024 and date.month == 1 and date.day < 5
    ]
    assert early_january == list(range(1, days + 1))


def test_the_hour_that_comes_twice_has_the_same_slot_twice() -> None:
    slot, _ = local_slots(np.array([at("2025-10-26T00:30Z"), at("2025-10-26T01:30Z")]), ZoneInfo("Europe/Copenhagen"), 3600)
    assert list(slot) == [2, 2]


def test_seasons_count_steps_and_sessions_count_five_to_the_week() -> None:
    assert season_steps(FIVE, 86400) == 288
    assert season_steps(NEW_YORK, 7 * 86400) == 5
    assert season_steps(NEW_YORK, 86400) == 0
    assert step_seconds(NEW_YORK) == 86400


@pytest.mark.parametrize("labels", [[7], [5, 10, 15, 20], [5, 10, 16, 20]])
def test_an_instant_lies_in_the_step_whose_label_is_the_next_on_any_axis(labels: list[int]) -> None:
    instants = np.arange(-3, 25)
    wanted = [next((k for k, label in enumerate(labels) if label >= t), len(labels)) for t in instants]
    assert step_of(np.array(labels, np.int64), instants).tolist() == wanted

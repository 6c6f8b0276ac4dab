from __future__ import annotations

from zoneinfo import ZoneInfo

import pytest

from pipeline.publishing.words import duration_text, instant_text, places_for, unit_text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0 min"), (45, "45 s"), (300, "5 min"), (4800, "1 h 20 min"), (90000, "1 d 1 h"), (None, "–")]
)
def test_durations_are_told_in_two_units(seconds: int | None, text: str) -> None:
    assert duration_text(seconds) == text


def test_instants_are_told_in_the_zone_of_the_world() -> None:
    assert instant_text(1412092800, ZoneInfo("Europe/Copenhagen")) == "Tue 30 Sep 2014, 18:00"


@pytest.mark.parametrize(("spread", "places"), [(1000, 0), (30, 1), (3, 2), (0.2, 3), (0, 2)])
def test_decimals_follow_the_spread(spread: float, places: int) -> None:
    assert places_for(spread) == places


def test_units_are_written_as_people_do() -> None:
    assert [unit_text(u) for u in ("degC", "count", "km/h", "m s-1")] == ["°C", "", "km/h", "m/s"]

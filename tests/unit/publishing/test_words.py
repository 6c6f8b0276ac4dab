from __future__ import annotations

from zoneinfo import ZoneInfo

import pytest

from pipeline.publishing.words import duration_text, instant_text, places_for, reason_text, unit_text


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
    assert [unit_text(u) for u in ("degC", "count", "km/h", "m s-1", "mm h-1", "USD")] == ["°C", "", "km/h", "m/s", "mm/h", "USD"]
    assert [unit_text(u) for u in ("kg m-2 s-1", "W m-2", "s-1", "EUR/MWh")] == ["kg/(m²·s)", "W/m²", "1/s", "EUR/MWh"]
    assert unit_text("vehicles per hour") == "vehicles per hour"


def test_a_reason_is_told_in_units_and_signs_as_people_write_them() -> None:
    said = "MAE 1.668 against 1.54 degC (skill -8.3 %, difference -0.1, 95 % interval -1 to +2 (Diebold-Mariano -1 to +2) over 9 days, 3 percent"
    told = reason_text(said, ("degC", "percent"))
    assert told.startswith("MAE 1.668 against 1.54 °C (skill −8.3 %, difference −0.1, 95 % interval −1 to +2 (Diebold-Mariano −1 to +2)")
    assert told.endswith("3 %")
    assert reason_text("below 2 m s-1 of model 3f-2a-91", ("m s-1",)) == "below 2 m/s of model 3f-2a-91"
    assert reason_text("5 count", ("count",)) == "5"

"""Conversions as one factor and one offset."""

from __future__ import annotations

import pytest

from pipeline.contracts.units import conversion, signed_text
from pipeline.errors import ConfigError


@pytest.mark.parametrize(
    ("unit", "to", "value", "expected"),
    [
        ("K", "degC", 273.15, 0.0),
        ("degF", "degC", 212.0, 100.0),
        ("km/h", "m s-1", 36.0, 10.0),
        ("Pa", "hPa", 101325.0, 1013.25),
        ("mm/h", "mm h-1", 2.0, 2.0),
        ("knot", "m s-1", 1.0, 0.514444),
        ("%", "percent", 7.0, 7.0),
        ("count", None, 7.0, 7.0),
        ("EUR", "EUR", 7.0, 7.0),
    ],
)
def test_a_value_comes_out_in_the_canonical_unit(unit: str, to: str | None, value: float, expected: float) -> None:
    change = conversion(unit, to)
    assert value * change.factor + change.offset == pytest.approx(expected, rel=1e-6, abs=1e-9)


def test_units_of_different_kinds_are_refused() -> None:
    with pytest.raises(ConfigError, match="same kind"):
        conversion("K", "hPa")


def test_an_unknown_unit_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match="'dgeC'"):
        conversion("dgeC", "K")


def test_a_difference_is_told_with_its_sign_and_without_an_exponent() -> None:
    assert [signed_text(x) for x in (-2047.3, -0.12345, 0.0, 1234567.0)] == ["-2,047", "-0.123", "+0", "+1,234,567"]

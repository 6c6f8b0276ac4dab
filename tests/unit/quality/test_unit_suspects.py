"""Readings delivered in another unit: found per node and delivery, named, flagged; and no storm taken for one."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.contracts.flags import Flag
from pipeline.contracts.units import conversion, mistakes
from pipeline.contracts.worlds import RawVariable
from pipeline.quality.findings import findings
from pipeline.quality.screen import Screened, rest_on_series, screen

RNG = np.random.default_rng(7)
DAY = 12 + 6 * np.sin(np.arange(96) / 96 * 2 * np.pi)


def screened(values: np.ndarray, node: np.ndarray | None = None, cadence: int | None = None, **rules: object) -> Screened:
    count = len(values)
    return screen(
        {"v": values},
        {"v": RawVariable.model_validate(rules)},
        node=np.zeros(count, np.int32) if node is None else node,
        valid_time=np.arange(count, dtype=np.int64) * 900,
        punctual=np.ones(count, np.bool_),
        received_time=10**9,
        cadence=cadence,
    )["v"]


def suspects(found: Screened) -> list[str]:
    names = ["", *(m.unit for m in found.mistakes)]
    assert ((found.flags & Flag.UNIT_SUSPECT > 0) == (found.suspect > 0)).all()
    return [names[code] for code in found.suspect]


def as_delivered(true: np.ndarray, declared: str, delivered: str) -> np.ndarray:
    """True values in the declared unit, as the numbers that a delivery in another unit holds."""
    change = conversion(declared, delivered)
    return true * change.factor + change.offset


@pytest.mark.parametrize(
    ("unit", "to", "other", "true", "bounds"),
    [
        ("degC", None, "K", DAY, (-60.0, 60.0)),
        ("K", "degC", "degC", DAY + 273.15, (-60.0, 60.0)),
        ("degC", None, "degF", DAY + 10, (-60.0, 60.0)),
        ("degF", "degC", "K", DAY * 1.8 + 32, (-60.0, 60.0)),
        ("hPa", None, "Pa", 1000 + DAY, (850.0, 1090.0)),
        ("Pa", "hPa", "hPa", 100_000 + 100 * DAY, (850.0, 1090.0)),
        ("m/s", None, "km/h", DAY + 12, (0.0, 60.0)),
        ("m s-1", None, "knot", DAY + 25, (0.0, 60.0)),
    ],
)
def test_a_mix_up_is_named_by_its_unit_from_the_first_impossible_reading_on(
    unit: str, to: str | None, other: str, true: np.ndarray, bounds: tuple[float, float]
) -> None:
    mixed = np.r_[true, as_delivered(true, unit, other), true]
    found = suspects(screened(mixed, unit=unit, to=to, valid_min=bounds[0], valid_max=bounds[1]))
    assert set(found[:96]) == {""}
    assert set(found[192:]) == {""}
    first = next(i for i, name in enumerate(found) if name)
    assert found[first:192] == [other] * (192 - first)
    assert first < 160


def test_fahrenheit_within_the_bounds_is_found_by_the_jump_that_it_undoes() -> None:
    mixed = np.r_[DAY, as_delivered(DAY, "degC", "degF"), DAY]
    found = screened(mixed, unit="degC", valid_min=-90.0, valid_max=90.0, spike=8.0)
    assert suspects(found) == [""] * 96 + ["degF"] * 96 + [""] * 96
    assert not (found.flags[192:] & Flag.SPIKE).any()


@pytest.mark.parametrize(("unit", "other"), [("m s-1", "km/h"), ("m s-1", "knot"), ("km/h", "m s-1"), ("mph", "km/h")])
def test_a_delivery_of_plausible_numbers_is_found_by_its_median_where_the_usual_is_declared(unit: str, other: str) -> None:
    usual = {"m s-1": (2.0, 4.5), "km/h": (7.0, 16.0), "mph": (6.0, 10.0)}[unit]
    true = conversion("m s-1", unit).factor * (3 + RNG.gamma(2.0, 0.2, 200))
    assert set(suspects(screened(true, unit=unit, valid_min=0.0, valid_max=400.0, usual=usual))) == {""}
    found = suspects(screened(as_delivered(true, unit, other), unit=unit, valid_min=0.0, valid_max=400.0, usual=usual))
    assert set(found[:23]) == {""}
    assert set(found[23:]) <= {other, "mph"}  # which is a knot but for a seventh


def test_a_mix_up_at_one_node_leaves_the_others_alone() -> None:
    node = np.tile(np.array([0, 1, 2], np.int32), 96)
    true = np.repeat(DAY, 3)
    mixed = np.where(node == 1, true + 273.15, true)
    found = suspects(screened(mixed, node, unit="degC", valid_min=-60.0, valid_max=60.0))
    assert {name for name, place in zip(found, node, strict=True) if place != 1} == {""}
    assert {name for name, place in zip(found, node, strict=True) if place == 1} == {"K"}


def test_a_storm_a_front_and_a_spike_are_no_mix_up() -> None:
    storm = np.r_[np.full(30, 4.0), np.linspace(4, 38, 12), np.full(20, 35.0), np.linspace(35, 5, 20)] + RNG.normal(0, 0.4, 82)
    assert set(suspects(screened(storm, unit="m s-1", valid_min=0.0, valid_max=60.0, spike=8.0))) == {""}
    assert set(suspects(screened(np.r_[[3.0] * 5, [12.0] * 5], unit="m s-1", valid_min=0.0, valid_max=60.0, spike=8.0))) == {""}
    front = np.r_[DAY, DAY - 14.0]
    assert set(suspects(screened(front, unit="degC", valid_min=-60.0, valid_max=60.0, spike=8.0))) == {""}
    once = np.r_[DAY, [999.0], DAY]
    assert set(suspects(screened(once, unit="degC", valid_min=-60.0, valid_max=60.0))) == {""}


def test_after_one_suspect_reading_the_next_true_one_is_credible_again() -> None:
    found = screened(np.array([5.0, 100.0, 6.0, 7.0]), unit="m s-1", valid_min=0.0, valid_max=60.0)
    assert suspects(found) == ["", "km/h", "", ""]


def test_below_absolute_zero_is_out_of_range_without_any_bound() -> None:
    found = screened(np.array([-9999.0, -500.0, 5.0]), unit="degC")
    assert found.flags.tolist() == [Flag.OUT_OF_RANGE | Flag.FILL_CODE, Flag.OUT_OF_RANGE, 0]


def test_what_is_mistaken_for_what_depends_on_both_units() -> None:
    assert {m.unit for m in mistakes("km/h", "m s-1")} == {"m s-1", "knot", "mph"}
    assert mistakes("count", None) == ()
    assert rest_on_series({"v": RawVariable(unit="degC")})
    assert not rest_on_series({"v": RawVariable(unit="count", valid_max=5.0)})
    assert not rest_on_series({"v": RawVariable(unit="m s-1")})


def test_findings_name_node_unit_code_and_how_often() -> None:
    variables = {"v": RawVariable(unit="degC", valid_min=-60.0, valid_max=60.0)}
    values = np.array([10.0, 283.0, 284.0, -9999.0, 12.0])
    node = np.array([0, 1, 1, 0, 0], np.int32)
    stamps = np.array([0, 0, 900, 900, 1000], np.int64)
    found = screen({"v": values}, variables, node=node, valid_time=stamps, punctual=np.ones(5, np.bool_), received_time=999, cadence=900)
    assert list(findings(found, variables, {"v": values}, node, ("x", "y"), early=stamps > 999)) == [
        "v of node y: 2 readings look like K, not degC",
        "v: 1 readings of -9999, out of bounds and a usual code for none: list it in missing",
        "1 readings stamped later than received, the first of node x",
        "1 readings sooner after the last than the declared cadence allows, the first of node x",
    ]

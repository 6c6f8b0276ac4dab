"""Tests of size and power: how often a difference is called sure where there is none, and where there is one."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import lfilter
from scipy.stats import binom, false_discovery_control, nct, t, ttest_1samp
from scores.stats.statistical_tests import diebold_mariano as peer

from pipeline.verification.significance import (
    benjamini_hochberg,
    bootstrap_interval,
    diebold_mariano,
    holm,
    mean_error,
    periods_ahead,
    student_interval,
)

TRIALS = 1500


def _rejected(draws: np.ndarray, ahead: int) -> float:
    return float(np.mean([diebold_mariano(draw, ahead)[1] < 0.05 for draw in draws]))


@pytest.mark.parametrize(("periods", "ahead"), [(20, 1), (30, 2), (50, 3)])
def test_the_statistic_equals_that_of_the_library_with_the_small_sample_correction(periods: int, ahead: int) -> None:
    draw = np.random.default_rng(periods).normal(0.2, 1, periods)
    theirs = peer(
        xr.DataArray(draw[None], dims=("m", "t"), coords={"h": ("m", [ahead])}), "m", "h", method="HLN", statistic_distribution="t"
    )
    statistic, p = diebold_mariano(draw, ahead)
    interval = student_interval(draw.mean(), mean_error(draw, ahead), periods)
    assert interval == pytest.approx((float(theirs["ci_lower"].item()), float(theirs["ci_upper"].item())), rel=1e-9)
    assert statistic == pytest.approx(float(theirs["dm_test_stat"].item()), rel=1e-9)
    assert p == pytest.approx(2 * min(float(theirs["confidence_gt_0"].item()), 1 - float(theirs["confidence_gt_0"].item())), rel=1e-9)


@pytest.mark.parametrize("periods", [8, 30])
def test_without_a_difference_one_in_twenty_is_called_sure(periods: int) -> None:
    draws = np.random.default_rng(1).normal(0, 1, (TRIALS, periods))
    low, high = binom.ppf([0.0005, 0.9995], TRIALS, 0.05) / TRIALS
    assert low <= _rejected(draws, 1) <= high


def test_losses_that_overlap_need_the_autocovariances_and_then_have_nearly_the_right_size() -> None:
    noise = np.random.default_rng(2).normal(0, 1, (TRIALS, 62))
    overlapping = noise[:, :-2] + noise[:, 1:-1] + noise[:, 2:]
    assert _rejected(overlapping, 1) > 0.15
    assert _rejected(overlapping, 3) < 0.09


@pytest.mark.parametrize("periods", [5, 40])
def test_the_interval_of_independent_differences_is_that_of_students_t(periods: int) -> None:
    draw = np.random.default_rng(periods).normal(0.3, 2, periods)
    interval = student_interval(draw.mean(), mean_error(draw, 1), periods, level=0.9)
    assert interval == pytest.approx(tuple(ttest_1samp(draw, 0).confidence_interval(0.9)), rel=1e-12)


def test_the_error_of_an_autoregressive_series_is_the_analytic_one() -> None:
    phi, periods = 0.6, 200_000
    series = lfilter([1], [1, -phi], np.random.default_rng(6).normal(0, 1, periods))
    assert mean_error(series, 40) == pytest.approx(1 / (1 - phi) / np.sqrt(periods), rel=0.05)
    assert mean_error(series, 1) == pytest.approx(1 / np.sqrt(1 - phi**2) / np.sqrt(periods), rel=0.02)


def test_intervals_of_many_comparisons_hold_all_at_once_where_those_of_one_do_not() -> None:
    draws = np.random.default_rng(8).normal(0, 1, (400, 10, 20))

    def all_hold(comparisons: int) -> float:
        return float(np.mean([all(_holds(draw, comparisons) for draw in family) for family in draws]))

    assert all_hold(1) < 0.7
    assert all_hold(10) == pytest.approx(0.95, abs=0.035)


def _holds(draw: np.ndarray, comparisons: int) -> bool:
    low, high = student_interval(float(draw.mean()), mean_error(draw, 1), len(draw), comparisons=comparisons)
    return low <= 0 <= high


@pytest.mark.parametrize("seed", range(20))
def test_an_interval_leaves_zero_out_where_the_test_rejects_it(seed: int) -> None:
    draw = np.random.default_rng(seed).normal(0.5, 1, 20)
    low, high = student_interval(draw.mean(), mean_error(draw, 2), 20)
    assert (diebold_mariano(draw, 2)[1] < 0.05) == (not low <= 0 <= high)


def test_power_is_that_of_the_noncentral_t() -> None:
    periods, shift = 30, 0.5
    draws = np.random.default_rng(3).normal(shift, 1, (TRIALS, periods))
    edge, away = t.ppf(0.975, periods - 1), shift * np.sqrt(periods)
    # the variance divides by T and the correction by T - 1: together they are Student's
    power = nct.sf(edge, periods - 1, away) + nct.cdf(-edge, periods - 1, away)
    assert _rejected(draws, 1) == pytest.approx(power, abs=0.04)


def test_the_bootstrap_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    random = np.random.default_rng(4)
    noise = random.normal(0, 1, (250, 41))
    totals = noise[:, 1:] + 0.5 * noise[:, :-1]
    intervals = [bootstrap_interval(total, np.ones(40), 3) for total in totals]
    held = np.mean([low <= 0 <= high for low, high in intervals])
    assert 0.85 <= held <= 0.99
    blind = np.mean([low <= 0 <= high for low, high in (bootstrap_interval(total, np.ones(40), 1) for total in totals)])
    assert blind < held


def test_a_sure_difference_with_no_spread_and_no_difference_at_all_are_told_apart() -> None:
    assert diebold_mariano(np.full(10, -2.0), 2)[1] == 0
    assert diebold_mariano(np.zeros(10), 2)[1] == 1
    assert diebold_mariano(np.array([1.0, -1.0] * 5), 3)[1] > 0.05


def test_as_many_days_are_dependent_as_the_horizon_reaches_over_and_at_least_the_cube_root() -> None:
    assert [periods_ahead(n, 1) for n in (3, 8, 27, 64)] == [1, 2, 3, 4]
    assert periods_ahead(27, 5) == 5


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
@settings(max_examples=50, deadline=None)
def test_adjusted_p_values_equal_the_textbook_and_never_fall(p_values: list[float]) -> None:
    assert benjamini_hochberg(p_values) == pytest.approx(false_discovery_control(p_values))
    ordered, worst = sorted(p_values), 0.0
    for rank, p in enumerate(ordered):
        worst = max(worst, min(1, (len(p_values) - rank) * p))
        assert holm(ordered)[rank] == pytest.approx(worst)
    assert all(a >= b >= p for a, b, p in zip(holm(p_values), benjamini_hochberg(p_values), p_values, strict=True))


def test_of_many_comparisons_without_a_difference_hardly_ever_one_is_called_sure() -> None:
    draws = np.random.default_rng(5).normal(0, 1, (200, 10, 20))
    p = [[diebold_mariano(d, 1)[1] for d in family] for family in draws]
    assert np.mean([min(family) < 0.05 for family in p]) > 0.3
    assert np.mean([min(holm(family)) < 0.05 for family in p]) < 0.1

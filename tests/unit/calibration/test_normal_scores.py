from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from pipeline.calibration.normal_scores import BINS, KNOTS, bins_of, moved, normal_scores, score_at, share_below
from pipeline.contracts.forecasts import MEDIAN, QUANTILES

RANDOM = np.random.default_rng(3)


def _forecasts(count: int) -> np.ndarray:
    steps = RANDOM.gamma(2, 1, (count, len(QUANTILES)))
    return np.cumsum(steps, axis=1).astype(np.float32)


def test_the_quantiles_of_a_forecast_have_the_scores_of_their_levels() -> None:
    forecasts = _forecasts(50)
    for q in range(len(QUANTILES)):
        assert normal_scores(forecasts[:, q], forecasts) == pytest.approx(np.full(50, KNOTS[q]), abs=2e-5)


def test_moving_to_the_scores_of_the_levels_changes_nothing_and_moving_further_widens() -> None:
    forecasts, knots = _forecasts(50), np.broadcast_to(KNOTS.astype(np.float32), (50, len(QUANTILES)))
    assert moved(forecasts, knots) == pytest.approx(forecasts, abs=1e-4)
    wide = moved(forecasts, 1.5 * knots)
    assert (wide[:, 0] < forecasts[:, 0]).all()
    assert (wide[:, -1] > forecasts[:, -1]).all()
    assert (wide[:, MEDIAN] == forecasts[:, MEDIAN]).all()
    assert (np.diff(wide, axis=1) >= 0).all()


def test_a_moved_quantile_has_the_score_it_was_moved_to() -> None:
    forecasts = _forecasts(200)
    scores = np.sort(RANDOM.normal(0, 1.5, (200, len(QUANTILES))), axis=1).astype(np.float32)
    scores[:, :MEDIAN], scores[:, MEDIAN], scores[:, MEDIAN + 1 :] = -np.abs(scores[:, :MEDIAN]), 0, np.abs(scores[:, MEDIAN + 1 :])
    scores.sort(axis=1)
    made = moved(forecasts, scores)
    for q in range(len(QUANTILES)):
        assert normal_scores(made[:, q], forecasts) == pytest.approx(scores[:, q], abs=1e-3)


def test_quantiles_stay_within_the_bounds_of_their_variable() -> None:
    made = moved(_forecasts(20), np.broadcast_to(4 * KNOTS.astype(np.float32), (20, len(QUANTILES))), (0.0, 9.0))
    assert made.min() >= 0
    assert made[:, -1].max() <= max(9.0, made[:, MEDIAN].max())


def test_a_value_where_quantiles_coincide_is_inside_the_narrowest_interval_that_ends_there() -> None:
    zeros = np.array([[0, 0, 0, 1, 2, 3, 4]], np.float32)
    assert normal_scores(np.float32([0]), zeros) == pytest.approx([KNOTS[2]])
    assert normal_scores(np.float32([1]), zeros) == pytest.approx([0])
    flat = np.zeros((1, 7), np.float32)
    assert normal_scores(np.float32([0]), flat) == pytest.approx([0])
    assert normal_scores(np.float32([5]), flat)[0] > 5


def test_histograms_of_scores_give_levels_and_scores_back() -> None:
    shares = np.bincount(bins_of(RANDOM.normal(0, 1, 400_000).astype(np.float32)), minlength=BINS) / 400_000
    levels = np.array(QUANTILES)
    found = score_at(np.broadcast_to(shares, (7, BINS)), levels)
    assert found == pytest.approx(norm.ppf(levels), abs=0.01)
    assert share_below(np.broadcast_to(shares, (7, BINS)), found) == pytest.approx(levels, abs=1e-6)

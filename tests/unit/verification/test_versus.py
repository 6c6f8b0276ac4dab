"""Two evaluations compared: only windows that both scored count, never a day that merely has the same date."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.verification.scoring import score_windows
from pipeline.verification.statistics import Axis, Statistics
from pipeline.verification.versus import Scored, versus

HOUR, DAY = 3600, 86400
AXIS = Axis(variables=("count",), units=("vehicles",), lead_times=(300, 600))
SPREAD = np.array([-2, -1.5, -0.7, 0, 0.7, 1.5, 2])


def _scored(error: float, first: int, last: int, *, axis: Axis = AXIS, missing_on: int | None = None) -> Scored:
    """An evaluation of the joint model at every hour from `first` to `last` (hours), wrong by `error` plus noise of the hour."""
    issue_time = np.arange(first, last + 1, dtype=np.int64) * HOUR
    truth = np.full((len(issue_time), 2, 3, 1), 20, np.float32)
    noise = np.array([np.random.default_rng(int(t)).normal(0, 0.1) for t in issue_time])[:, None, None, None]
    good = np.ones(truth.shape, bool)
    good[issue_time // DAY == missing_on, 0, 0] = False
    quantiles = (truth + error + noise)[..., None] + SPREAD
    statistics = score_windows(
        domain="road",
        axis=axis,
        model="joint",
        issue_time_W=issue_time,
        truth_WLNV=truth,
        good_WLNV=good,
        quantiles_WLNVQ=quantiles.astype(np.float32),
    )
    return Scored(statistics=statistics, periods={"road": (int(issue_time[0]), int(issue_time[-1]))})


def test_on_shifted_folds_only_the_whole_days_of_both_count() -> None:
    (row,) = versus(_scored(2.0, 0, 5 * 24 - 1), _scored(1.0, 2 * 24, 8 * 24 - 1), "joint")
    assert (row.days, row.left_out, row.n) == (3, 5, 3 * 24 * 2 * 3)
    assert row.difference is not None
    assert row.difference.value == pytest.approx(1.0, abs=1e-6)
    assert row.first is not None
    assert row.second is not None
    assert row.first - row.second == pytest.approx(row.difference.value, abs=1e-9)
    assert row.difference.low is not None
    assert row.difference.low > 0.9


def test_two_halves_of_one_day_are_not_the_same_windows() -> None:
    (row,) = versus(_scored(2.0, 0, 11), _scored(1.0, 12, 23), "joint")
    assert (row.days, row.left_out, row.first, row.difference) == (0, 1, None, None)
    assert row.reason is not None


def test_a_day_with_other_observations_is_left_out_and_counted() -> None:
    (row,) = versus(_scored(2.0, 0, 5 * 24 - 1), _scored(1.0, 0, 5 * 24 - 1, missing_on=2), "joint")
    assert (row.days, row.left_out) == (4, 1)


def test_evaluations_that_share_no_target_or_lead_say_so() -> None:
    other = Axis(variables=("count",), units=("vehicles",), lead_times=(600, 1200))
    (row,) = versus(_scored(1.0, 0, 99), _scored(1.0, 0, 99, axis=other), "joint")
    assert "leads" in (row.reason or "")
    (row,) = versus(_scored(1.0, 0, 99), Scored(statistics=Statistics.zero(), periods={}), "joint")
    assert "only one" in (row.reason or "")


def test_a_model_against_itself_differs_by_nothing() -> None:
    (row,) = versus(_scored(1.0, 0, 99), _scored(1.0, 0, 99), "joint")
    assert row.difference is not None
    assert (row.difference.value, row.difference.low, row.difference.high, row.left_out) == (0, 0, 0, 0)

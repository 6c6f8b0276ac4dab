from __future__ import annotations

import numpy as np
import pytest

from pipeline.contracts.forecasts import QUANTILES
from pipeline.errors import ContractError
from pipeline.verification.compare import mae_difference, skill
from pipeline.verification.promotion import verdicts
from pipeline.verification.statistics import Axis, Statistics, score_windows

AXIS = Axis(variables=("count",), units=("vehicles",), lead_times=(300, 600))
SPREAD = np.array([-2, -1.5, -0.7, 0, 0.7, 1.5, 2])


def _scored(errors: dict[str, float], *, days: int = 8, good: bool = True) -> Statistics:
    random = np.random.default_rng(3)
    truth = random.normal(20, 1, (days * 6, 2, 9, 1)).astype(np.float32)
    noise = random.normal(0, 1, truth.shape)
    statistics = Statistics.zero()
    for model, size in errors.items():
        quantiles = (truth + size * noise)[..., None] + SPREAD * size
        statistics = statistics + score_windows(
            domain="traffic",
            axis=AXIS,
            model=model,
            issue_time_W=np.arange(days * 6, dtype=np.int64) * 14400,
            truth_WLNV=truth,
            good_WLNV=np.full(truth.shape, good),
            quantiles_WLNVQ=quantiles.astype(np.float32),
        )
    assert len(QUANTILES) == len(SPREAD)
    return statistics


def test_the_joint_model_is_published_where_it_beats_every_baseline() -> None:
    (verdict,) = verdicts(_scored({"joint": 1.0, "persistence": 2.0, "historical_average": 1.5, "ridge": 1.2}))
    assert verdict.published == "joint"
    assert len(verdict.reasons) == 3
    assert "beats persistence: MAE" in verdict.reasons[0]
    assert "vehicles" in verdict.reasons[0]


def test_one_better_baseline_is_enough_to_publish_the_best_baseline_and_say_so() -> None:
    (verdict,) = verdicts(_scored({"joint": 1.0, "persistence": 2.0, "historical_average": 0.9, "ridge": 0.8}))
    assert verdict.published == "ridge"
    assert "ridge is the best baseline" in verdict.reasons[-1]
    assert any("does not beat historical average" in r for r in verdict.reasons)


def test_a_target_never_observed_gets_a_baseline() -> None:
    (verdict,) = verdicts(_scored({"joint": 1.0, "persistence": 2.0}, good=False))
    assert verdict.published == "persistence"
    assert "no observation" in verdict.reasons[0]


def test_the_interval_of_a_clear_difference_excludes_zero_and_is_repeatable() -> None:
    statistics = _scored({"joint": 1.0, "ridge": 1.5})
    first = mae_difference(statistics, "traffic", "count", "joint", "ridge")
    assert first is not None
    assert first.high is not None
    assert first.low is not None
    assert first.low <= first.value <= first.high < 0
    assert first == mae_difference(statistics, "traffic", "count", "joint", "ridge")


def test_two_days_are_too_few_for_an_interval() -> None:
    found = mae_difference(_scored({"joint": 1.0, "ridge": 1.5}, days=2), "traffic", "count", "joint", "ridge")
    assert found is not None
    assert (found.low, found.high, found.days) == (None, None, 2)


def test_models_scored_on_different_days_are_not_compared() -> None:
    statistics = _scored({"joint": 1.0}) + _scored({"ridge": 1.5}, days=4)
    with pytest.raises(ContractError, match="different observations"):
        mae_difference(statistics, "traffic", "count", "joint", "ridge")


def test_skill_is_the_share_of_error_saved() -> None:
    assert skill(0.75, 1.0) == 0.25
    assert skill(1.0, 0.0) is None

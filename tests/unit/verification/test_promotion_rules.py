"""Each condition of a promotion holds by itself: with all others met, it alone keeps the champion or the baseline."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.contracts.judging import Event, PromotionRules
from pipeline.verification.compare import mae_difference
from pipeline.verification.events import WARNINGS, event_rows
from pipeline.verification.promotion import verdicts
from pipeline.verification.scoring import score_windows
from pipeline.verification.significance import diebold_mariano
from pipeline.verification.statistics import Axis, Statistics
from tests.unit.verification.test_promotion import BASELINES, SPREAD, _incumbent, _scored

ANY_WIDTH = PromotionRules(coverage_80=(0.0, 1.0), coverage_90=(0.0, 1.0))


def _failed(statistics: Statistics, rules: PromotionRules = ANY_WIDTH, **more) -> list[str]:
    (verdict,) = verdicts(statistics, rules, candidate="new", **more)
    return [check.name for check in verdict.checks if not check.passed]


def test_a_lower_mae_with_a_higher_pinball_loss_does_not_beat_a_baseline() -> None:
    wide = _scored({"joint": 1.0}, width=3.0) + _scored(BASELINES)
    assert _failed(wide) == ["above historical average", "above ridge"]
    assert _failed(_scored({"joint": 1.0, **BASELINES})) == []


def test_a_lower_mae_with_a_higher_pinball_loss_does_not_beat_the_champion() -> None:
    rivals = {"champion": 1.15, "persistence": 9.0}
    wide = _scored({"joint": 1.0}, width=3.0) + _scored(rivals)
    assert _failed(wide, incumbent=_incumbent()) == ["better than the champion"]
    assert _failed(_scored({"joint": 1.0, **rivals}), incumbent=_incumbent()) == []


def test_an_interval_that_covers_too_much_keeps_the_joint_model_back_too() -> None:
    wide = _scored({"joint": 1.0}, width=2.5) + _scored({"persistence": 9.0})
    assert _failed(wide, PromotionRules(coverage_80=(0.7, 0.9), coverage_90=(0.8, 0.95))) == ["calibrated at 80 %", "calibrated at 90 %"]


def test_a_group_of_too_few_cells_is_not_judged_by_itself() -> None:
    uneven = _scored({"joint": 1.0, "champion": 1.3, **BASELINES}, south={"joint": 1.2, "champion": 0.8})
    assert _failed(uneven, incumbent=_incumbent()) == ["group within the margin"] * 3
    assert _failed(uneven, ANY_WIDTH.model_copy(update={"least": 10**6}), incumbent=_incumbent()) == []


def test_too_few_observations_keep_the_joint_model_back() -> None:
    half = np.random.default_rng(1).random((72, 3, 9, 1)) < 0.5
    some = _scored({"joint": 1.0, **BASELINES}, good=half)
    assert _failed(some, ANY_WIDTH.model_copy(update={"observed": 0.6})) == ["complete observations"]
    assert _failed(some, ANY_WIDTH.model_copy(update={"observed": 0.4})) == []


def test_a_baseline_that_is_better_by_luck_does_not_take_the_champions_place() -> None:
    close = _scored({"joint": 2.0, "champion": 1.24, "persistence": 2.0, "ridge": 1.2})
    lucky = mae_difference(close, "traffic", "count_0", "ridge", "champion")
    assert lucky is not None
    assert lucky.value < 0 < (lucky.p or 0) - 0.05
    (verdict,) = verdicts(close, candidate="new", incumbent=_incumbent())
    assert (verdict.published, verdict.model_id) == ("joint", "old")


def test_days_that_one_horizon_reaches_over_are_not_taken_as_independent() -> None:
    random, days, axis = np.random.default_rng(2), 40, Axis(variables=("v",), units=("1",), lead_times=(5 * 86400,))
    shared = np.convolve(random.normal(0.3, 1, days + 4), np.ones(5) / 5, "valid")
    truth, statistics = np.zeros((days, 1, 1, 1), np.float32), Statistics.zero()
    for model, size in (("first", 2 + shared), ("second", np.full(days, 2.0))):
        middle = size.astype(np.float32)[:, None, None, None]
        told = {"issue_time_W": np.arange(days) * 86400, "truth_WLNV": truth, "good_WLNV": np.ones(truth.shape, bool)}
        told["quantiles_WLNVQ"] = middle[..., None] + SPREAD.astype(np.float32)
        statistics = statistics + score_windows(domain="d", axis=axis, model=model, **told)
    found = mae_difference(statistics, "d", "v", "first", "second")
    difference = np.abs(2 + shared.astype(np.float64)) - 2
    assert found is not None
    assert found.p == pytest.approx(diebold_mariano(difference, 5)[1], rel=1e-4)
    assert (found.p or 0) > 2 * diebold_mariano(difference, 1)[1]


def test_an_event_after_a_step_that_nobody_observed_is_no_onset() -> None:
    truth, good = np.array([[[0.0], [9.0], [9.0]]]), np.array([[[False], [True], [True]]])
    rows, parts = event_rows(Event(variable="v", above=5.0), np.ones((1, 3, 1)), truth, good, None, np.ones((1, 1, 1)))
    onsets = WARNINGS.index("onsets")
    assert rows[0, :, onsets].tolist() == parts[0, :, 0, onsets].tolist() == [0, 0, 0]
    rows, _ = event_rows(Event(variable="v", above=5.0), np.ones((1, 3, 1)), truth, np.ones_like(good), None, np.ones((1, 1, 1)))
    assert rows[0, :, onsets].tolist() == [0, 1, 0]


STANDS = ANY_WIDTH.model_copy(update={"stands": {"traffic.count_0": "persistence"}})


def _daily(errors: dict[str, float], days: int = 12) -> Statistics:
    """Models whose errors differ from day to day, each by draws of its own."""
    axis, random, statistics = Axis(variables=("count_0",), units=("1",), lead_times=(300,)), np.random.default_rng(7), Statistics.zero()
    truth = np.zeros((days * 4, 1, 50, 1), np.float32)
    for model, size in errors.items():
        noise = random.normal(0, 0.1, days)
        off = size + np.repeat(noise - noise.mean(), 4)[:, None, None, None] + 0 * truth
        statistics = statistics + score_windows(
            domain="traffic",
            axis=axis,
            model=model,
            issue_time_W=np.arange(days * 4, dtype=np.int64) * 21600,
            truth_WLNV=truth,
            good_WLNV=np.ones(truth.shape, bool),
            quantiles_WLNVQ=(off[..., None] + SPREAD).astype(np.float32),
        )
    return statistics


@pytest.mark.parametrize(
    ("errors", "days", "published", "why"),
    [
        ({"joint": 1.0, "persistence": 1.5}, 12, "joint", "joint is better than persistence, which stands here"),
        ({"joint": 1.0, "persistence": 1.05}, 12, "persistence", "persistence stands until something is better beyond doubt"),
        ({"joint": 1.0, "persistence": 1.5}, 2, "persistence", "2 days are too few to say"),
        ({"joint": 1.5, "persistence": 1.05, "ridge": 1.0}, 12, "persistence", "persistence stands until something is better beyond doubt"),
        ({"joint": 1.5, "persistence": 1.5, "ridge": 1.0}, 12, "ridge", "ridge is the best baseline"),
    ],
)
def test_what_stands_is_published_until_something_is_better_beyond_doubt(
    errors: dict[str, float], days: int, published: str, why: str
) -> None:
    scored = _daily(errors, days)
    (verdict,) = verdicts(scored, STANDS, candidate="new")
    assert verdict.published == published
    assert any(why in reason for reason in verdict.reasons), verdict.reasons
    (without,) = verdicts(scored, ANY_WIDTH, candidate="new")
    assert without.published == min(errors, key=lambda model: errors[model])


def test_what_stands_comes_back_where_the_champion_surely_loses_to_it_and_a_baseline_is_better_than_it_by_luck_only() -> None:
    scored = _daily({"joint": 2.0, "champion": 1.6, "persistence": 1.05, "ridge": 1.0})
    (verdict,) = verdicts(scored, STANDS, candidate="new", incumbent=_incumbent())
    assert verdict.published == "persistence"
    assert verdict.reasons[-1].startswith("the champion loses to persistence")
    (without,) = verdicts(scored, ANY_WIDTH, candidate="new", incumbent=_incumbent())
    assert without.published == "ridge"


def test_what_stands_is_published_where_nothing_was_observed() -> None:
    rules = STANDS.model_copy(update={"stands": {"traffic.count_0": "ridge"}})
    (verdict,) = verdicts(_scored({"joint": 1.0, **BASELINES}, good=False), rules)
    assert verdict.published == "ridge"

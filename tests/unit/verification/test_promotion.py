"""The verdict on each target: what decided it, with its number, and who publishes what."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.contracts.forecasts import QUANTILES
from pipeline.contracts.judging import PromotionRules
from pipeline.contracts.scores import Verdict
from pipeline.errors import ContractError
from pipeline.verification.compare import mae_difference, skill
from pipeline.verification.evidence import Replay
from pipeline.verification.grounds import Grounds
from pipeline.verification.promotion import Incumbent, verdicts
from pipeline.verification.scoring import score_windows
from pipeline.verification.statistics import Axis, Statistics

SPREAD = np.array([-1.64, -1.28, -0.67, 0, 0.67, 1.28, 1.64])
BASELINES = {"persistence": 2.0, "historical_average": 1.5, "ridge": 1.2}
REGIONS = Grounds(regions=("north", "south"), region_N=np.array([0] * 5 + [1] * 4))


def _scored(
    errors: dict[str, float],
    *,
    days: int = 12,
    good: bool = True,
    width: float = 1.0,
    south: dict[str, float] | None = None,
    targets: int = 1,
) -> Statistics:
    """Models whose errors are normal with these spreads, the champion's from other draws; `south` holds factors there."""
    axis = Axis(variables=tuple(f"count_{v}" for v in range(targets)), units=("vehicles",) * targets, lead_times=(300, 600, 900))
    random = np.random.default_rng(3)
    truth = random.normal(20, 1, (days * 6, 3, 9, targets)).astype(np.float32)
    noise = random.normal(0, 1, truth.shape)
    other = random.normal(0, 1, truth.shape)
    statistics = Statistics.zero()
    for model, size in errors.items():
        error = size * (other if model == "champion" else noise)
        error[:, :, 5:] *= (south or {}).get(model, 1.0)
        statistics = statistics + score_windows(
            domain="traffic",
            axis=axis,
            model=model,
            issue_time_W=np.arange(days * 6, dtype=np.int64) * 14400,
            truth_WLNV=truth,
            good_WLNV=np.full(truth.shape, good),
            quantiles_WLNVQ=((truth + error)[..., None] + SPREAD * size * width).astype(np.float32),
            grounds=REGIONS,
        )
    assert len(QUANTILES) == len(SPREAD)
    return statistics


def _incumbent(published: str = "joint", targets: int = 1, **more) -> Incumbent:
    held = {
        ("traffic", f"count_{v}"): Verdict(domain="traffic", variable=f"count_{v}", published=published, reasons=()) for v in range(targets)
    }
    return Incumbent(model_id="old", verdicts=held, **more)


def test_the_joint_model_is_published_where_it_beats_every_baseline_and_every_reason_has_its_number() -> None:
    (verdict,) = verdicts(_scored({"joint": 1.0, **BASELINES}), candidate="new")
    assert (verdict.published, verdict.model_id) == ("joint", "new")
    assert "beats persistence: MAE" in verdict.reasons[0]
    assert "vehicles" in verdict.reasons[0]
    assert all(check.passed and check.value is not None for check in verdict.checks)
    assert {check.name for check in verdict.checks} >= {"above ridge", "calibrated at 80 %", "complete observations"}


REPLAYED = "in replay lane1, joint does not beat ridge"


def test_a_replay_of_enough_days_says_how_the_joint_model_stands_against_the_baselines_and_how_calibrated_it_is() -> None:
    heldout, lost = _scored({"joint": 1.0, **BASELINES}), _scored({"joint": 1.4, "published": 1.2, **BASELINES})
    rules = PromotionRules(replayed_days=7)
    (verdict,) = verdicts(heldout, rules, candidate="new", replay=Replay(name="lane1", statistics=lost))
    assert verdict.published == "ridge"
    assert any(REPLAYED in reason for reason in verdict.reasons)
    assert sum(reason.startswith("in replay lane1") for reason in verdict.reasons) == 6
    narrow = Replay(name="lane1", statistics=_scored({"joint": 1.0, **BASELINES}, width=0.3))
    (verdict,) = verdicts(heldout, rules, candidate="new", replay=narrow)
    assert [check.name for check in verdict.checks if not check.passed] == ["calibrated at 80 %", "calibrated at 90 %"]


def test_a_replay_of_too_few_days_or_without_the_target_leaves_it_to_the_held_out_windows() -> None:
    heldout, lost = _scored({"joint": 1.0, **BASELINES}), {"joint": 1.4, **BASELINES}
    for replayed in (_scored(lost, days=6), _scored(lost, good=False), Statistics.zero()):
        (verdict,) = verdicts(heldout, candidate="new", replay=Replay(name="lane1", statistics=replayed))
        assert verdict.published == "joint"
        assert not any("in replay" in reason for reason in verdict.reasons)


def test_the_champion_is_compared_on_windows_that_neither_has_seen_whatever_a_replay_shows() -> None:
    heldout = _scored({"joint": 1.0, "champion": 0.9, **BASELINES})
    walked = Replay(name="lane1", statistics=_scored({"joint": 0.5, **BASELINES}))
    (verdict,) = verdicts(heldout, candidate="new", incumbent=_incumbent(), replay=walked)
    assert verdict.model_id == "old"
    assert next(check.name for check in verdict.checks if not check.passed) == "better than the champion"


def test_one_better_baseline_is_enough_to_publish_the_best_baseline_and_say_so() -> None:
    (verdict,) = verdicts(_scored({"joint": 1.0, "persistence": 2.0, "historical_average": 0.9, "ridge": 0.8}))
    assert verdict.published == "ridge"
    assert "ridge is the best baseline" in verdict.reasons[-1]
    assert any("does not beat historical average" in r for r in verdict.reasons)


def test_a_target_never_observed_gets_a_baseline_or_keeps_what_it_has() -> None:
    unseen = _scored({"joint": 1.0, "persistence": 2.0, "champion": 1.0}, good=False)
    (verdict,) = verdicts(unseen)
    assert verdict.published == "persistence"
    assert "no observation" in verdict.reasons[0]
    (verdict,) = verdicts(unseen, candidate="new", incumbent=_incumbent())
    assert (verdict.published, verdict.model_id) == ("joint", "old")


def test_an_interval_that_covers_too_little_keeps_the_joint_model_back() -> None:
    (verdict,) = verdicts(_scored({"joint": 1.0, **BASELINES}, width=0.3))
    assert verdict.published == "ridge"
    failed = [check for check in verdict.checks if not check.passed]
    assert [check.name for check in failed] == ["calibrated at 80 %", "calibrated at 90 %"]
    assert failed[0].value == pytest.approx(0.3, abs=0.03)


def test_a_better_candidate_takes_the_champions_place_with_significance() -> None:
    (verdict,) = verdicts(_scored({"joint": 1.0, "champion": 1.15, **BASELINES}), candidate="new", incumbent=_incumbent())
    assert (verdict.published, verdict.model_id) == ("joint", "new")
    (better,) = (check for check in verdict.checks if check.name == "better than the champion")
    assert better.value is not None
    assert better.value < 0.01
    assert "95 % interval" in better.text
    assert verdict.checks[-1].name == "groups within the margin"


def test_a_candidate_that_is_only_as_good_leaves_the_champion_where_it_is() -> None:
    (verdict,) = verdicts(_scored({"joint": 1.0, "champion": 1.0, **BASELINES}), candidate="new", incumbent=_incumbent())
    assert (verdict.published, verdict.model_id) == ("joint", "old")
    assert any("not surely better" in reason for reason in verdict.reasons)


def test_two_days_are_too_few_to_take_the_champions_place() -> None:
    few = _scored({"joint": 1.0, "champion": 1.5, **BASELINES}, days=2)
    (verdict,) = verdicts(few, candidate="new", incumbent=_incumbent())
    assert verdict.model_id == "old"
    assert any("2 days are too few" in reason for reason in verdict.reasons)


def test_a_candidate_worse_in_one_region_is_kept_back_and_the_region_and_leads_are_named() -> None:
    uneven = _scored({"joint": 1.0, "champion": 1.3, **BASELINES}, south={"joint": 1.2, "champion": 0.8})
    (verdict,) = verdicts(uneven, candidate="new", incumbent=_incumbent())
    assert verdict.model_id == "old"
    worse = [check for check in verdict.checks if check.name == "group within the margin"]
    assert len(worse) == 3
    assert all("south, leads" in check.text and (check.value or 0) > 0.05 for check in worse)
    lenient = PromotionRules(margin=0.5)
    assert verdicts(uneven, lenient, candidate="new", incumbent=_incumbent())[0].model_id == "new"


def test_a_champion_that_loses_to_a_baseline_beyond_doubt_gives_way_to_it() -> None:
    lost = _scored({"joint": 2.0, "champion": 2.0, **BASELINES})
    (verdict,) = verdicts(lost, candidate="new", incumbent=_incumbent())
    assert (verdict.published, verdict.model_id) == ("ridge", "new")
    assert "loses to ridge" in verdict.reasons[-1]


def test_a_champion_that_cannot_be_compared_is_named_and_does_not_hold_a_good_candidate_back() -> None:
    champion = _incumbent(not_comparable={"traffic": "model old does not fit these cubes"})
    (verdict,) = verdicts(_scored({"joint": 1.0, **BASELINES}), candidate="new", incumbent=champion)
    assert (verdict.published, verdict.model_id) == ("joint", "new")
    assert any("not comparable with champion old: model old does not fit" in reason for reason in verdict.reasons)


def test_a_candidate_trained_without_a_domain_that_the_champion_knows_is_kept_back() -> None:
    champion = _incumbent(domains=frozenset({"traffic", "weather"}))
    better = _scored({"joint": 1.0, "champion": 1.15, **BASELINES})
    (verdict,) = verdicts(better, candidate="new", incumbent=champion, domains=frozenset({"traffic"}))
    assert verdict.model_id == "old"
    assert any("trained without weather" in reason for reason in verdict.reasons)
    assert verdicts(better, candidate="new", incumbent=champion, domains=champion.domains)[0].model_id == "new"


def test_a_target_that_was_not_scored_keeps_its_champion() -> None:
    found = verdicts(_scored({"joint": 1.0, "champion": 1.5, **BASELINES}), candidate="new", incumbent=_incumbent(targets=2))
    assert [(v.variable, v.model_id) for v in found] == [("count_0", "new"), ("count_1", "old")]


def test_luck_in_one_of_many_targets_is_not_enough() -> None:
    luck = 0
    for targets in (1, 20):
        scored = _scored({"joint": 1.0, "champion": 1.0, **BASELINES}, targets=targets)
        found = verdicts(scored, candidate="new", incumbent=_incumbent(targets=targets))
        p = [mae_difference(scored, "traffic", v.variable, "joint", "champion") for v in found]
        luck += sum(d is not None and d.value < 0 and (d.p or 1) < 0.05 for d in p)
        assert {v.model_id for v in found} == {"old"}
    assert luck > 0


def test_the_interval_of_a_clear_difference_excludes_zero_and_is_repeatable() -> None:
    statistics = _scored({"joint": 1.0, "ridge": 1.5})
    first = mae_difference(statistics, "traffic", "count_0", "joint", "ridge")
    assert first is not None
    assert first.high is not None
    assert first.low is not None
    assert first.low <= first.value <= first.high < 0
    assert first.first - first.second == pytest.approx(first.value)
    assert first == mae_difference(statistics, "traffic", "count_0", "joint", "ridge")


def test_two_days_are_too_few_for_an_interval() -> None:
    found = mae_difference(_scored({"joint": 1.0, "ridge": 1.5}, days=2), "traffic", "count_0", "joint", "ridge")
    assert found is not None
    assert (found.low, found.high, found.p, found.days) == (None, None, None, 2)


def test_only_days_that_both_were_scored_on_are_compared_and_never_other_observations() -> None:
    statistics = _scored({"joint": 1.0}) + _scored({"ridge": 1.5}, days=4)
    with pytest.raises(ContractError, match="different observations"):
        mae_difference(_scored({"joint": 1.0}) + _scored({"ridge": 1.5}, good=False), "traffic", "count_0", "joint", "ridge")
    found = mae_difference(statistics, "traffic", "count_0", "joint", "ridge")
    assert found is not None
    assert found.days == 4


def test_skill_is_the_share_of_error_saved() -> None:
    assert skill(0.75, 1.0) == 0.25
    assert skill(1.0, 0.0) is None

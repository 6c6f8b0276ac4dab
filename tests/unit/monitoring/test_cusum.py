from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pipeline.contracts.alerts import MonitoringRules
from pipeline.monitoring.cusum import cusum, limit_for, run_length, standardised, usual_spread
from pipeline.monitoring.outcomes import Daily, Promised, residual_findings, skill_findings

RULES = MonitoringRules()


def test_a_series_that_drifts_nowhere_rarely_reaches_a_limit_and_the_run_length_says_how_rarely() -> None:
    random, limit = np.random.default_rng(1), 4.0
    lengths = []
    for _ in range(300):
        total, steps = 0.0, 0
        while total <= limit:
            total, steps = max(0.0, total + float(random.normal()) - 0.5), steps + 1
        lengths.append(steps)
    assert np.mean(lengths) == pytest.approx(run_length(limit), rel=0.2)


def test_more_series_and_fewer_false_alarms_ask_for_a_higher_limit() -> None:
    limits = [limit_for(n, steps_a_year=365, false_alarms=a) for n, a in ((1, 1.0), (1000, 1.0), (1000, 0.1))]
    assert limits == sorted(limits)
    assert run_length(limits[1]) == pytest.approx(2 * 1000 * 365, rel=0.01)


def test_the_sum_tells_the_side_and_when_it_began() -> None:
    z = np.r_[np.zeros(20), np.full(15, -1.5)]
    found = cusum(z)
    assert (found.upward, found.begin, found.height) == (False, 20, pytest.approx(15.0))


def test_one_terrible_day_is_no_drift() -> None:
    z = np.zeros(40)
    z[30] = 50
    assert cusum(z).height < limit_for(10, steps_a_year=365, false_alarms=1)


def test_neighbours_that_are_alike_count_less_and_a_shift_does_not_widen_the_spread() -> None:
    random = np.random.default_rng(2)
    own = random.normal(size=400)
    walk = np.array([own[max(0, i - 3) : i + 1].mean() * 2 for i in range(400)])
    assert np.std(standardised(walk, expected=0, spread=float(np.std(walk)))) < 0.7
    stepped = own + np.r_[np.zeros(200), np.full(200, 20)]
    assert usual_spread(stepped) == pytest.approx(1.0, abs=0.15)


def daily(seed: int, days: int = 40, *, region: str = "north", grows: float = 1.0, aside: float = 0.0, since: int = 25) -> Daily:
    random = np.random.default_rng(seed)
    n = np.full(days, 200.0)
    later = np.arange(days) >= since
    mae = np.where(later, grows, 1.0) * (2 + random.normal(0, 0.25, days))
    bias = np.where(later, aside, 0.0) + random.normal(0, 0.3, days)
    return Daily(
        domain="road",
        variable="speed",
        region=region,
        unit="km/h",
        day_D=np.arange(days) + 19_000,
        n_D=n,
        error_D=n * bias,
        absolute_D=n * mae,
        inside_D={"80": n * 0.8, "90": n * 0.9},
        rivals_D={"ridge": n * 2.4},
    )


def promised() -> Promised:
    return Promised(mae=2.0, bias=0.0, inside={"80": 0.8, "90": 0.9}, mae_D=2 + np.random.default_rng(9).normal(0, 0.25, 20))


def test_residuals_that_drift_are_found_in_their_region_with_the_day_and_quiet_ones_are_not() -> None:
    rows = {("road", "speed", f"r{k}"): daily(k, region=f"r{k}") for k in range(40)}
    rows["road", "speed", "bad"] = daily(70, region="bad", aside=1.2)
    rows["road", "speed", "worse"] = daily(71, region="worse", grows=1.5)
    found = residual_findings(rows, dict.fromkeys(rows, promised()), RULES)
    assert {f.key for f in found} == {"drifted_residuals/road/speed/bad", "drifted_residuals/road/speed/worse"}
    assert all(f.since is not None and 19_022 <= f.since // 86400 <= 19_027 for f in found)
    assert "to one side" in next(f.text for f in found if f.subject == "bad")


def test_what_the_scorecard_promised_is_held_against_the_newest_days() -> None:
    quiet = daily(1)
    assert list(skill_findings(quiet, promised(), RULES)) == []
    worse = daily(1, grows=1.8, since=30)
    assert {(f.rule, f.level) for f in skill_findings(worse, promised(), RULES)} == {("error_grown", "warn"), ("skill_lost", "warn")}
    far = daily(1, grows=4, since=30)
    assert ("error_grown", "block") in {(f.rule, f.level) for f in skill_findings(far, promised(), RULES)}
    narrow = replace(quiet, inside_D={"80": quiet.n_D * 0.6, "90": quiet.n_D * 0.88})
    (found,) = skill_findings(narrow, promised(), RULES)
    assert (found.rule, found.subject, round(found.number, 2)) == ("coverage_off", "80 % interval", 0.6)


def test_a_few_days_are_no_judgement() -> None:
    few = daily(1, days=3, grows=5, since=0)
    assert list(skill_findings(few, promised(), RULES)) == []
    assert residual_findings({("road", "speed", ""): few}, {("road", "speed", ""): promised()}, RULES) == []


def test_five_days_of_one_station_that_differ_widely_are_no_judgement_and_five_alike_are() -> None:
    quiet = daily(1)
    poor = np.r_[np.full(35, 0.8), 0.1, 0.9, 0.2, 0.9, 0.4]
    same = np.r_[np.full(35, 0.8), np.full(5, 0.5)]
    assert list(skill_findings(replace(quiet, inside_D={"80": quiet.n_D * poor}), promised(), RULES)) == []
    assert len(list(skill_findings(replace(quiet, inside_D={"80": quiet.n_D * same}), promised(), RULES))) == 1
    heavy = replace(quiet, absolute_D=quiet.n_D * np.r_[np.full(35, 2.0), 1, 9, 1, 8, 2])
    assert [f.rule for f in skill_findings(heavy, promised(), RULES)] == []


def test_intervals_that_now_hold_what_they_say_are_no_fault_though_they_held_less_at_the_promotion() -> None:
    quiet, narrow = daily(1), replace(promised(), inside={"80": 0.65, "90": 0.7})
    assert list(skill_findings(quiet, narrow, RULES)) == []

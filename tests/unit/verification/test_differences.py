from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import t

from pipeline.verification.differences import against_all, difference_rows
from pipeline.verification.scoring import score_windows
from pipeline.verification.significance import benjamini_hochberg, holm
from pipeline.verification.statistics import Axis, Statistics

AXIS = Axis(variables=("flow", "speed"), units=("count", "km/h"), lead_times=(900, 1800))


def scored(model: str, errors: tuple[float, float], *, days: int = 12) -> Statistics:
    random = np.random.default_rng(len(model))
    shape = (4 * days, 2, 5, 2)
    truth = np.random.default_rng(7).normal(20, 3, shape).astype(np.float32)
    middle = truth + (np.array(errors) * random.choice([-1, 1], shape)).astype(np.float32)
    spread = np.array([-1.6, -1.3, -0.7, 0, 0.7, 1.3, 1.6], np.float32)
    return score_windows(
        domain="road",
        axis=AXIS,
        model=model,
        issue_time_W=np.arange(shape[0]) * 21600,
        truth_WLNV=truth,
        good_WLNV=np.ones(shape, bool),
        quantiles_WLNVQ=middle[..., None] + spread,
    )


def test_every_target_is_held_against_every_rival_and_p_values_are_adjusted_over_all_of_them() -> None:
    statistics = scored("joint", (1.0, 2.0)) + scored("persistence", (1.5, 2.0)) + scored("ridge", (0.8, 2.1))
    found = against_all(statistics, "joint", ("persistence", "ridge", "absent"))
    assert [(row.variable, row.rival) for row in found] == [(v, r) for v in ("flow", "speed") for r in ("persistence", "ridge")]
    assert [row.value for row in found] == pytest.approx([-0.5, 0.2, 0.0, -0.1], abs=1e-5)
    p = [float(row.p or 0.0) for row in found]
    assert [row.p_holm for row in found] == list(holm(p))
    assert [row.p_bh for row in found] == list(benjamini_hochberg(p))


def test_intervals_of_all_comparisons_are_those_of_one_at_a_fourth_of_the_error() -> None:
    statistics = scored("joint", (1.0, 2.0)) + scored("persistence", (1.5, 2.0)) + scored("ridge", (0.8, 2.1))
    for row in against_all(statistics, "joint", ("persistence", "ridge")):
        low, high = row.value + row.error * t.ppf([0.05 / 4 / 2, 1 - 0.05 / 4 / 2], row.days - 1)
        assert (row.all_low, row.all_high) == pytest.approx((low, high))
        assert row.all_low < row.dm_low < row.value < row.dm_high < row.all_high


def test_what_was_published_is_no_rival_of_the_joint_model_but_everything_else_is() -> None:
    statistics = Statistics.added(scored(name, (1.0, 2.0)) for name in ("joint", "published", "champion", "ridge", "boosted_trees"))
    assert [row.rival for row in difference_rows(statistics)] == ["ridge", "boosted_trees", "champion"] * 2


def test_days_that_were_not_scored_alike_are_left_out() -> None:
    late = scored("ridge", (2, 2), days=4)
    both = scored("joint", (1, 1), days=12) + late
    assert [row.days for row in against_all(both, "joint", ("ridge",))] == [4, 4]
    assert [row.days for row in against_all(both + late, "joint", ("ridge",))] == []


def test_too_few_days_say_nothing() -> None:
    found = against_all(scored("joint", (1, 1), days=2) + scored("ridge", (2, 2), days=2), "joint", ("ridge",))
    assert [(row.p, row.p_holm, row.p_bh, row.dm_low, row.all_low) for row in found] == [(None,) * 5] * 2


def test_fewer_days_than_three_horizons_say_nothing() -> None:
    random = np.random.default_rng(1)
    axis = replace(AXIS, lead_times=(4 * 86400, 5 * 86400))

    def wide(model: str, error: float, days: int) -> Statistics:
        shape = (days, 2, 5, 2)
        middle = (error * random.normal(0, 1, shape)).astype(np.float32)
        return score_windows(
            domain="road",
            axis=axis,
            model=model,
            issue_time_W=np.arange(days) * 86400,
            truth_WLNV=np.zeros(shape, np.float32),
            good_WLNV=np.ones(shape, bool),
            quantiles_WLNVQ=np.repeat(middle[..., None], 7, axis=-1),
        )

    short, long = (against_all(wide("joint", 1, n) + wide("ridge", 2, n), "joint", ("ridge",))[0] for n in (14, 15))
    assert (short.low, short.dm_low, short.p) == (None, None, None)
    assert long.p is not None
    assert long.low is not None
    assert long.low < long.value < (long.high or 0.0) + 1

from __future__ import annotations

import numpy as np
import pytest
import scoringrules

from pipeline.contracts.forecasts import MEDIAN, QUANTILES
from pipeline.errors import ContractError
from pipeline.verification.metrics import score_rows
from pipeline.verification.scoring import score_windows
from pipeline.verification.statistics import Axis, Statistics

AXIS = Axis(variables=("count", "speed"), units=("1", "km/h"), lead_times=(300, 600, 900))


def _statistics(seed: int = 0, windows: int = 30) -> tuple[Statistics, np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    truth = random.gamma(2, 10, (windows, 3, 11, 2)).astype(np.float32)
    good = random.random(truth.shape) < 0.7
    quantiles = np.sort(random.gamma(2, 10, (*truth.shape, len(QUANTILES))), axis=-1).astype(np.float32)
    issue = np.arange(windows, dtype=np.int64) * 7200
    shown = np.where(good, truth, np.float32(np.nan))
    found = score_windows(
        domain="traffic", axis=AXIS, model="joint", issue_time_W=issue, truth_WLNV=shown, good_WLNV=good, quantiles_WLNVQ=quantiles
    )
    return found, truth.astype(float), good, quantiles.astype(float)


def test_scores_equal_plain_formulas_and_scoringrules() -> None:
    found, truth, good, quantiles = _statistics()
    rows = {(r.variable, r.lead): r for r in score_rows(found)}
    for v, variable in enumerate(AXIS.variables):
        for lead in range(4):
            leads = slice(None) if lead == 0 else slice(lead - 1, lead)
            mask = good[:, leads, :, v]
            y, q = truth[:, leads, :, v][mask], quantiles[:, leads, :, v][mask]
            row = rows[variable, lead]
            error = q[:, MEDIAN] - y
            assert row.n == mask.sum()
            assert row.expected == mask.size == row.n + row.missing
            assert row.mae == pytest.approx(np.abs(error).mean(), rel=1e-10)
            assert row.rmse == pytest.approx(np.sqrt((error**2).mean()), rel=1e-10)
            assert row.bias == pytest.approx(error.mean(), abs=1e-9)
            pinball = np.mean([scoringrules.quantile_score(y, q[:, i], level).mean() for i, level in enumerate(QUANTILES)])
            assert row.pinball == pytest.approx(pinball, rel=1e-9)
            assert row.coverage_80 == pytest.approx(((q[:, 1] <= y) & (y <= q[:, 5])).mean())
            assert row.coverage_90 == pytest.approx(((q[:, 0] <= y) & (y <= q[:, 6])).mean())


def test_a_target_without_observations_has_counts_and_no_scores() -> None:
    found = score_windows(
        domain="traffic",
        axis=AXIS,
        model="joint",
        issue_time_W=np.zeros(1, np.int64),
        truth_WLNV=np.full((1, 3, 4, 2), np.nan, np.float32),
        good_WLNV=np.zeros((1, 3, 4, 2), bool),
        quantiles_WLNVQ=np.zeros((1, 3, 4, 2, 7), np.float32),
    )
    rows = score_rows(found)
    assert all(r.n == 0 and r.mae is None and r.pinball is None and r.missing == r.expected > 0 for r in rows)


def test_a_quantile_that_is_nan_is_refused_and_not_skipped() -> None:
    quantiles = np.zeros((1, 3, 4, 2, 7), np.float32)
    quantiles[0, 1, 2, 0, 3] = np.nan
    with pytest.raises(ContractError, match="NaN"):
        score_windows(
            domain="traffic",
            axis=AXIS,
            model="joint",
            issue_time_W=np.zeros(1, np.int64),
            truth_WLNV=np.zeros((1, 3, 4, 2), np.float32),
            good_WLNV=np.ones((1, 3, 4, 2), bool),
            quantiles_WLNVQ=quantiles,
        )


def test_statistics_of_other_leads_are_not_added() -> None:
    found, *_ = _statistics()
    other = Statistics(axes={"traffic": Axis(variables=AXIS.variables, units=AXIS.units, lead_times=(1, 2, 3))}, sums={})
    with pytest.raises(ContractError, match="traffic"):
        found + other

"""The fused path equals the exact one to 1e-12, whoever computes it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.verification.cells import CELLS
from pipeline.verification.fused import SUMS, fused_figures, fused_sums
from pipeline.verification.metrics import score_rows
from pipeline.verification.scoring import score_windows
from pipeline.verification.statistics import Axis


def made(seed: int, windows: int = 6, leads: int = 3, nodes: int = 40) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    truth = random.normal(20, 8, (windows, leads, nodes)).astype(np.float32)
    quantiles = np.sort(random.normal(20, 8, (windows, leads, nodes, 7)), axis=-1).astype(np.float32)
    truth[random.random(truth.shape) < 0.2] = np.nan
    truth[:, 0, 0] = quantiles[:, 0, 0, 3]
    return truth, quantiles


def plain(truth: np.ndarray, quantiles: np.ndarray) -> tuple[np.ndarray, dict[int, dict[str, float]]]:
    axis = Axis(variables=("flow",), units=("count",), lead_times=tuple(900 * (k + 1) for k in range(truth.shape[1])))
    statistics = score_windows(
        domain="road",
        axis=axis,
        model="m",
        issue_time_W=np.arange(len(truth)) * 900,
        truth_WLNV=truth[..., None],
        good_WLNV=np.isfinite(truth)[..., None],
        quantiles_WLNVQ=quantiles[:, :, :, None],
    )
    at = [CELLS.index(name) for name in SUMS]
    return statistics.total("road", "m")[0][:, at], {row.lead: row.model_dump() for row in score_rows(statistics)}


@pytest.mark.parametrize("by", ["numba", "numpy"])
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_one_reading_gives_the_sums_and_the_figures_of_the_exact_path(by, seed) -> None:
    if by == "numba":
        pytest.importorskip("numba")
    truth, quantiles = made(seed)
    exact_LS, rows = plain(truth, quantiles)
    sums = fused_sums(truth.reshape(-1, 40), quantiles.reshape(-1, 40, 7), by=by).reshape(6, 3, -1).sum(axis=0)
    size = np.maximum(exact_LS[:, [SUMS.index("absolute")]], 1)
    assert (np.abs(sums - exact_LS) <= 1e-12 * np.maximum(size, np.abs(exact_LS))).all()
    for lead in range(3):
        for name, value in fused_figures(sums[lead]).items():
            assert value == pytest.approx(rows[lead + 1][name], rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("by", ["numba", "numpy"])
def test_a_cell_without_an_observation_or_without_a_forecast_is_not_counted(by) -> None:
    if by == "numba":
        pytest.importorskip("numba")
    truth, quantiles = made(1)
    quantiles[0, 0, :5] = np.nan
    sums = fused_sums(truth[0], quantiles[0], by=by)
    assert np.isfinite(sums).all()
    assert sums[0, 0] == np.isfinite(truth[0, 0, 5:]).sum()
    none = fused_sums(np.full((1, 4), np.nan, np.float32), np.zeros((1, 4, 7), np.float32), by=by)[0]
    assert fused_figures(none) == dict.fromkeys(("mae", "rmse", "bias", "pinball"))

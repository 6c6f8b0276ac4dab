"""How a model fares with each modality switched off: one trained model serves every outage, and this says at what price."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pipeline.contracts.forecasts import MEDIAN
from pipeline.contracts.windows import WindowSet
from pipeline.verification.evaluation import batches_of, truth_of

if TYPE_CHECKING:
    from models.api import Predictor

_WINDOWS = 96


def outages(
    windows: WindowSet, domain: str, model: Predictor, observed_TNV: NDArray[np.float32], index_W: NDArray[np.int64]
) -> dict[str, dict[str, dict[str, float]]]:
    """Per modality and target the mean absolute error with it and without it, on up to 96 windows evenly spread over those given."""
    told = model.modalities(domain)
    if not told or not len(index_W):
        return {}
    view = windows.domains[domain]
    chosen = index_W[np.unique(np.linspace(0, len(index_W) - 1, min(_WINDOWS, len(index_W))).astype(np.int64))]
    ways: dict[str, tuple[str, ...]] = {"": (), **{name: (name,) for name in told}}
    error, cells = {name: np.zeros(len(view.targets)) for name in ways}, np.zeros(len(view.targets))
    for batch_W in batches_of(view, chosen):
        truth = truth_of(view, observed_TNV, batch_W)
        cells += truth.good_WLNV.sum((0, 1, 2))
        for name, without in ways.items():
            median = model.predict(windows, domain, batch_W, split=False, without=without).quantiles_BLNVQ[..., MEDIAN]
            away = np.where(truth.good_WLNV, np.abs(median - truth.values_WLNV), 0)
            error[name] += away.sum((0, 1, 2), dtype=np.float64)
    found: dict[str, Any] = {}
    for name in told:
        pairs = zip(view.targets, error[""] / np.maximum(cells, 1), error[name] / np.maximum(cells, 1), cells, strict=True)
        found[name] = {view.variables[v]: {"mae": float(with_it), "mae_without": float(out)} for v, with_it, out, n in pairs if n}
    return found

"""How far a domain strays from its anchor: where the spread of an untrained model starts.

Shape suffixes: B window, L lead, N node, V target variable, Q quantile.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.gather import Gatherer
from models.losses import target_change
from models.shapes import DomainShape
from pipeline.contracts.forecasts import MEDIAN, QUANTILES

_CELLS = 200_000
_ROWS = 16384
_LEAST = 1e-3


def usual_steps(gatherer: Gatherer, shape: DomainShape, train_W: NDArray[np.int64]) -> Tensor:
    """(L, V, Q without the median): steps between the quantiles of the change from the anchor in training windows."""
    nodes, v = len(shape.node_ids), shape.target_places
    chosen = train_W[np.unique(np.linspace(0, len(train_W) - 1, max(1, min(len(train_W), _CELLS // nodes))).astype(np.int64))]
    size, changes = max(1, _ROWS // nodes), []
    for start in range(0, len(chosen), size):
        batch = gatherer.batch(chosen[start : start + size])
        came, usable = target_change(batch.y_BLNV[..., v], batch.good_BLNV[..., v], batch.anchor_BLNV[..., v], batch.unit_BNV[..., v])
        changes.append(came.masked_fill(~usable, torch.nan).cpu().numpy())
    change_BLNV = np.concatenate(changes)
    steps = np.full((shape.horizon, len(shape.targets), len(QUANTILES) - 1), 0.3, np.float32)
    for lead in range(steps.shape[0]):
        for place in range(steps.shape[1]):
            cells = change_BLNV[:, lead, :, place]
            cells = cells[np.isfinite(cells)]
            if len(cells):
                steps[lead, place] = _steps(np.quantile(cells, QUANTILES))
    return torch.from_numpy(steps)


def _steps(quantile_Q: NDArray[np.float64]) -> NDArray[np.float64]:
    away = np.concatenate([np.minimum(quantile_Q[:MEDIAN], 0), [0.0], np.maximum(quantile_Q[MEDIAN + 1 :], 0)])
    steps: NDArray[np.float64] = np.maximum(np.diff(away), _LEAST)
    return steps

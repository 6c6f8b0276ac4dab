"""Ridge regression on lags, closed form: one regression per variable and lead, pooled over nodes.

Shape suffixes: B window, L lead, N node, V variable, R row (window x node), F feature.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.batch import Batch
from models.gather import Gatherer
from models.points import batches

Array = NDArray[Any]

_CELLS = 600_000
_RIDGE = 1e-3


class Ridge:
    """Change from the newest value, linear in what the window sees of the same variable.

    Features are differences from the newest value, in units of the batch: context, coarse means, and the history at the
    lead; what is absent is 0, no difference. Besides a constant, and the newest value itself where not relative.

    Attributes:
        weight_LVF: float32 weights.
    """

    def __init__(self, weight_LVF: Array) -> None:
        self.weight_LVF = weight_LVF

    @staticmethod
    def fitted(gatherer: Gatherer, train: NDArray[np.int64]) -> Ridge:
        """The regression on the training fold: float64 normal equations, summed batch by batch."""
        domain = gatherer.domain
        leads, variables = domain.horizon, len(domain.variables)
        size = 2 + domain.context + domain.coarse_count + len(domain.history_names)
        gram, right = np.zeros((leads, variables, size, size)), np.zeros((leads, variables, size))
        for _, batch in batches(gatherer, train, _CELLS):
            unit = np.maximum(batch.unit_BNV.numpy(), 1e-12)
            good = batch.good_BLNV.numpy() & (batch.unit_BNV.numpy() > 0)[:, None]
            change = np.where(good, (batch.y_BLNV.numpy() - batch.base_BNV.numpy()[:, None]) / unit[:, None], 0)
            for v in range(variables):
                still = still_features(gatherer, batch, v)
                for lead in range(leads):
                    x = np.concatenate([still, moving_features(batch, v, lead)], -1)[good[:, lead, :, v]].astype(np.float64)
                    gram[lead, v] += x.T @ x
                    right[lead, v] += x.T @ change[:, lead, :, v][good[:, lead, :, v]]
        scale = np.einsum("lvff->lvf", gram)
        gram += np.eye(size) * (_RIDGE * scale.mean(-1)[..., None, None] / size + 1e-6)
        return Ridge(np.linalg.solve(gram, right[..., None])[..., 0].astype(np.float32))

    def point(self, gatherer: Gatherer, batch: Batch, index_W: NDArray[np.int64]) -> Array:
        """(B, L, N, V) scaled."""
        result = np.empty(tuple(batch.y_BLNV.shape), np.float32)
        base, unit = batch.base_BNV.numpy(), batch.unit_BNV.numpy()
        for v in range(result.shape[-1]):
            still = still_features(gatherer, batch, v)
            split = still.shape[-1]
            for lead in range(result.shape[1]):
                weight = self.weight_LVF[lead, v]
                change = still @ weight[:split] + moving_features(batch, v, lead) @ weight[split:]
                result[:, lead, :, v] = base[..., v] + change * unit[..., v]
        return result

    def arrays(self) -> dict[str, Array]:
        """What was fitted, by name."""
        return {"weight_LVF": self.weight_LVF}


def still_features(gatherer: Gatherer, batch: Batch, v: int) -> Array:
    """(B, N, F) features that are the same at every lead."""
    base, unit = batch.base_BNV.numpy()[..., v], np.maximum(batch.unit_BNV.numpy()[..., v], 1e-12)
    level = np.where(gatherer.domain.scaler.relative_NV[:, v] > 0, 0, base)
    context = _difference(batch.context.x_BCNV.numpy()[..., v], batch.context.seen_BCNV.numpy()[..., v], base, unit)
    coarse = _difference(batch.coarse_BJNV.numpy()[..., v], batch.coarse_good_BJNV.numpy()[..., v], base, unit)
    return np.concatenate([np.ones_like(base)[..., None], level[..., None], context, coarse], -1)


def moving_features(batch: Batch, v: int, lead: int) -> Array:
    """(B, N, K) features of one lead."""
    base, unit = batch.base_BNV.numpy()[..., v], np.maximum(batch.unit_BNV.numpy()[..., v], 1e-12)
    history, good = batch.history_BLNVK.numpy()[:, lead, :, v], batch.history_good_BLNVK.numpy()[:, lead, :, v]
    return np.where(good, (history - base[..., None]) / unit[..., None], 0)


def _difference(x_BJN: Array, good_BJN: Array, base_BN: Array, unit_BN: Array) -> Array:
    change = np.where(good_BJN, (x_BJN - base_BN[:, None]) / unit_BN[:, None], 0)
    return np.moveaxis(change, 1, -1)

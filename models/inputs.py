"""What the branches read, made from a gathered batch: changes for relative variables, values for all others.

Shape suffixes: B window, C context step, N node, V variable, X channel (values, then masks), F feature.
"""

from __future__ import annotations

import torch
from torch import Tensor

from models.training.gather import Batch, Context

_LARGEST = 30.0
"""Scaled inputs beyond this are cut: no single reading may carry a forecast away."""


def levelled(values: Tensor, good: Tensor, base: Tensor, unit: Tensor, relative_NV: Tensor) -> Tensor:
    """Values as the model reads them: (value - base) / unit for relative variables; 0 where not good."""
    change = (values - base) / unit.clamp(min=1e-12)
    return torch.where(relative_NV > 0, change, values).masked_fill(~good, 0).clamp(-_LARGEST, _LARGEST)


def context_channels(context: Context, base: Tensor, unit: Tensor, relative_NV: Tensor) -> Tensor:
    """(B, N, 2V, C)."""
    x = levelled(context.x_BCNV, context.seen_BCNV, base[:, None], unit[:, None], relative_NV)
    return torch.cat([x.permute(0, 2, 3, 1), context.seen_BCNV.permute(0, 2, 3, 1).to(x.dtype)], 2)


def flat_features(batch: Batch, channels_BNXC: Tensor, relative_NV: Tensor) -> Tensor:
    """(B, N, F): context, coarse means, history at the targets, their masks, and the age of the newest value."""
    base, unit = batch.base_BNV, batch.unit_BNV
    coarse = levelled(batch.coarse_BJNV, batch.coarse_good_BJNV, base[:, None], unit[:, None], relative_NV)
    history = levelled(
        batch.history_BLNVK, batch.history_good_BLNVK, base[:, None, :, :, None], unit[:, None, :, :, None], relative_NV[:, :, None]
    )
    share = batch.history_good_BLNVK.to(coarse.dtype).mean(1)
    age = batch.context.age_BNV / batch.context.x_BCNV.shape[1]
    return torch.cat(
        [
            channels_BNXC.flatten(2),
            coarse.permute(0, 2, 3, 1).flatten(2),
            batch.coarse_good_BJNV.to(coarse.dtype).permute(0, 2, 3, 1).flatten(2),
            history.permute(0, 2, 3, 4, 1).flatten(2),
            share.flatten(2),
            age,
        ],
        -1,
    )


def feature_count(context: int, horizon: int, variables: int, coarse: int, history: int) -> int:
    """F of `flat_features`."""
    return variables * (2 * context + 2 * coarse + history * horizon + history + 1)

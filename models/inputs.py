"""What the branches read, made from a gathered batch: changes for relative variables, values for all others.

Shape suffixes: B window, C context step, N node, V variable, X channel (values, then masks), F feature.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from models.batch import Batch, Context

_LARGEST = 30.0
"""Scaled inputs beyond this are cut: no single reading may carry a forecast away."""


def levelled(values: Tensor, good: Tensor, base: Tensor, unit: Tensor, relative: Tensor | None) -> Tensor:
    """Values as the model reads them: (value - base) / unit for relative variables; 0 where not good.

    Args:
        values: 0 where not good, as gathered.
        good: Their mask.
        base: The newest value, broadcast.
        unit: The size of a change, broadcast.
        relative: Which variables are relative, broadcast; None where none is.
    """
    if relative is not None:
        change = ((values - base) / unit.clamp(min=1e-12)).masked_fill(~good, 0)
        values = torch.where(relative, change, values)
    return values.clamp(-_LARGEST, _LARGEST)


def context_channels(context: Context, base: Tensor, unit: Tensor, relative_NV: Tensor | None) -> Tensor:
    """(B, N, 2V, C)."""
    x = levelled(context.x_BCNV, context.seen_BCNV, base[:, None], unit[:, None], relative_NV)
    return joined([x.permute(0, 2, 3, 1), context.seen_BCNV.permute(0, 2, 3, 1)], 2)


def flat_features(batch: Batch, channels_BNXC: Tensor, relative_NV: Tensor | None) -> Tensor:
    """(B, N, F): context, coarse means, history at the targets, their masks, and the age of the newest value."""
    base, unit = batch.base_BNV, batch.unit_BNV
    coarse = levelled(batch.coarse_BJNV, batch.coarse_good_BJNV, base[:, None], unit[:, None], relative_NV)
    of_history = None if relative_NV is None else relative_NV[..., None]
    history = levelled(batch.history_BLNVK, batch.history_good_BLNVK, base[:, None, :, :, None], unit[:, None, :, :, None], of_history)
    share = batch.history_good_BLNVK.sum(1) / batch.history_good_BLNVK.shape[1]
    age = batch.context.age_BNV / batch.context.x_BCNV.shape[1]
    return joined(
        [
            channels_BNXC.flatten(2),
            coarse.permute(0, 2, 3, 1).flatten(2),
            batch.coarse_good_BJNV.permute(0, 2, 3, 1).flatten(2),
            history.permute(0, 2, 3, 4, 1).flatten(2),
            share.flatten(2),
            age,
        ],
        2,
    )


def feature_count(context: int, horizon: int, variables: int, coarse: int, history: int) -> int:
    """F of `flat_features`."""
    return variables * (2 * context + 2 * coarse + history * horizon + history + 1)


def joined(parts: Sequence[Tensor], dim: int) -> Tensor:
    """Inputs put together in the precision of the matrix products that will read them, in one copy."""
    device = parts[0].device
    low = torch.is_autocast_enabled(device.type)
    sizes = [p.shape[dim] for p in parts]
    shape = list(parts[0].shape)
    shape[dim] = sum(sizes)
    whole = torch.empty(shape, dtype=torch.get_autocast_dtype(device.type) if low else torch.float32, device=device)
    for part, place in zip(parts, torch.split(whole, sizes, dim), strict=True):
        place.copy_(part)
    return whole

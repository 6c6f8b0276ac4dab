"""Losses in scaled space, masked.

Shape suffixes: B window, L lead, N node, V target variable, Q quantile.
"""

from __future__ import annotations

import torch
from torch import Tensor

from models.joint import Change, quantiles

BEYOND = 0.1
"""Slope that is left to the loss of a median beyond a bound."""


def target_change(y: Tensor, good: Tensor, anchor: Tensor, unit_BNV: Tensor) -> tuple[Tensor, Tensor]:
    """The change that came, in the batch's units, 0 where it is not good; and where it is good and has a unit."""
    usable = good & (unit_BNV > 0)[:, None]
    return ((y - anchor) / unit_BNV[:, None].clamp(min=1e-12)).masked_fill(~usable, 0), usable


def masked_mean(error_BLNV: Tensor, usable_BLNV: Tensor, cells_V: Tensor, weight_V: Tensor) -> Tensor:
    """Weighted mean over variables of each one's mean over its usable cells; 0 where there is none.

    Args:
        error_BLNV: Errors of these windows.
        usable_BLNV: Which of them count.
        cells_V: How many count, in these windows and in those of other processes.
        weight_V: Of the variables.
    """
    per_V = (error_BLNV * usable_BLNV.to(error_BLNV.dtype)).sum((0, 1, 2)) / cells_V.clamp(min=1)
    return (per_V * weight_V).sum() / weight_V.sum().clamp(min=1e-12)


def absolute(change: Change, came: Tensor, usable: Tensor, cells_V: Tensor, weight_V: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Mean absolute error of the median as it is published, no lower than `low` and no higher than `high`.

    A median beyond a bound costs nothing more where the outcome lies at that bound; where it does not, a slope of `BEYOND` is left,
    so that no node stays out there for ever.
    """
    kept = change.median_BLNV.clamp(low, high)
    sloping = kept + BEYOND * (change.median_BLNV - kept) * (came != kept)
    return masked_mean((sloping - came).abs(), usable, cells_V, weight_V)


def pinball(change: Change, came: Tensor, usable: Tensor, cells_V: Tensor, weight_V: Tensor, level_Q: Tensor) -> Tensor:
    """Mean pinball loss of all quantiles around the median, which it leaves alone, on the windows that have a spread."""
    if change.spread_BLNVQ is None:
        return came.new_zeros(())
    count = len(change.spread_BLNVQ)
    q = quantiles(change.median_BLNV[:count].detach(), change.spread_BLNVQ)
    error = came[:count, ..., None] - q
    loss = torch.maximum(level_Q * error, (level_Q - 1) * error).mean(-1)
    return masked_mean(loss, usable[:count], cells_V, weight_V)

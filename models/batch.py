"""A batch of windows, what is around it, and what both derive from what was gathered.

Shape suffixes: B window, C context step, L lead, J coarse mean, K history summary, N node, V variable, F forecast variable,
X channel.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor

from models.documents import Documents

OLDEST_RUN = 8.0
"""Horizons after which a forecast by others counts as no older, and the age of one that is absent."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Context:
    """The newest steps of a domain as known at each issue time; 0 where not seen.

    Attributes:
        x_BCNV, seen_BCNV: Scaled values and whether the window may see them.
        last_BNV, has_BNV: Newest seen value (0 where there is none), and whether there is one.
        age_BNV: Steps from that value to the issue time, at most the context's length + 1.
    """

    x_BCNV: Tensor
    seen_BCNV: Tensor
    last_BNV: Tensor
    has_BNV: Tensor
    age_BNV: Tensor


@dataclass(frozen=True, kw_only=True, eq=False)
class Batch:
    """Windows of the leading domain: what they see and what came. Valid until the next batch is gathered.

    Attributes:
        anchor_BLNV: What an untrained model says: newest seen value (else the newest coarse mean, else the node's usual
            value), or a history summary where the variable is anchored there and has one.
        unit_BNV: The size of a change of 1: 1, or |newest value| * relative for relative variables (0 where unknown).
        time_of_day_B, day_of_week_B: Slots of the first target step.
        y_BLNV, good_BLNV: Scaled targets (0 where not good) and their mask.
        ahead_BNLX: What others had forecast for the targets: values (0 where absent), masks, and the age of the run in
            horizons; None where the domain has none. `ahead_B` is whether anything of it is there.
    """

    context: Context
    history_BLNVK: Tensor
    history_good_BLNVK: Tensor
    coarse_BJNV: Tensor
    coarse_good_BJNV: Tensor
    base_BNV: Tensor
    anchor_BLNV: Tensor
    unit_BNV: Tensor
    time_of_day_B: Tensor
    day_of_week_B: Tensor
    issue_time_B: Tensor
    y_BLNV: Tensor
    good_BLNV: Tensor
    ahead_BNLX: Tensor | None = None
    ahead_B: Tensor | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Around:
    """What the windows of a batch see beside their own domain: the newest steps of other domains, and documents."""

    contexts: Mapping[str, Context]
    documents: Mapping[str, Documents]


def context_of(x_BCNV: Tensor, seen_BCNV: Tensor, seconds_BC: Tensor, step_seconds: int) -> Context:
    """The context of values that are 0 where not seen.

    Args:
        x_BCNV: Values, oldest first.
        seen_BCNV: Their mask.
        seconds_BC: From each step to the issue time.
        step_seconds: Of the domain.
    """
    steps = x_BCNV.shape[1]
    seen = seen_BCNV.view(torch.uint8) if steps < 256 else seen_BCNV.to(torch.int16)
    newest = (seen * torch.arange(1, steps + 1, dtype=seen.dtype, device=seen.device)[:, None, None]).amax(1)
    has = newest > 0
    none_B1 = torch.full_like(seconds_BC[:, :1], steps + 1, dtype=torch.float32)
    age_BC = torch.cat([none_B1, (seconds_BC.float() / step_seconds).clamp(max=float(steps + 1))], 1)
    return Context(
        x_BCNV=x_BCNV,
        seen_BCNV=seen_BCNV,
        last_BNV=x_BCNV.gather(1, (newest - has.to(newest.dtype)).long()[:, None])[:, 0],
        has_BNV=has,
        age_BNV=age_BC.gather(1, newest.flatten(1).long()).view_as(has),
    )


def base_of(last_BNV: Tensor, has_BNV: Tensor, coarse_BJNV: Tensor, coarse_good_BJNV: Tensor, usual_NV: Tensor) -> Tensor:
    """(B, N, V): the newest seen value, else the newest coarse mean, else the node's usual value."""
    base = usual_NV.expand_as(last_BNV)
    for j in reversed(range(coarse_BJNV.shape[1])):
        base = torch.where(coarse_good_BJNV[:, j], coarse_BJNV[:, j], base)
    return torch.where(has_BNV, last_BNV, base)


def anchor_of(base_BNV: Tensor, history_BLNVK: Tensor, history_good_BLNVK: Tensor, anchor: Sequence[int]) -> Tensor:
    """(B, L, N, V): the base, or per variable a history summary (its place in `anchor`, -1: none) where that is good."""
    found = base_BNV[:, None].expand(-1, history_BLNVK.shape[1], -1, -1)
    if max(anchor) < 0:
        return found
    columns = [
        torch.where(history_good_BLNVK[..., v, k], history_BLNVK[..., v, k], found[..., v]) if k >= 0 else found[..., v]
        for v, k in enumerate(anchor)
    ]
    return torch.stack(columns, -1)


def unit_of(base_BNV: Tensor, relative_NV: Tensor) -> Tensor:
    """(B, N, V): the size of a change of 1."""
    return torch.where(relative_NV > 0, base_BNV.abs() * relative_NV, 1.0)


def farthest(limits_2NV: Tensor, anchor_BLNV: Tensor, unit_BNV: Tensor) -> tuple[Tensor, Tensor]:
    """The changes from the anchor, in the batch's units, at which the lowest and the highest value are reached."""
    low, high = ((limit - anchor_BLNV) / unit_BNV[:, None].clamp(min=1e-12) for limit in limits_2NV)
    return low, high


T = TypeVar("T")


def mapped(content: T, change: Callable[[Tensor], Tensor]) -> T:
    """A batch, or what is around it, with every tensor changed."""
    found: Any = content
    if isinstance(content, Tensor):
        found = change(content)
    elif isinstance(content, Mapping):
        found = {name: mapped(value, change) for name, value in content.items()}
    elif is_dataclass(content):
        made: Any = type(content)
        found = made(**{f.name: mapped(getattr(content, f.name), change) for f in fields(content)})
    return found  # type: ignore[no-any-return]

"""Both fusions, literally, and the exact split of a forecast into their terms.

x_fuse = alpha * x_seq + (1 - alpha) * x_space + sum_k w_k * x_mod_k
y = beta * y_seq + (1 - beta) * y_space + sum_k w_k * y_mod_k, with y_space read from the trunk on x_fuse.

Shape suffixes: B window, N node, D hidden, L lead, V variable, K modality.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn


class Fusion(nn.Module):
    """The mixing weights: alpha per node, beta per node and lead, w per modality (and lead), zero at the start."""

    def __init__(self, nodes: int, leads: int, modalities: int) -> None:
        super().__init__()
        self.alpha_logit = nn.Parameter(torch.zeros(nodes))
        self.beta_logit = nn.Parameter(torch.zeros(nodes, leads))
        self.w_x = nn.Parameter(torch.zeros(modalities))
        self.w_y = nn.Parameter(torch.zeros(modalities, leads))

    @property
    def alpha(self) -> Tensor:
        """(N, 1) in (0, 1)."""
        return self.alpha_logit.sigmoid()[:, None]

    @property
    def beta(self) -> Tensor:
        """(L, N, 1) in (0, 1)."""
        return self.beta_logit.sigmoid().t()[:, :, None]

    def terms_x(self, x_seq: Tensor, x_space: Tensor, x_mods: list[Tensor]) -> list[Tensor]:
        """The terms of x_fuse (B, N, D), in order: series, space, each modality."""
        alpha = self.alpha.to(x_seq.dtype)
        mods = [self.w_x[k].to(x.dtype) * x for k, x in enumerate(x_mods)]
        return [alpha * x_seq, (1 - alpha) * x_space, *mods]

    def terms_y(self, y_seq: Tensor, y_space: Tensor, y_mods: list[Tensor]) -> list[Tensor]:
        """The terms of y (B, L, N, V), in order: series, space, each modality."""
        beta = self.beta
        mods = [self.w_y[k][:, None, None] * y for k, y in enumerate(y_mods)]
        return [beta * y_seq, (1 - beta) * y_space, *mods]


def split(terms_x: list[Tensor], terms_y: list[Tensor], beta_LN1: Tensor, space_of: Callable[[Tensor], Tensor]) -> list[Tensor]:
    """Contribution of series, space and each modality to y; together exactly y.

    Each term of x_fuse is credited with what adding it to the terms before it changes in (1 - beta) * y_space, and
    with its own term of y.

    Args:
        terms_x: From `Fusion.terms_x`.
        terms_y: From `Fusion.terms_y`; its space term is not read, since `space_of` gives it term by term.
        beta_LN1: Of the fusion.
        space_of: x_fuse -> y_space.
    """
    parts, before, x = [], torch.zeros(()), torch.zeros(())
    for k, term in enumerate(terms_x):
        x = x + term
        after = (1 - beta_LN1) * space_of(x)
        own = torch.zeros(()) if k == 1 else terms_y[k]
        parts.append(after - before + own)
        before = after
    return parts

"""Temporal branch: a recurrent net over patches of the context, or a linear map over lags.

Shape suffixes: B window, C context step, N node, P patch, R row (window x node), I patch input, D hidden.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from models.config import ModelConfig
from models.layers.attention import SelfAttention, TimeAttention


def patches(x_BNC: Tensor, patch: int) -> Tensor:
    """(P, R, I): consecutive steps grouped by `patch`, oldest first; a short first patch is filled with zeros.

    Args:
        x_BNC: (B, N, X, C) channels X (values, masks) of each step.
        patch: Steps in a patch.
    """
    b, n, channels, steps = x_BNC.shape
    missing = -steps % patch
    if missing:
        x_BNC = nn.functional.pad(x_BNC, (missing, 0))
    count = (steps + missing) // patch
    return x_BNC.reshape(b, n, channels, count, patch).permute(3, 0, 1, 2, 4).reshape(count, b * n, channels * patch)


class TemporalBranch(nn.Module):
    """The context of every node, read in order, each node by itself.

    Args:
        inputs: Channels of one step.
        steps: Steps of the context.
        config: Kind of the cell (or `linear`: one map over all lags), its width, its patches, attention over time.
    """

    def __init__(self, inputs: int, steps: int, config: ModelConfig) -> None:
        super().__init__()
        width, hidden = config.temporal_hidden, config.hidden
        self.patch = min(max(config.patch, -(-steps // config.patches)), steps)
        self.steps, self.kind = steps, config.temporal
        self.mixing: SelfAttention | None = None
        if config.temporal == "linear":
            self.lags = nn.Linear(inputs * steps, hidden)
            return
        cell = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}[config.temporal]
        self.cell = cell(inputs * self.patch, width)
        if config.time_attention == "full":
            self.mixing = SelfAttention(width, config.heads)
        self.attention = TimeAttention(width)
        self.out = nn.Linear(width, hidden)

    def forward(self, x_BNXC: Tensor) -> Tensor:
        """(B, N, D)."""
        b, n = x_BNXC.shape[:2]
        if self.kind == "linear":
            linear: Tensor = self.lags(x_BNXC.flatten(2))
            return linear
        state_PRD, _ = self.cell(patches(x_BNXC, self.patch))
        if self.mixing is not None:
            state_PRD = self.mixing(state_PRD.transpose(0, 1)).transpose(0, 1)
        found: Tensor = self.out(self.attention(state_PRD))
        return found.view(b, n, -1)


class Residual(nn.Module):
    """One residual block of the trunk."""

    def __init__(self, hidden: int, expansion: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(hidden)
        self.widen, self.narrow = nn.Linear(hidden, hidden * expansion), nn.Linear(hidden * expansion, hidden)
        self.drop = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Same shape."""
        inner = torch.nn.functional.relu(self.widen(self.norm(x)))
        found: Tensor = x + self.narrow(self.drop(inner))
        return found

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

    `plain` reads it by plain operations, which batched parameters need; the fused cell gives the same, faster.

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
        self.plain = False
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
        patch_PRI = patches(x_BNXC, self.patch)
        state_PRD = recurrent(self.cell, patch_PRI) if self.plain else self.cell(patch_PRI)[0]
        if self.mixing is not None:
            state_PRD = self.mixing(state_PRD.transpose(0, 1)).transpose(0, 1)
        found: Tensor = self.out(self.attention(state_PRD))
        return found.view(b, n, -1)


def recurrent(cell: nn.RNNBase, x_PRI: Tensor) -> Tensor:
    """(P, R, D): the states of a one-layer cell, by plain operations on its parameters."""
    into, back, into_bias, back_bias = (_tensor(cell, name) for name in ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"))
    given_PRG = nn.functional.linear(x_PRI, into, into_bias)
    state = given_PRG.new_zeros(*x_PRI.shape[1:-1], back.shape[-1])
    memory, states = state, []
    for given in given_PRG:
        own = nn.functional.linear(state, back, back_bias)
        if isinstance(cell, nn.LSTM):
            enter, forget, new, leave = (given + own).chunk(4, -1)
            memory = forget.sigmoid() * memory + enter.sigmoid() * new.tanh()
            state = leave.sigmoid() * memory.tanh()
        elif isinstance(cell, nn.GRU):
            (reset, update, new), (own_reset, own_update, own_new) = given.chunk(3, -1), own.chunk(3, -1)
            keep = (update + own_update).sigmoid()
            state = (1 - keep) * (new + (reset + own_reset).sigmoid() * own_new).tanh() + keep * state
        else:
            state = (given + own).tanh()
        states.append(state)
    return torch.stack(states)


def _tensor(module: nn.Module, name: str) -> Tensor:
    found: Tensor = getattr(module, name)
    return found


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

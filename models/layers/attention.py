"""Attention in linear cost: over time patches, over nodes through hub tokens, over another domain's summary.

Shape suffixes: R row (window x node), P patch, B window, N node, M token, D hidden.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

_FAR = -1e4


class TimeAttention(nn.Module):
    """The newest state asks all states of its own past."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.ask = nn.Linear(hidden, hidden, bias=False)
        self.scale = hidden**-0.5

    def forward(self, state_PRD: Tensor) -> Tensor:
        """(R, D): the newest state and what it found, added."""
        newest = state_PRD[-1]
        score_PR = (state_PRD * self.ask(newest)).sum(-1) * self.scale
        weight_PR = score_PR.float().softmax(0).to(state_PRD.dtype)
        found: Tensor = newest + (state_PRD * weight_PR[..., None]).sum(0)
        return found


class HubAttention(nn.Module):
    """All nodes write to a few hub tokens and read from them: attention over nodes, linear in their number."""

    def __init__(self, hidden: int, hubs: int) -> None:
        super().__init__()
        self.write, self.read = nn.Linear(hidden, hubs), nn.Linear(hidden, hubs)
        self.mix = nn.Linear(hidden, hidden)

    def forward(self, x_BND: Tensor, seen_BN: Tensor) -> Tensor:
        """(B, N, D): what each node reads; nodes of which nothing is seen write nothing."""
        score_BNM = self.write(x_BND).float().masked_fill(~seen_BN[..., None], _FAR)
        hub_BMD = score_BNM.softmax(1).to(x_BND.dtype).transpose(1, 2) @ x_BND
        read_BNM = self.read(x_BND).float().softmax(-1).to(x_BND.dtype)
        found: Tensor = read_BNM @ torch.nn.functional.gelu(self.mix(hub_BMD), approximate="tanh")
        return found


class TokenReader(nn.Module):
    """Each node of one domain asks the summary tokens of another."""

    def __init__(self, hidden: int, summary: int) -> None:
        super().__init__()
        self.ask, self.take = nn.Linear(hidden, summary), nn.Linear(summary, hidden)
        self.norm = nn.LayerNorm(summary)
        self.scale = summary**-0.5

    def forward(self, asking_BND: Tensor, token_BMS: Tensor) -> Tensor:
        """(B, N, D)."""
        token = self.norm(token_BMS)
        weight_BNM = (self.ask(asking_BND) @ token.transpose(1, 2).to(asking_BND.dtype) * self.scale).float().softmax(-1)
        found: Tensor = self.take(weight_BNM.to(token.dtype) @ token)
        return found

"""Attention: over time patches, over nodes through hub tokens or in full, over what other domains tell.

Every layer gives its `weights` apart, so that they can be looked at. Shape suffixes: R row (window x node), P patch, B window,
N node, M token, D hidden, H head.
"""

from __future__ import annotations

from torch import Tensor, nn

_FAR = -1e4


class TimeAttention(nn.Module):
    """The newest state asks all states of its own past."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.ask = nn.Linear(hidden, hidden, bias=False)
        self.scale = hidden**-0.5

    def weights(self, state_PRD: Tensor) -> Tensor:
        """(P, R)."""
        score_PR: Tensor = (state_PRD * self.ask(state_PRD[-1])).sum(-1) * self.scale
        return score_PR.float().softmax(0)

    def forward(self, state_PRD: Tensor) -> Tensor:
        """(R, D): the newest state and what it found, added."""
        weight_PR = self.weights(state_PRD).to(state_PRD.dtype)
        found: Tensor = state_PRD[-1] + (state_PRD * weight_PR[..., None]).sum(0)
        return found


class SelfAttention(nn.Module):
    """Each of a row's items asks all of them, and adds what it finds; nothing at the start.

    Args:
        hidden: Width D of an item.
        heads: Heads, a divisor of D.
    """

    def __init__(self, hidden: int, heads: int) -> None:
        super().__init__()
        self.heads, self.scale = heads, (hidden // heads) ** -0.5
        self.norm = nn.LayerNorm(hidden)
        self.take = nn.Linear(hidden, 3 * hidden, bias=False)
        self.out = nn.Linear(hidden, hidden)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def _taken(self, x_BND: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        b, n, _ = x_BND.shape
        ask, key, value = self.take(self.norm(x_BND)).view(b, n, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        return ask, key, value

    def _weights(self, ask_BHND: Tensor, key_BHND: Tensor, seen_BN: Tensor | None) -> Tensor:
        score_BHNN = (ask_BHND @ key_BHND.transpose(-1, -2)).float() * self.scale
        if seen_BN is not None:
            score_BHNN = score_BHNN.masked_fill(~seen_BN[:, None, None], _FAR)
        found: Tensor = score_BHNN.softmax(-1)
        return found

    def weights(self, x_BND: Tensor, seen_BN: Tensor | None = None) -> Tensor:
        """(B, N, N): how much each item asks of each, the mean of all heads."""
        ask, key, _ = self._taken(x_BND)
        weight_BHNN: Tensor = self._weights(ask, key, seen_BN)
        return weight_BHNN.mean(1)

    def forward(self, x_BND: Tensor, seen_BN: Tensor | None = None) -> Tensor:
        """(B, N, D); items that are not seen are asked nothing."""
        ask, key, value = self._taken(x_BND)
        weight_BHNN = self._weights(ask, key, seen_BN).to(value.dtype)
        found: Tensor = x_BND + self.out((weight_BHNN @ value).transpose(1, 2).flatten(2))
        return found


class HubAttention(nn.Module):
    """All nodes write to a few hub tokens and read from them: attention over nodes, linear in their number."""

    def __init__(self, hidden: int, hubs: int) -> None:
        super().__init__()
        self.write, self.read = nn.Linear(hidden, hubs), nn.Linear(hidden, hubs)
        self.mix = nn.Linear(hidden, hidden)

    def weights(self, x_BND: Tensor, seen_BN: Tensor) -> tuple[Tensor, Tensor]:
        """(B, N, M) how much each hub holds of each node, and how much each node reads of each hub."""
        score_BNM: Tensor = self.write(x_BND).float().masked_fill(~seen_BN[..., None], _FAR)
        return score_BNM.softmax(1), self.read(x_BND).float().softmax(-1)

    def forward(self, x_BND: Tensor, seen_BN: Tensor) -> Tensor:
        """(B, N, D): what each node reads; nodes of which nothing is seen write nothing."""
        write_BNM, read_BNM = self.weights(x_BND, seen_BN)
        hub_BMD = write_BNM.to(x_BND.dtype).transpose(1, 2) @ x_BND
        found: Tensor = read_BNM.to(x_BND.dtype) @ nn.functional.gelu(self.mix(hub_BMD), approximate="tanh")
        return found


class TokenReader(nn.Module):
    """Each node of one domain asks the summary tokens of another."""

    def __init__(self, hidden: int, summary: int) -> None:
        super().__init__()
        self.ask, self.take = nn.Linear(hidden, summary), nn.Linear(summary, hidden)
        self.norm = nn.LayerNorm(summary)
        self.scale = summary**-0.5

    def _weights(self, asking_BND: Tensor, token_BMS: Tensor) -> Tensor:
        score_BNM: Tensor = self.ask(asking_BND) @ token_BMS.transpose(1, 2).to(asking_BND.dtype) * self.scale
        return score_BNM.float().softmax(-1)

    def weights(self, asking_BND: Tensor, token_BMS: Tensor) -> Tensor:
        """(B, N, M)."""
        return self._weights(asking_BND, self.norm(token_BMS))

    def forward(self, asking_BND: Tensor, token_BMS: Tensor) -> Tensor:
        """(B, N, D)."""
        token = self.norm(token_BMS)
        weight_BNM = self._weights(asking_BND, token)
        found: Tensor = self.take(weight_BNM.to(token.dtype) @ token)
        return found

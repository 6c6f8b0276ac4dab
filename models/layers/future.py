"""Known-future covariates: what others had forecast for the same nodes at the same leads.

Shape suffixes: B window, N node, L lead, X channel (values, masks, age), D hidden, S summary.
"""

from __future__ import annotations

from torch import Tensor, nn


class FutureReader(nn.Module):
    """Each lead is read alike, then all leads together, by every node in its own way.

    Args:
        hidden: Width D.
        leads: L.
        features: Variables that others forecast; X is twice as many and one.
        summary: Width S of one lead.
    """

    def __init__(self, hidden: int, leads: int, features: int, summary: int) -> None:
        super().__init__()
        self.lead = nn.Linear(2 * features + 1, summary)
        self.take, self.ask = nn.Linear(leads * summary, hidden), nn.Linear(hidden, hidden, bias=False)
        self.out = nn.Linear(hidden, hidden)

    def forward(self, asking_BND: Tensor, ahead_BNLX: Tensor) -> Tensor:
        """(B, N, D)."""
        lead_BNLS = nn.functional.gelu(self.lead(ahead_BNLX), approximate="tanh")
        read_BND = self.take(lead_BNLS.flatten(2)) + self.ask(asking_BND)
        found: Tensor = self.out(nn.functional.gelu(read_BND, approximate="tanh"))
        return found

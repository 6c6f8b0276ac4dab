"""Text: hashed tokens looked up in a learned table, pooled per place by age, read by the nodes that a place speaks of.

Shape suffixes: B window, N node, P place, D hidden, S summary, E link or pair, J rate of forgetting, W width of the table.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models.documents import Documents

_RATES = (-2.0, 3.0)
"""Before softplus: one mean over nearly all of the reach, one over about its newest third."""


class TextSummary(nn.Module):
    """What a stream says about each place, and about all places together.

    Args:
        rows: Rows of the table of tokens.
        width: Its width W.
        summary: Width S of what is returned.
    """

    def __init__(self, rows: int, width: int, summary: int) -> None:
        super().__init__()
        self.table_KW = nn.Parameter(torch.randn(rows, width) * 0.1)
        self.rate_J = nn.Parameter(torch.tensor(_RATES))
        self.read = nn.Linear(len(_RATES) * width + 2, summary)

    def forward(self, seen: Documents) -> tuple[Tensor, Tensor]:
        """Summaries (B, P + 1, S), the last one of all places; and (B,) whether any document is seen."""
        b, p = seen.count_BP.shape
        width, rates = self.table_KW.shape[1], len(_RATES)
        token_KW = self.table_KW.float()[seen.token_K]
        document_DW = token_KW.new_zeros(len(seen.tokens_D), width).index_add(0, seen.token_document_K, token_KW)
        document_DW = document_DW / seen.tokens_D[:, None]
        weight_EJ = torch.exp(-nn.functional.softplus(self.rate_J) * seen.pair_age_E[:, None])
        weighed_EJW = weight_EJ[..., None] * document_DW[seen.pair_document_E][:, None]
        told_EX = torch.cat([weighed_EJW.flatten(1), weight_EJ], 1)
        place_BPX = told_EX.new_zeros(b * p, rates * (width + 1)).index_add(0, seen.pair_window_E * p + seen.pair_place_E, told_EX)
        place_BPX = place_BPX.view(b, p, -1)
        whole_BPX = torch.cat([place_BPX, place_BPX.sum(1, keepdim=True)], 1)
        total_BPJW, weight_BPJ = whole_BPX[..., : rates * width].reshape(b, p + 1, rates, width), whole_BPX[..., rates * width :]
        mean_BPX = (total_BPJW / weight_BPJ.clamp(min=1e-6)[..., None]).flatten(2)
        count = torch.cat([seen.count_BP, seen.count_BP.sum(1, keepdim=True)], 1)
        age = torch.cat([seen.age_BP, seen.age_BP.amin(1, keepdim=True)], 1)
        found: Tensor = self.read(torch.cat([mean_BPX, torch.log1p(count)[..., None], age[..., None]], -1))
        return found, count[:, -1] > 0


class TextReader(nn.Module):
    """Each node reads what is said of its own places, and of all.

    Args:
        hidden: Width D.
        summary: Width S.
        nodes: N.
        link: (node, place) pairs with weights that add up to 1 per node; None where the places speak of no node.
    """

    node_E: Tensor
    place_E: Tensor
    weight_E: Tensor

    def __init__(self, hidden: int, summary: int, nodes: int, link: tuple[NDArray[np.int32], NDArray[np.float32]] | None) -> None:
        super().__init__()
        pairs, weight = link if link is not None else (np.zeros((2, 0), np.int32), np.zeros(0, np.float32))
        self.nodes = nodes
        self.register_buffer("node_E", torch.from_numpy(pairs[0].astype(np.int64)), persistent=False)
        self.register_buffer("place_E", torch.from_numpy(pairs[1].astype(np.int64)), persistent=False)
        self.register_buffer("weight_E", torch.from_numpy(weight.astype(np.float32)), persistent=False)
        self.take, self.ask = nn.Linear(2 * summary, hidden), nn.Linear(hidden, hidden, bias=False)
        self.out = nn.Linear(hidden, hidden)

    def forward(self, asking_BND: Tensor, place_BPS: Tensor) -> Tensor:
        """(B, N, D)."""
        b, _, s = place_BPS.shape
        linked_BES = place_BPS.index_select(1, self.place_E) * self.weight_E[:, None].to(place_BPS.dtype)
        own_BNS = place_BPS.new_zeros(b, self.nodes, s).index_add(1, self.node_E, linked_BES)
        read_BND = self.take(torch.cat([own_BNS, place_BPS[:, -1:].expand_as(own_BNS)], -1)) + self.ask(asking_BND)
        found: Tensor = self.out(nn.functional.gelu(read_BND, approximate="tanh"))
        return found

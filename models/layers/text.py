"""Text: hashed tokens looked up in a learned table, beside them sentence vectors where there are any, pooled per place by age.

What a place says is told to the nodes that it speaks of.

Shape suffixes: B window, N node, P place, D hidden, S summary, E pair, J rate of forgetting, W width of the table, G link.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from models.documents import Documents

_RATES = (-2.0, 3.0)
"""Before softplus: one mean over nearly all of the reach, one over about its newest third."""


class TextSummary(nn.Module):
    """What a stream says to every node: of the places that speak of it, and of all places together.

    Nothing is learnt of a place by itself, so that one that is first heard of later needs no training. A place of which
    nothing is heard says nothing.

    Args:
        rows: Rows of the table of tokens.
        width: Its width W.
        summary: Width S of what is said of a place.
        vector: Width of a document's own vector; 0 where there is none.
    """

    def __init__(self, rows: int, width: int, summary: int, vector: int = 0) -> None:
        super().__init__()
        self.table_KW = nn.Parameter(torch.randn(rows, width) * 0.1)
        self.rate_J = nn.Parameter(torch.tensor(_RATES))
        self.read = nn.Linear(len(_RATES) * width + 2, summary)
        self.sense = nn.Linear(vector, width, bias=False) if vector else None

    def forward(self, seen: Documents) -> tuple[Tensor, Tensor]:
        """(B, N, 2S + 1): own places, all places, and how much is heard of the own; and (B,) whether anything is heard."""
        place_BPS, count_BP = self._places(seen)
        b, _, s = place_BPS.shape
        heard_BG = (count_BP[:, seen.place_G] > 0) * seen.weight_G
        said_BGX = torch.cat(
            [place_BPS[:, seen.place_G] * heard_BG[..., None].to(place_BPS.dtype), heard_BG[..., None].to(place_BPS.dtype)], -1
        )
        own_BNX = said_BGX.new_zeros(b, seen.nodes, s + 1).index_add(1, seen.node_G, said_BGX)
        heard_BN1 = own_BNX[..., s:]
        own_BNS = own_BNX[..., :s] / heard_BN1.clamp(min=1e-3)
        found = torch.cat([own_BNS, place_BPS[:, -1:].expand_as(own_BNS), heard_BN1.clamp(max=1)], -1)
        return found, count_BP[:, -1] > 0

    def _places(self, seen: Documents) -> tuple[Tensor, Tensor]:
        """What is said of each place and, last, of all (B, P + 1, S); and by how many documents (B, P + 1)."""
        b, p = seen.count_BP.shape
        width, rates = self.table_KW.shape[1], len(_RATES)
        token_KW = self.table_KW.float()[seen.token_K]
        document_DW = token_KW.new_zeros(seen.tokens_D.shape[0], width).index_add(0, seen.token_document_K, token_KW)
        document_DW = document_DW / seen.tokens_D[:, None]
        if self.sense is not None:
            document_DW = document_DW + self.sense(seen.vector_DW)
        weight_EJ = torch.exp(-nn.functional.softplus(self.rate_J) * seen.pair_age_E[:, None])
        weighed_EJW = weight_EJ[..., None] * document_DW[seen.pair_document_E][:, None]
        told_EX = torch.cat([weighed_EJW.flatten(1), weight_EJ], 1)
        place_BPX = told_EX.new_zeros(b * p, rates * (width + 1)).index_add(0, seen.pair_window_E * p + seen.pair_place_E, told_EX)
        place_BPX = place_BPX.view(b, p, rates * (width + 1))
        whole_BPX = torch.cat([place_BPX, place_BPX.sum(1, keepdim=True)], 1)
        total_BPJW, weight_BPJ = whole_BPX[..., : rates * width].reshape(b, p + 1, rates, width), whole_BPX[..., rates * width :]
        mean_BPX = (total_BPJW / weight_BPJ.clamp(min=1e-6)[..., None]).flatten(2)
        count = torch.cat([seen.count_BP, seen.count_BP.sum(1, keepdim=True)], 1)
        age = torch.cat([seen.age_BP, torch.cat([seen.age_BP, torch.ones_like(count[:, :1])], 1).amin(1, keepdim=True)], 1)
        found: Tensor = self.read(torch.cat([mean_BPX, torch.log1p(count)[..., None], age[..., None]], -1))
        return found, count


class TextReader(nn.Module):
    """Each node reads what it is told, in its own way.

    Args:
        hidden: Width D.
        summary: Width S.
    """

    def __init__(self, hidden: int, summary: int) -> None:
        super().__init__()
        self.take, self.ask = nn.Linear(2 * summary + 1, hidden), nn.Linear(hidden, hidden, bias=False)
        self.out = nn.Linear(hidden, hidden)

    def forward(self, asking_BND: Tensor, told_BNX: Tensor) -> Tensor:
        """(B, N, D)."""
        read_BND = self.take(told_BNX) + self.ask(asking_BND)
        found: Tensor = self.out(nn.functional.gelu(read_BND, approximate="tanh"))
        return found

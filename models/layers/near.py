"""What nodes are told by those of another domain nearest to them.

Shape suffixes: B window, N node, M node of the other domain, J neighbour, S summary, D hidden.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn


class NearReader(nn.Module):
    """Each node is told the weighted mean of what is known of its neighbours in another domain, of those of which anything is seen.

    Args:
        hidden, summary: Widths D and S.
        place_NJ, weight_NJ: Neighbours and their weights; 0 where there is none.
    """

    place_NJ: Tensor
    weight_NJ: Tensor

    def __init__(self, hidden: int, summary: int, place_NJ: NDArray[np.int32], weight_NJ: NDArray[np.float32]) -> None:
        super().__init__()
        self.take = nn.Linear(summary, hidden, bias=False)
        self.register_buffer("place_NJ", torch.from_numpy(place_NJ.astype(np.int64)), persistent=False)
        self.register_buffer("weight_NJ", torch.from_numpy(weight_NJ.copy()), persistent=False)

    def forward(self, node_BMS: Tensor, seen_BM: Tensor) -> Tensor:
        """(B, N, D); 0 where nothing is seen of any neighbour."""
        weight_BNJ = self.weight_NJ * seen_BM[:, self.place_NJ]
        weight_BNJ = weight_BNJ / weight_BNJ.sum(-1, keepdim=True).clamp(min=1e-6)
        found: Tensor = self.take((node_BMS[:, self.place_NJ] * weight_BNJ[..., None].to(node_BMS.dtype)).sum(2))
        return found

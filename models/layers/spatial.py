"""Spatial branch: graph diffusion and hub tokens on nodes, convolution with pooling on grids.

Shape suffixes: B window, N node, E edge, D hidden, Y X grid axes.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models.layers.attention import HubAttention

DENSE_NODES = 1024
"""Up to this many nodes diffusion is one dense product, above it a sum over edges."""


class Diffusion(nn.Module):
    """What the neighbours hold, averaged by edge weight, 1 .. `hops` steps away. The graph is part of the state."""

    edges: Tensor
    weight: Tensor

    def __init__(self, nodes: int, edges_2E: NDArray[np.int32], weight_E: NDArray[np.float32], hops: int) -> None:
        super().__init__()
        self.nodes, self.hops = nodes, hops
        edges = torch.from_numpy(edges_2E.astype(np.int64))
        weight = torch.from_numpy(weight_E.astype(np.float32))
        into = torch.zeros(nodes).index_add_(0, edges[1], weight)
        self.register_buffer("edges", edges)
        self.register_buffer("weight", weight / into[edges[1]].clamp(min=1e-12))
        self._dense: Tensor | None = None

    def forward(self, x_BND: Tensor) -> list[Tensor]:
        """One (B, N, D) per hop."""
        found = []
        for _ in range(self.hops):
            x_BND = self._step(x_BND)
            found.append(x_BND)
        return found

    def _step(self, x_BND: Tensor) -> Tensor:
        if self.nodes > DENSE_NODES:
            carried = x_BND.index_select(1, self.edges[0]) * self.weight[:, None].to(x_BND.dtype)
            return torch.zeros_like(x_BND).index_add(1, self.edges[1], carried)
        if self._dense is None or self._dense.dtype != x_BND.dtype:
            dense = torch.zeros(self.nodes, self.nodes)
            dense.index_put_((self.edges[1], self.edges[0]), self.weight, accumulate=True)
            self._dense = dense.to(x_BND.dtype)
        return torch.matmul(self._dense, x_BND)


class NodeSpace(nn.Module):
    """Neighbours by diffusion, all others through hub tokens."""

    def __init__(self, hidden: int, hubs: int, hops: int, nodes: int, edges_2E: NDArray[np.int32], weight_E: NDArray[np.float32]) -> None:
        super().__init__()
        self.diffusion = Diffusion(nodes, edges_2E, weight_E, hops if edges_2E.shape[1] else 0)
        self.hub = HubAttention(hidden, hubs) if hubs else None
        count = self.diffusion.hops + (self.hub is not None)
        self.out = nn.Linear(hidden * max(count, 1), hidden)

    def forward(self, x_BND: Tensor, seen_BN: Tensor) -> Tensor:
        """(B, N, D)."""
        found = self.diffusion(x_BND)
        if self.hub is not None:
            found.append(self.hub(x_BND, seen_BN))
        result: Tensor = self.out(torch.cat(found or [x_BND], -1))
        return result


class GridSpace(nn.Module):
    """Convolution at full size and at `levels` pooled sizes, brought back and added."""

    def __init__(self, hidden: int, shape: tuple[int, int], levels: int) -> None:
        super().__init__()
        self.shape = shape
        self.layers = nn.ModuleList(nn.Conv2d(hidden, hidden, 3, padding=1) for _ in range(levels + 1))
        self.pool = nn.MaxPool2d(2, ceil_mode=True)
        self.out = nn.Linear(hidden, hidden)

    def forward(self, x_BND: Tensor, seen_BN: Tensor) -> Tensor:
        """(B, N, D); cells of which nothing is seen enter as zero."""
        b, n, d = x_BND.shape
        grid = (x_BND * seen_BN[..., None]).transpose(1, 2).reshape(b, d, *self.shape)
        total = torch.zeros_like(grid)
        for level, layer in enumerate(self.layers):
            if level:
                grid = self.pool(grid)
            grid = nn.functional.gelu(layer(grid), approximate="tanh")
            total = total + (nn.functional.interpolate(grid, size=self.shape, mode="nearest") if level else grid)
        result: Tensor = self.out(total.reshape(b, d, n).transpose(1, 2))
        return result

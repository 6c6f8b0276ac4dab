"""Spatial branch: graph diffusion and attention on nodes, convolution with pooling on grids.

Shape suffixes: B window, N node, E edge, D hidden, Y X grid axes.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models.config import ModelConfig
from models.layers.attention import HubAttention, SelfAttention

DENSE_NODES = 1024
"""Up to this many nodes diffusion is one dense product, above it a sum over edges."""


class Diffusion(nn.Module):
    """What the neighbours hold, averaged by edge weight, 1 .. `hops` steps away. The graph is part of the state."""

    edges: Tensor
    weight: Tensor
    dense: Tensor | None

    def __init__(self, nodes: int, edges_2E: NDArray[np.int32], weight_E: NDArray[np.float32], hops: int) -> None:
        super().__init__()
        self.hops = hops
        edges = torch.from_numpy(edges_2E.astype(np.int64))
        weight = torch.from_numpy(weight_E.astype(np.float32))
        weight = weight / weight.new_zeros(nodes).index_add_(0, edges[1], weight)[edges[1]].clamp(min=1e-12)
        whole = weight.new_zeros(nodes, nodes).index_put_((edges[1], edges[0]), weight, accumulate=True) if nodes <= DENSE_NODES else None
        self.register_buffer("edges", edges, persistent=False)
        self.register_buffer("weight", weight, persistent=False)
        self.register_buffer("dense", whole, persistent=False)

    def forward(self, x_BND: Tensor) -> list[Tensor]:
        """One (B, N, D) per hop."""
        found = []
        dense = None if self.dense is None else self.dense.to(x_BND.dtype)
        for _ in range(self.hops):
            x_BND = self._along_edges(x_BND) if dense is None else torch.matmul(dense, x_BND)
            found.append(x_BND)
        return found

    def _along_edges(self, x_BND: Tensor) -> Tensor:
        carried = x_BND.index_select(1, self.edges[0]) * self.weight[:, None].to(x_BND.dtype)
        return torch.zeros_like(x_BND).index_add(1, self.edges[1], carried)


class NodeSpace(nn.Module):
    """Neighbours by diffusion; all others through hub tokens, or each for itself where they are few enough."""

    def __init__(self, nodes: int, edges_2E: NDArray[np.int32], weight_E: NDArray[np.float32], config: ModelConfig) -> None:
        super().__init__()
        d = config.hidden
        self.diffusion = Diffusion(nodes, edges_2E, weight_E, config.hops if edges_2E.shape[1] else 0)
        full = config.attention == "full" and nodes <= config.full_nodes
        self.full = SelfAttention(d, config.heads) if full else None
        self.hub = HubAttention(d, config.hubs) if config.hubs and not full else None
        count = self.diffusion.hops + (self.hub is not None) + full
        self.out = nn.Linear(d * max(count, 1), d)

    def forward(self, x_BND: Tensor, seen_BN: Tensor) -> Tensor:
        """(B, N, D)."""
        found = self.diffusion(x_BND)
        if self.hub is not None:
            found.append(self.hub(x_BND, seen_BN))
        if self.full is not None:
            found.append(self.full(x_BND, seen_BN))
        result: Tensor = self.out(torch.cat(found or [x_BND], -1))
        return result


class AffineSampling(nn.Module):
    """Each window looks at the grid through an affine map of its own (a spatial transformer): the identity at the start."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.where = nn.Linear(hidden, 6)
        nn.init.zeros_(self.where.weight)
        with torch.no_grad():
            self.where.bias.copy_(torch.tensor([1.0, 0, 0, 0, 1, 0]))

    def forward(self, grid_BDYX: Tensor) -> Tensor:
        """Same shape; beyond the edge the edge goes on."""
        map_B23 = self.where(grid_BDYX.mean((2, 3))).float().view(-1, 2, 3)
        y, x = ((2 * torch.arange(n, device=map_B23.device) + 1) / n - 1 for n in grid_BDYX.shape[2:])
        size = grid_BDYX.shape[2:]
        at_YX3 = torch.stack([x.expand(size), y[:, None].expand(size), x.new_ones(()).expand(size)], -1)
        place = torch.einsum("yxk,bjk->byxj", at_YX3, map_B23)
        found = nn.functional.grid_sample(grid_BDYX.float(), place, padding_mode="border", align_corners=False)
        return found.to(grid_BDYX.dtype)


class GridSpace(nn.Module):
    """Convolution at full size and at `levels` pooled sizes, brought back and added."""

    def __init__(self, shape: tuple[int, int], config: ModelConfig) -> None:
        super().__init__()
        self.shape = shape
        d = config.hidden
        self.sampling = AffineSampling(d) if config.spatial_transformer else None
        self.layers = nn.ModuleList(nn.Conv2d(d, d, 3, padding=1) for _ in range(config.levels + 1))
        self.pool = nn.MaxPool2d(2, ceil_mode=True)
        self.out = nn.Linear(d, d)

    def forward(self, x_BND: Tensor, seen_BN: Tensor) -> Tensor:
        """(B, N, D); cells of which nothing is seen enter as zero."""
        b, n, d = x_BND.shape
        grid = (x_BND * seen_BN[..., None]).transpose(1, 2).reshape(b, d, *self.shape)
        if self.sampling is not None:
            grid = self.sampling(grid)
        total = torch.zeros_like(grid)
        for level, layer in enumerate(self.layers):
            if level:
                grid = self.pool(grid)
            grid = nn.functional.gelu(layer(grid), approximate="tanh")
            total = total + (nn.functional.interpolate(grid, size=self.shape, mode="nearest") if level else grid)
        result: Tensor = self.out(total.reshape(b, d, n).transpose(1, 2))
        return result

"""What other domains are told about one domain.

Shape suffixes: B window, N node, D hidden, M token, S summary, Y X grid axes.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from models.batch import Context
from models.config import ModelConfig
from models.inputs import context_channels, joined
from models.shapes import DomainShape

_FAR = -1e4


class GridTokens(nn.Module):
    """Convolution and max pooling until few cells are left; each is a token.

    Args:
        width: Channels of every cell.
        shape: Rows and columns.
        most: Cells left at most.
    """

    def __init__(self, width: int, shape: tuple[int, int], most: int) -> None:
        super().__init__()
        self.shape, rows, columns = shape, *shape
        layers: list[nn.Module] = [nn.Conv2d(width, width, 3, padding=1)]
        while rows * columns > most:
            layers += [nn.GELU(approximate="tanh"), nn.MaxPool2d(2, ceil_mode=True), nn.Conv2d(width, width, 3, padding=1)]
            rows, columns = -(-rows // 2), -(-columns // 2)
        self.layers = nn.Sequential(*layers)
        self.coarse = rows, columns

    def held(self) -> Tensor:
        """(M, N): which cells each token holds, a share each."""
        rows, columns = self.coarse
        one = torch.eye(rows * columns).view(-1, 1, rows, columns)
        own = nn.functional.interpolate(one, size=self.shape, mode="nearest").flatten(1)
        return own / own.sum(1, keepdim=True).clamp(min=1)

    def forward(self, x_BNS: Tensor) -> Tensor:
        """(B, M, S)."""
        found: Tensor = self.layers(x_BNS.transpose(1, 2).reshape(x_BNS.shape[0], -1, *self.shape))
        return found.flatten(2).transpose(1, 2)


class Summary(nn.Module):
    """A few tokens over a domain's newest steps and all its nodes; a grid adds the cells of its coarsest map."""

    relative_NV: Tensor

    def __init__(self, shape: DomainShape, config: ModelConfig) -> None:
        super().__init__()
        self.steps = min(shape.context, config.summary_context)
        v, s = len(shape.variables), config.summary_hidden
        self.read = nn.Linear(v * (2 * self.steps + 1), s)
        self.node_ND = nn.Parameter(torch.randn(len(shape.node_ids), s) * 0.1)
        self.ask = nn.Linear(s, config.summary_tokens)
        self.out = nn.Linear(s, s)
        as_grid = shape.grid_shape is not None and config.grid_tokens > 0
        self.grid = GridTokens(s, shape.grid_shape, config.grid_tokens) if as_grid and shape.grid_shape else None
        self.any_relative = bool((shape.relative_NV > 0).any())
        self.register_buffer("relative_NV", torch.from_numpy(shape.relative_NV.copy()), persistent=False)

    def nodes(self, context: Context) -> Tensor:
        """(B, N, S): what is known of every node."""
        unit = torch.where(self.relative_NV > 0, context.last_BNV.abs() * self.relative_NV, 1.0)
        channels = context_channels(context, context.last_BNV, unit, self.relative_NV > 0 if self.any_relative else None)
        read_BNS = self.read(joined([channels.flatten(2), context.age_BNV / self.steps], 2))
        return nn.functional.gelu(read_BNS + self.node_ND.to(read_BNS.dtype), approximate="tanh")

    def weights(self, node_BNS: Tensor, seen_BN: Tensor) -> Tensor:
        """(B, N, M): how much each token holds of each node; nothing of nodes of which nothing is seen."""
        asked: Tensor = self.ask(node_BNS)
        return asked.float().masked_fill(~seen_BN[..., None], _FAR).softmax(1)

    def held(self, context: Context) -> Tensor:
        """(B, M, N): how much each token holds of each node; a cell of the coarsest map holds the cells around it alike."""
        node_BNS, seen_BN = self.nodes(context), context.has_BNV.any(-1)
        held_BMN = self.weights(node_BNS, seen_BN).transpose(1, 2)
        if self.grid is None:
            return held_BMN
        return torch.cat([held_BMN, self.grid.held().to(held_BMN.device).expand(held_BMN.shape[0], -1, -1)], 1)

    def forward(self, context: Context) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Tokens (B, M, S), (B,) whether anything of the domain is seen at all; (B, N, S) what is known of its nodes, and of which (B, N)."""
        node_BNS, seen_BN = self.nodes(context), context.has_BNV.any(-1)
        weight_BNM = self.weights(node_BNS, seen_BN)
        token_BMS = self.out(weight_BNM.to(node_BNS.dtype).transpose(1, 2) @ node_BNS)
        if self.grid is not None:
            token_BMS = torch.cat([token_BMS, self.grid(node_BNS * seen_BN[..., None])], 1)
        return token_BMS, seen_BN.any(-1), node_BNS, seen_BN

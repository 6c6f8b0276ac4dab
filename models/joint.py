"""The joint model: per domain a temporal and a spatial branch, two fusions, and the other domains' summaries.

Shape suffixes: B window, C context step, N node, V variable, X channel, L lead, Q quantile, D hidden, M token, S summary, K other domain.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from models.config import ModelConfig
from models.gather import Batch, Context
from models.inputs import context_channels, feature_count, flat_features, joined
from models.layers.attention import TokenReader
from models.layers.fusion import Fusion, split
from models.layers.spatial import GridSpace, NodeSpace
from models.layers.temporal import Residual, TemporalBranch
from models.shapes import DomainShape
from pipeline.contracts.forecasts import MEDIAN, QUANTILES

_BELOW, _ABOVE = MEDIAN, len(QUANTILES) - MEDIAN - 1


@dataclass(frozen=True, kw_only=True, eq=False)
class Change:
    """Forecast change from the anchor in units of the batch; V are the target variables.

    Attributes:
        median_BLNV: The change.
        parts: Its contributions by series, space and each other domain, or empty where not asked for.
        spread_BLNVQ: Positive steps from each quantile to the next one towards the median; Q without the median.
    """

    median_BLNV: Tensor
    parts: list[Tensor]
    spread_BLNVQ: Tensor | None


class Summary(nn.Module):
    """What other domains are told about one domain: a few tokens over its newest steps and all its nodes."""

    def __init__(self, shape: DomainShape, config: ModelConfig) -> None:
        super().__init__()
        self.steps = min(shape.context, config.summary_context)
        v, s = len(shape.variables), config.summary_hidden
        self.read = nn.Linear(v * (2 * self.steps + 1), s)
        self.node_ND = nn.Parameter(torch.randn(len(shape.node_ids), s) * 0.1)
        self.ask = nn.Linear(s, config.summary_tokens)
        self.out = nn.Linear(s, s)

    def forward(self, context: Context, relative_NV: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens (B, M, S), and (B,) whether anything of the domain is seen at all."""
        unit = torch.where(relative_NV > 0, context.last_BNV.abs() * relative_NV, 1.0)
        channels = context_channels(context, context.last_BNV, unit, _relative(relative_NV))
        read_BNS = self.read(joined([channels.flatten(2), context.age_BNV / self.steps], 2))
        node_BNS = torch.nn.functional.gelu(read_BNS + self.node_ND.to(read_BNS.dtype), approximate="tanh")
        seen_BN = context.has_BNV.any(-1)
        weight_BNM = self.ask(node_BNS).float().masked_fill(~seen_BN[..., None], -1e4).softmax(1)
        return self.out(weight_BNM.to(node_BNS.dtype).transpose(1, 2) @ node_BNS), seen_BN.any(-1)


class DomainNet(nn.Module):
    """All that forecasting one domain takes, except the summaries of the others."""

    relative_NV: Tensor

    def __init__(self, shape: DomainShape, others: tuple[str, ...], config: ModelConfig) -> None:
        super().__init__()
        d, v, n = config.hidden, len(shape.variables), len(shape.node_ids)
        self.shape, self.others, self.config = shape, others, config
        features = feature_count(shape.context, shape.horizon, v, shape.coarse_count, shape.history_count)
        self.read = nn.Linear(features, d)
        self.node_ND = nn.Parameter(torch.randn(n, d) * 0.1)
        self.time_of_day, self.day_of_week = nn.Embedding(shape.slots_per_day, d), nn.Embedding(7, d)
        for table in (self.time_of_day, self.day_of_week):
            nn.init.normal_(table.weight, std=0.1)
        patch = max(config.patch, -(-shape.context // config.patches))
        self.temporal = TemporalBranch(config.temporal, 2 * v, shape.context, patch, config.temporal_hidden, d)
        if shape.grid_shape is not None:
            self.space: nn.Module = GridSpace(d, shape.grid_shape, config.levels)
        else:
            self.space = NodeSpace(d, config.hubs, config.hops, n, shape.edges_2E, shape.edge_weight_E)
        self.readers = nn.ModuleDict({k: TokenReader(d, config.summary_hidden) for k in others})
        self.fusion = Fusion(n, shape.horizon, len(others))
        self.trunk = nn.Sequential(*(Residual(d, config.expansion, config.dropout) for _ in range(config.blocks)))
        out = shape.horizon * len(shape.targets)
        self.head_seq, self.head_space = _zero(nn.Linear(d, out)), _zero(nn.Linear(d, out))
        self.heads_mod = nn.ModuleDict({k: nn.Linear(d, out) for k in others})
        self.spread_last = _zero(nn.Linear(d, out * (len(QUANTILES) - 1)))
        self.spread_first = nn.Linear(d, d)
        self.register_buffer("relative_NV", torch.from_numpy(shape.relative_NV.copy()))

    def forward(self, batch: Batch, tokens: dict[str, tuple[Tensor, Tensor]], *, parts: bool, spread_windows: int) -> Change:
        """The forecast change of a batch.

        Args:
            batch: Windows of this domain.
            tokens: The summaries of other domains at the batch's issue times; one that is not here counts as absent.
            parts: Whether to split the change.
            spread_windows: For how many of the first windows to give the spread.
        """
        relative = _relative(self.relative_NV)
        channels = context_channels(batch.context, batch.base_BNV, batch.unit_BNV, relative)
        flat = self.read(flat_features(batch, channels, relative))
        calendar_BD = self.time_of_day(batch.time_of_day_B) + self.day_of_week(batch.day_of_week_B)
        static_BND = (self.node_ND + calendar_BD[:, None]).to(flat.dtype)
        still = flat + static_BND
        x_seq = still + self.temporal(channels)
        x_space = self.space(torch.nn.functional.relu(still), batch.context.has_BNV.any(-1))
        x_mods = [self._other(k, static_BND, tokens.get(k)) for k in self.others]
        terms_x = self.fusion.terms_x(x_seq, x_space, x_mods)
        x_trunk = self.trunk(sum(terms_x[1:], terms_x[0]))
        y_mods = [self._leads(self.heads_mod[k](x)) * self._present(k, tokens, x) for k, x in zip(self.others, x_mods, strict=True)]
        terms_y = self.fusion.terms_y(self._leads(self.head_seq(x_seq)), self._leads(self.head_space(x_trunk)), y_mods)
        split_y = split(terms_x, terms_y, self.fusion.beta, lambda x: self._leads(self.head_space(self.trunk(x)))) if parts else []
        return Change(
            median_BLNV=sum(split_y[1:], split_y[0]) if parts else sum(terms_y[1:], terms_y[0]),
            parts=split_y,
            spread_BLNVQ=self._spread(x_trunk[:spread_windows].detach()) if spread_windows else None,
        )

    @torch.no_grad()
    def start_spread(self, step_LVQ: Tensor) -> None:
        """Let the untrained spread be these steps between quantiles, at every node."""
        self.spread_last.bias.copy_((step_LVQ + torch.log(-torch.expm1(-step_LVQ))).flatten())

    def _present(self, k: str, tokens: dict[str, tuple[Tensor, Tensor]], like: Tensor) -> Tensor:
        if k not in tokens:
            return like.new_zeros((), dtype=torch.float32)
        return tokens[k][1].float()[:, None, None, None]

    def _other(self, k: str, static_BND: Tensor, told: tuple[Tensor, Tensor] | None) -> Tensor:
        if told is None:
            return torch.zeros_like(static_BND)
        token_BMS, present_B = told
        found: Tensor = self.readers[k](static_BND, token_BMS)
        return found * present_B[:, None, None].to(found.dtype)

    def _leads(self, y_BNO: Tensor) -> Tensor:
        b, n, _ = y_BNO.shape
        return y_BNO.float().view(b, n, self.shape.horizon, -1).transpose(1, 2)

    def _spread(self, x_BND: Tensor) -> Tensor:
        b, n, _ = x_BND.shape
        raw = (
            self.spread_last(torch.relu(self.spread_first(x_BND)))
            .float()
            .view(b, n, self.shape.horizon, -1, len(QUANTILES) - 1)
            .transpose(1, 2)
        )
        return torch.nn.functional.softplus(raw)


def _relative(relative_NV: Tensor) -> Tensor | None:
    return relative_NV > 0 if bool((relative_NV > 0).any()) else None


def _zero(layer: nn.Linear) -> nn.Linear:
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


def quantiles(median: Tensor, spread_Q: Tensor) -> Tensor:
    """Quantiles that cannot cross: the median, and cumulative steps away from it on both sides."""
    below = spread_Q[..., :_BELOW].flip(-1).cumsum(-1).flip(-1)
    above = spread_Q[..., _BELOW:].cumsum(-1)
    return torch.cat([median[..., None] - below, median[..., None], median[..., None] + above], -1)


class JointModel(nn.Module):
    """Domains that forecast, and the summaries through which they see each other.

    Args:
        shapes: Every domain of the world that holds data.
        leading: Those that forecast.
        config: All choices.
    """

    def __init__(self, shapes: dict[str, DomainShape], leading: tuple[str, ...], config: ModelConfig) -> None:
        super().__init__()
        self.leading = leading
        names = tuple(sorted(shapes)) if config.modalities else ()
        self._others = {d: tuple(k for k in names if k != d) for d in leading}
        needed = sorted({k for d in leading for k in self._others[d]})
        self._summary_steps = {k: min(shapes[k].context, config.summary_context) for k in needed}
        nets = {d: DomainNet(shapes[d], self._others[d], config) for d in leading}
        self._nets = nets
        self.nets = nn.ModuleDict(nets)
        self.summaries = nn.ModuleDict({k: Summary(shapes[k], config) for k in needed})
        for k in needed:
            self.register_buffer(f"relative_{k}", torch.from_numpy(shapes[k].relative_NV.copy()))

    def others(self, domain: str) -> tuple[str, ...]:
        """The domains that this one sees, in the order of its parts."""
        return self._others[domain]

    def summary_steps(self, other: str) -> int:
        """Steps of context that a domain's summary reads."""
        return self._summary_steps[other]

    def net(self, domain: str) -> DomainNet:
        """The net of one domain."""
        return self._nets[domain]

    def fusion(self, domain: str) -> Fusion:
        """The mixing weights of one domain."""
        return self._nets[domain].fusion

    def forward(
        self, domain: str, batch: Batch, contexts: dict[str, Context], keep: dict[str, Tensor], *, parts: bool, spread_windows: int
    ) -> Change:
        """The forecast change of one domain's batch.

        Args:
            domain: The leading domain.
            batch: Its windows.
            contexts: The other domains at the same issue times.
            keep: Per other domain (B,) bool, False where it is dropped (modality dropout); absent: kept.
            parts: Whether to split the change.
            spread_windows: For how many of the first windows to give the spread.
        """
        tokens: dict[str, tuple[Tensor, Tensor]] = {}
        for k, context in contexts.items():
            told, present = self.summaries[k](context, getattr(self, f"relative_{k}"))
            tokens[k] = (told, present & keep[k] if k in keep else present)
        change: Change = self.nets[domain](batch, tokens, parts=parts, spread_windows=spread_windows)
        return change

"""The joint model: per domain a temporal and a spatial branch, two fusions, and what it is told by each modality.

Shape suffixes: B window, N node, V variable, X channel, L lead, Q quantile, D hidden, O output.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from models.batch import Around, Batch
from models.config import ModelConfig
from models.inputs import context_channels, feature_count, flat_features, joined
from models.layers.attention import SelfAttention, TokenReader
from models.layers.fusion import Fusion, split
from models.layers.future import FutureReader
from models.layers.near import NearReader
from models.layers.spatial import GridSpace, NodeSpace
from models.layers.summary import Summary
from models.layers.temporal import Residual, TemporalBranch
from models.layers.text import TextReader, TextSummary
from models.shapes import DomainShape, TextShape
from pipeline.contracts.forecasts import FUTURE, MEDIAN, QUANTILES, TEXT_PREFIX

Told = tuple[Tensor, Tensor]
"""What a modality says, in a form of its own, and (B,) whether it says anything."""

Nodes = tuple[Tensor, Tensor]
"""(B, M, S) what is known of a domain's nodes, and (B, M) of which anything is seen."""

_BELOW, _ABOVE = MEDIAN, len(QUANTILES) - MEDIAN - 1


@dataclass(frozen=True, kw_only=True, eq=False)
class Change:
    """Forecast change from the anchor in units of the batch; V are the target variables.

    Attributes:
        median_BLNV: The change.
        parts: Its contributions by series, space and each modality, or empty where not asked for.
        spread_BLNVQ: Positive steps from each quantile to the next one towards the median; Q without the median.
    """

    median_BLNV: Tensor
    parts: list[Tensor]
    spread_BLNVQ: Tensor | None

    def held(self, low_BLNV: Tensor, high_BLNV: Tensor) -> Change:
        """The same with the median kept between these changes (`batch.farthest`), and without its parts."""
        return replace(self, median_BLNV=self.median_BLNV.clamp(low_BLNV, high_BLNV), parts=[])

    def away(self) -> Tensor:
        """(B, L, N, V, Q): how far each quantile lies from the median; 0 where no spread was asked for."""
        level = torch.zeros_like(self.median_BLNV)
        return level[..., None].expand(*level.shape, len(QUANTILES)) if self.spread_BLNVQ is None else quantiles(level, self.spread_BLNVQ)


class DomainNet(nn.Module):
    """All that forecasting one domain takes, except the summaries that several domains are told.

    Args:
        shape: The domain.
        modalities: Names of what it is told, in the order of its parts.
        config: All choices.
    """

    relative_NV: Tensor
    position_N2: Tensor

    def __init__(self, shape: DomainShape, modalities: tuple[str, ...], config: ModelConfig) -> None:
        super().__init__()
        d, v, n = config.hidden, len(shape.variables), len(shape.node_ids)
        self.shape, self.modalities, self.config = shape, modalities, config
        features = feature_count(shape.context, shape.horizon, v, shape.coarse_count, shape.history_count)
        self.read = nn.Linear(features, d)
        self.node_ND = nn.Parameter(torch.randn(n, d) * 0.1)
        self.place = _zero(nn.Linear(2, d))
        self.time_of_day, self.day_of_week = nn.Embedding(shape.slots_per_day, d), nn.Embedding(7, d)
        for table in (self.time_of_day, self.day_of_week):
            nn.init.normal_(table.weight, std=0.1)
        self.temporal = TemporalBranch(2 * v, shape.context, config)
        if shape.grid_shape is not None:
            self.space: nn.Module = GridSpace(shape.grid_shape, config)
        else:
            self.space = NodeSpace(n, shape.edges_2E, shape.edge_weight_E, config)
        self.readers = nn.ModuleDict({k: _reader(k, shape, config) for k in modalities})
        near = shape.near if config.near else {}
        self.near = nn.ModuleDict({k: NearReader(d, config.summary_hidden, *near[k]) for k in modalities if k in near})
        self.fusion = Fusion(n, shape.horizon, len(modalities))
        self.trunk = nn.Sequential(*(Residual(d, config.expansion, config.dropout) for _ in range(config.blocks)))
        out = shape.horizon * len(shape.targets)
        self.head_seq, self.head_space = _zero(nn.Linear(d, out)), _zero(nn.Linear(d, out))
        wide = config.head_hidden
        self.head_deep = nn.Sequential(nn.Linear(d, wide), nn.ReLU(), _zero(nn.Linear(wide, out))) if wide else None
        self.heads_mod = nn.ModuleDict({k: nn.Linear(d, out) for k in modalities})
        self.spread_last = _zero(nn.Linear(d, out * (len(QUANTILES) - 1)))
        self.spread_first = nn.Linear(d, d)
        relative_NV = np.ones_like(shape.relative_NV) if config.changes else shape.relative_NV.copy()
        self.any_relative = bool((relative_NV > 0).any())
        self.register_buffer("relative_NV", torch.from_numpy(relative_NV), persistent=False)
        self.register_buffer("position_N2", torch.from_numpy(shape.position_N2.copy()), persistent=False)

    def forward(self, batch: Batch, told: Mapping[str, Told], nodes: Mapping[str, Nodes], *, parts: bool, spread_windows: int) -> Change:
        """The forecast change of a batch.

        Args:
            batch: Windows of this domain.
            told: By modality; one that is not here counts as absent.
            nodes: Of the other domains that are told of, for nodes that lie near to theirs.
            parts: Whether to split the change.
            spread_windows: For how many of the first windows to give the spread.
        """
        relative = self.relative_NV > 0 if self.any_relative else None
        channels = context_channels(batch.context, batch.base_BNV, batch.unit_BNV, relative)
        flat = self.read(flat_features(batch, channels, relative))
        calendar_BD = self.time_of_day(batch.time_of_day_B) + self.day_of_week(batch.day_of_week_B)
        static_BND = (self.node_ND + self.place(self.position_N2) + calendar_BD[:, None]).to(flat.dtype)
        still = flat + static_BND
        x_seq = still + self.temporal(channels)
        x_space = self.space(torch.nn.functional.relu(still), batch.context.has_BNV.any(-1))
        x_mods = [self._told(k, static_BND, told.get(k), nodes) for k in self.modalities]
        terms_x = self.fusion.terms_x(x_seq, x_space, x_mods)
        x_trunk = self.trunk(sum(terms_x[1:], terms_x[0]))
        y_mods = [self._leads(self.heads_mod[k](x)) * _present(told.get(k), x) for k, x in zip(self.modalities, x_mods, strict=True)]
        terms_y = self.fusion.terms_y(self._leads(self.head_seq(x_seq)), self._space(x_trunk), y_mods)
        split_y = split(terms_x, terms_y, self.fusion.beta, lambda x: self._space(self.trunk(x))) if parts else []
        return Change(
            median_BLNV=sum(split_y[1:], split_y[0]) if parts else sum(terms_y[1:], terms_y[0]),
            parts=split_y,
            spread_BLNVQ=self._spread(x_trunk[:spread_windows].detach()) if spread_windows else None,
        )

    @torch.no_grad()
    def start_spread(self, step_LVQ: Tensor) -> None:
        """Let the untrained spread be these steps between quantiles, at every node."""
        self.spread_last.bias.copy_((step_LVQ + torch.log(-torch.expm1(-step_LVQ))).flatten())

    def _told(self, name: str, static_BND: Tensor, told: Told | None, nodes: Mapping[str, Nodes]) -> Tensor:
        if told is None:
            return torch.zeros_like(static_BND)
        found: Tensor = self.readers[name](static_BND, told[0])
        if name in self.near:
            found = found + self.near[name](*nodes[name])
        return found * told[1][:, None, None].to(found.dtype)

    def _space(self, x_BND: Tensor) -> Tensor:
        y_BLNV = self._leads(self.head_space(x_BND))
        return y_BLNV if self.head_deep is None else y_BLNV + self._leads(self.head_deep(x_BND))

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


def _present(told: Told | None, like: Tensor) -> Tensor:
    return like.new_zeros((), dtype=torch.float32) if told is None else told[1].float()[:, None, None, None]


def _reader(name: str, shape: DomainShape, config: ModelConfig) -> nn.Module:
    """How a domain's nodes read one modality."""
    if name == FUTURE:
        return FutureReader(config.hidden, shape.horizon, len(shape.future), config.future_hidden)
    if name.startswith(TEXT_PREFIX):
        return TextReader(config.hidden, config.summary_hidden)
    return TokenReader(config.hidden, config.summary_hidden)


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
    """Domains that forecast, and the summaries through which they see each other and what is written.

    Args:
        shapes: Every domain of the world that holds data.
        texts: Every stream of documents.
        leading: Those domains that forecast.
        config: All choices.
    """

    def __init__(
        self, shapes: Mapping[str, DomainShape], texts: Mapping[str, TextShape], leading: tuple[str, ...], config: ModelConfig
    ) -> None:
        super().__init__()
        self.leading = leading
        self._modalities = {d: modalities_of(d, shapes, texts, config) for d in leading}
        self._others = {d: tuple(k for k in self._modalities[d] if k in shapes) for d in leading}
        self._streams = {d: tuple(k for k in texts if TEXT_PREFIX + k in self._modalities[d]) for d in leading}
        needed = sorted({k for d in leading for k in self._others[d]})
        read = sorted({k for d in leading for k in self._streams[d]})
        self._summary_steps = {k: min(shapes[k].context, config.summary_context) for k in needed}
        self._nets = {d: DomainNet(shapes[d], self._modalities[d], config) for d in leading}
        self.nets = nn.ModuleDict(self._nets)
        self.summaries = nn.ModuleDict({k: Summary(shapes[k], config) for k in needed})
        self.mixing = SelfAttention(config.summary_hidden, config.heads) if config.mix_tokens and needed else None
        self.texts = nn.ModuleDict(
            {
                k: TextSummary(min(texts[k].buckets, config.text_rows), config.text_width, config.summary_hidden, texts[k].width)
                for k in read
            }
        )

    def modalities(self, domain: str) -> tuple[str, ...]:
        """What a domain is told, in the order of its parts."""
        return self._modalities[domain]

    def others(self, domain: str) -> tuple[str, ...]:
        """The domains that this one sees."""
        return self._others[domain]

    def streams(self, domain: str) -> tuple[str, ...]:
        """The streams of documents that a domain sees."""
        return self._streams[domain]

    def text_rows(self, stream: str) -> int:
        """Rows of a stream's table of tokens."""
        summary: Any = self.texts[stream]
        return int(summary.table_KW.shape[0])

    def summary_steps(self, other: str) -> int:
        """Steps of context that a domain's summary reads."""
        return self._summary_steps[other]

    def reach(self) -> Mapping[str, int]:
        """Steps of context that summaries read, of each domain that another one sees."""
        return self._summary_steps

    def net(self, domain: str) -> DomainNet:
        """The net of one domain."""
        return self._nets[domain]

    def parts_of(self, domain: str) -> tuple[str, ...]:
        """Prefixes of the parameters that forecasting one domain takes."""
        summaries = (f"summaries.{k}." for k in self._others[domain])
        return (f"nets.{domain}.", "mixing.", *summaries, *(f"texts.{k}." for k in self._streams[domain]))

    def forward(self, domain: str, batch: Batch, around: Around, keep: Mapping[str, Tensor], *, parts: bool, spread_windows: int) -> Change:
        """The forecast change of one domain's batch.

        Args:
            domain: The leading domain.
            batch: Its windows.
            around: What they see beside their own domain; what is not here counts as absent.
            keep: Per modality (B,) bool, False where it is dropped (modality dropout); absent: kept.
            parts: Whether to split the change.
            spread_windows: For how many of the first windows to give the spread.
        """
        summed = {k: self.summaries[k](context) for k, context in around.contexts.items()}
        told = self._mixed({k: _kept(k, said[:2], keep) for k, said in summed.items()})
        told |= {TEXT_PREFIX + k: self.texts[k](documents) for k, documents in around.documents.items()}
        if FUTURE in self._modalities[domain] and batch.ahead_BNLX is not None and batch.ahead_B is not None:
            told[FUTURE] = joined([batch.ahead_BNLX], 3), batch.ahead_B
        told = {k: _kept(k, said, keep) for k, said in told.items()}
        nodes = {k: said[2:] for k, said in summed.items()}
        change: Change = self.nets[domain](batch, told, nodes, parts=parts, spread_windows=spread_windows)
        return change

    def _mixed(self, told: dict[str, Told]) -> dict[str, Told]:
        """What other domains tell, each token knowing of the others that are there."""
        if self.mixing is None or not told:
            return told
        sizes = [tokens.shape[1] for tokens, _ in told.values()]
        there_BM = torch.cat([present[:, None].expand(-1, m) for m, (_, present) in zip(sizes, told.values(), strict=True)], 1)
        mixed = self.mixing(torch.cat([tokens for tokens, _ in told.values()], 1), there_BM).split(sizes, 1)
        return {k: (tokens, present) for (k, (_, present)), tokens in zip(told.items(), mixed, strict=True)}


def _kept(name: str, told: Told, keep: Mapping[str, Tensor]) -> Told:
    return (told[0], told[1] & keep[name]) if name in keep else told


def modalities_of(domain: str, shapes: Mapping[str, DomainShape], texts: Mapping[str, TextShape], config: ModelConfig) -> tuple[str, ...]:
    """What a domain is told: what others had forecast for it, the other domains, the streams of documents."""
    if not config.modalities:
        return ()
    future = (FUTURE,) if shapes[domain].future else ()
    names = (*future, *(k for k in sorted(shapes) if k != domain), *(TEXT_PREFIX + k for k in sorted(texts)))
    return tuple(k for k in names if k not in config.blinded)

"""What is trained: one joint model, or several of other seeds as one batched model; its losses, its averages.

Shape suffixes: M member, B window, L lead, N node, V target variable, Q quantile.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from models.batch import Around, Batch, farthest
from models.config import ModelConfig
from models.joint import Change, JointModel
from models.losses import absolute, pinball, target_change
from models.shapes import DomainShape, TextShape
from models.training.ranks import Ranks
from models.training.warm_start import Earlier
from pipeline.contracts.forecasts import QUANTILES

Named = dict[str, Tensor]

_NEXT_SEED = 100_003


class Learner:
    """Parameters under training; where there are several members every one of them has M rows.

    Member 0 begins as a training with that seed alone begins; all members see the same batches.

    Args:
        shapes, texts, leading, config: As for `JointModel`.
        weights: Per leading domain the weight of each target.
        bounds: Per leading domain the lower and the upper bound of each target (2, V), infinite where it has none.
        starts: Per leading domain the spread that an untrained model has (`DomainNet.start_spread`).
        seed: Of the weights.
        device: Where to train.
        earlier: A model to go on from.
    """

    def __init__(
        self,
        shapes: Mapping[str, DomainShape],
        texts: Mapping[str, TextShape],
        leading: tuple[str, ...],
        config: ModelConfig,
        weights: Mapping[str, Tensor],
        bounds: Mapping[str, Tensor],
        starts: Mapping[str, Tensor],
        seed: int,
        device: torch.device,
        earlier: Earlier | None = None,
    ) -> None:
        members = []
        for member in range(config.members):
            torch.manual_seed(seed + member * _NEXT_SEED)
            model = JointModel(shapes, texts, leading, config)
            for domain in leading:
                model.net(domain).start_spread(starts[domain])
            if earlier is not None:
                model.load_state_dict(earlier.carried(dict(model.named_parameters()), shapes, texts, config, member), strict=False)
            members.append(model)
        self.model, self.config, self.device = members[0].to(device), config, device
        self.shapes = shapes
        self.weights = {d: w.to(device) for d, w in weights.items()}
        self._limits = {d: shapes[d].limits(bounds_2V).to(device) for d, bounds_2V in bounds.items()}
        self._level_Q = torch.tensor(QUANTILES, device=device)
        self.plain_rank = {name: p.ndim for name, p in self.model.named_parameters()}
        if config.members == 1:
            self.parameters: Named = dict(self.model.named_parameters())
        else:
            stacked = {name: torch.stack([dict(m.named_parameters())[name].detach() for m in members]) for name in self.plain_rank}
            self.parameters = {name: p.to(device).requires_grad_() for name, p in stacked.items()}
        for domain in leading:
            self.model.net(domain).temporal.plain = config.members > 1 or device.type == "cuda"
        self.averaged = {name: p.detach().clone() for name, p in self.parameters.items()}

    def below(self, domain: str) -> list[str]:
        """Names of the parameters that forecasting a domain takes."""
        own = self.model.parts_of(domain)
        return [name for name in self.parameters if name.startswith(own)]

    def losses(self, domain: str, batch: Batch, around: Around, keep: Mapping[str, Tensor], shown: int, ranks: Ranks) -> Tensor:
        """(M,) this process's part of each member's loss; together the parts are the loss of the global batch.

        Args:
            domain: The leading domain.
            batch: This process's share of the windows.
            around: What these see beside their own domain.
            keep: As for `JointModel`.
            shown: On how many of these windows the spread is trained.
            ranks: All processes.
        """
        (came, usable), (low, high) = self.came(domain, batch), self._farthest(domain, batch)
        cells_2V = ranks.total(torch.stack([usable.sum((0, 1, 2)), usable[:shown].sum((0, 1, 2))]).to(came.dtype))
        weight = self.weights[domain]

        def loss(change: Change) -> Tensor:
            found = absolute(change, came, usable, cells_2V[0], weight, low, high)
            published = change.held(low, high)
            return found + self.config.quantile_weight * pinball(published, came, usable, cells_2V[1], weight, self._level_Q)

        if self.config.members == 1:
            return loss(self.model(domain, batch, around, keep, parts=False, spread_windows=shown))[None]

        def one(parameters: Named) -> Tensor:
            return loss(self._called(parameters, domain, batch, around, keep, shown))

        found: Tensor = torch.func.vmap(one, randomness="different")(self.parameters)
        return found

    @torch.no_grad()
    def medians(self, parameters: Named, domain: str, batch: Batch, around: Around, without: str | None = None) -> Tensor:
        """(B, L, N, V): the change that all members together forecast, with a modality switched off where one is named."""
        between = self._farthest(domain, batch)
        off = {} if without is None else {without: torch.zeros_like(batch.time_of_day_B, dtype=torch.bool)}
        if self.config.members == 1:
            return self._called(parameters, domain, batch, around, off, 0).held(*between).median_BLNV
        found: Tensor = torch.func.vmap(lambda own: self._called(own, domain, batch, around, off, 0).held(*between).median_BLNV)(parameters)
        return found.mean(0)

    def came(self, domain: str, batch: Batch) -> tuple[Tensor, Tensor]:
        """The change that came, and where it is known (B, L, N, V)."""
        v = self.shapes[domain].target_places
        return target_change(batch.y_BLNV[..., v], batch.good_BLNV[..., v], batch.anchor_BLNV[..., v], batch.unit_BNV[..., v])

    def _farthest(self, domain: str, batch: Batch) -> tuple[Tensor, Tensor]:
        v = self.shapes[domain].target_places
        return farthest(self._limits[domain], batch.anchor_BLNV[..., v], batch.unit_BNV[..., v])

    def _called(self, parameters: Named, domain: str, batch: Batch, around: Around, keep: Mapping[str, Tensor], shown: int) -> Change:
        change: Change = torch.func.functional_call(
            self.model, parameters, (domain, batch, around, keep), {"parts": False, "spread_windows": shown}
        )
        return change

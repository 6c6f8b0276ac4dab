"""The training loop: every step one domain leads, the others are its context; the best epoch is kept per domain.

Shape suffixes: B window, N node, V target variable.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.config import ModelConfig
from models.gather import Batch, Context, Gatherer
from models.joint import Change, JointModel
from models.losses import absolute, pinball, target_change
from models.progress import Progress
from models.shapes import DomainShape
from models.state import Fitted
from models.training.checkpoint import read_checkpoint, write_checkpoint
from models.training.folds import folds_of
from models.training.spread import usual_steps
from models.training.warm_start import carried
from pipeline.contracts.windows import WindowSet
from pipeline.errors import ContractError


@contextmanager
def reproducible(threads: int) -> Iterator[None]:
    """Torch with deterministic algorithms, this many threads, and random numbers of its own; all put back afterwards."""
    before, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    fill: bool = torch._C._get_deterministic_fill_uninitialized_memory()
    torch.set_num_threads(threads)
    _deterministic(True)
    torch._C._set_deterministic_fill_uninitialized_memory(False)
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        torch._C._set_deterministic_fill_uninitialized_memory(fill)
        _deterministic(deterministic)
        torch.set_num_threads(before)


def _deterministic(wanted: bool) -> None:
    """The flag alone: `torch.use_deterministic_algorithms` also imports the compiler, which takes seconds."""
    torch._C._set_deterministic_algorithms(wanted, warn_only=False)


def training_precision(config: ModelConfig) -> torch.dtype:
    """bfloat16 where asked for, or where `auto` and the processor multiplies it faster than float32."""
    fast = torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()
    return torch.bfloat16 if config.precision == "bfloat16" or (config.precision == "auto" and fast) else torch.float32


@dataclass(kw_only=True)
class Best:
    """The best epoch of one domain so far: its error relative to the anchor's, and the weights."""

    epoch: int
    ratio: float
    weights: dict[str, Tensor] = field(default_factory=dict)


class Trainer:
    """One training: its model, its optimiser, and the best weights of each domain.

    Args:
        windows: Everything the model may see.
        shapes: Of every domain that holds data.
        leading: Domains that have training windows and targets.
        config: All choices.
        seed: Of weights, order and dropout.
        initial: A model to go on from; its weights stand for epoch 0 and are kept where no epoch is better.
    """

    def __init__(
        self,
        windows: WindowSet,
        shapes: dict[str, DomainShape],
        leading: tuple[str, ...],
        config: ModelConfig,
        seed: int,
        initial: Fitted | None = None,
    ) -> None:
        self.windows, self.shapes, self.leading, self.config, self.seed = windows, shapes, leading, config, seed
        self.initial = initial
        torch.manual_seed(seed)
        self.model = JointModel(shapes, leading, config)
        self.gatherers = {name: Gatherer(windows.domains[name], shapes[name].usual_NV) for name in shapes}
        self.folds = {d: folds_of(windows.domains[d]) for d in leading}
        for d in leading:
            self.model.net(d).start_spread(usual_steps(self.gatherers[d], shapes[d], self.folds[d].train))
        if initial is not None:
            self.model.load_state_dict(carried(dict(self.model.named_parameters()), shapes, initial), strict=False)
        self.optimiser = torch.optim.AdamW(_groups(self.model, config), lr=config.learning_rate, fused=True)
        self.averaged = {name: p.detach().clone() for name, p in self.model.named_parameters()}
        self.dtype = training_precision(config)
        self.plan = {d: _plan(len(self.folds[d].train), len(shapes[d].node_ids), config) for d in leading}
        self.weight = {d: torch.from_numpy(windows.domains[d].weight_V[list(shapes[d].targets)].copy()) for d in leading}
        self.best = {d: Best(epoch=0, ratio=1.0, weights=self._weights(d, self.averaged)) for d in leading}
        self.history: list[dict[str, Any]] = []
        self.epoch = 0

    def run(self, progress: Progress, checkpoint: Path | None, identity: dict[str, Any]) -> None:
        """Train until the last epoch, or until no domain gains any more.

        Raises:
            ContractError: The loss is no number, or the checkpoint is of another training.
            StoreError: The checkpoint cannot be written.
        """
        if checkpoint is not None:
            self._resume(read_checkpoint(checkpoint, identity))
        if self.initial is not None and self.epoch == 0:
            self.history.append({"epoch": 0, "loss": {}, "validation": self._validate(list(self.leading))})
        while self.epoch < self.config.epochs and (active := self._active()):
            steps = sum(self.plan[d][1] for d in active)
            with progress.stage(f"epoch {self.epoch + 1} of {self.config.epochs}", steps, "steps") as stage:
                loss = self._train_epoch(active, stage.advance)
            self.epoch += 1
            self.history.append({"epoch": self.epoch, "loss": loss, "validation": self._validate(active)})
            if checkpoint is not None:
                write_checkpoint(checkpoint, self._tensors(), self._record(identity))

    def _active(self) -> list[str]:
        return [d for d in self.leading if self.epoch - self.best[d].epoch < self.config.patience]

    def _train_epoch(self, active: list[str], advance: Any) -> dict[str, float]:
        torch.manual_seed(self.seed * 1_000_003 + self.epoch + 1)
        chance = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch + 1)
        self.model.train()
        order = np.repeat(np.arange(len(active)), [self.plan[d][1] for d in active])[
            torch.randperm(sum(self.plan[d][1] for d in active), generator=chance)
        ]
        batches = {d: iter(self._batches(d, chance)) for d in active}
        total, count = dict.fromkeys(active, 0.0), dict.fromkeys(active, 0)
        for step, which in enumerate(order.tolist()):
            domain = active[which]
            rate = self._rate(self.epoch + step / len(order))
            for group in self.optimiser.param_groups:
                group["lr"] = rate * group["factor"]
            loss = self._step(domain, next(batches[domain]), chance)
            if not math.isfinite(loss):
                raise ContractError(
                    asked=f"training epoch {self.epoch + 1}, domain '{domain}'",
                    found=f"loss {loss}",
                    mend="look for values that are not finite in that domain's cube, or lower learning_rate",
                )
            total[domain] += loss
            count[domain] += 1
            advance(1, f"{domain} loss {total[domain] / count[domain]:.4f}")
        return {d: total[d] / max(count[d], 1) for d in active}

    def _batches(self, domain: str, chance: torch.Generator) -> Iterator[NDArray[np.int64]]:
        size, steps = self.plan[domain]
        train = self.folds[domain].train
        passes = -(-size * steps // len(train))
        order = torch.cat([torch.randperm(len(train), generator=chance) for _ in range(passes)]).numpy()
        for k in range(steps):
            yield train[np.sort(order[k * size : (k + 1) * size])]

    def _rate(self, epoch: float) -> float:
        done = epoch / self.config.epochs
        if done < self.config.warmup:
            return self.config.learning_rate * max(done / self.config.warmup, 0.01)
        return self.config.learning_rate * (0.51 + 0.49 * math.cos(math.pi * min(done, 1.0)))

    def _step(self, domain: str, index_W: NDArray[np.int64], chance: torch.Generator) -> float:
        batch, contexts = gathered(self.model, self.gatherers, domain, index_W)
        keep = {k: torch.rand(len(index_W), generator=chance) >= self.config.modality_dropout for k in contexts}
        shown = max(1, round(len(index_W) * self.config.quantile_share))
        with torch.autocast("cpu", torch.bfloat16, enabled=self.dtype == torch.bfloat16):
            change: Change = self.model(domain, batch, contexts, keep, parts=False, spread_windows=shown)
        came, usable = self._came(domain, batch)
        loss = absolute(change, came, usable, self.weight[domain])
        loss = loss + self.config.quantile_weight * pinball(change, came, usable, self.weight[domain])
        self.optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        value = loss.item()
        if math.isfinite(value):
            used = [p for p in self.model.parameters() if p.grad is not None]
            torch.nn.utils.clip_grad_norm_(used, self.config.clip)
            self.optimiser.step()
            self._average(used, domain)
        return value

    def _average(self, used: Sequence[Tensor], domain: str) -> None:
        """Average over the same share of an epoch in every domain, however few its steps."""
        newest = min(1.0, (1 - self.config.ema) * self.config.steps / self.plan[domain][1])
        touched = {id(p) for p in used}
        pairs = [(self.averaged[name], p.detach()) for name, p in self.model.named_parameters() if id(p) in touched]
        torch._foreach_lerp_([a for a, _ in pairs], [p for _, p in pairs], newest)

    def _came(self, domain: str, batch: Batch) -> tuple[Tensor, Tensor]:
        v = self.shapes[domain].target_places
        return target_change(batch.y_BLNV[..., v], batch.good_BLNV[..., v], batch.anchor_BLNV[..., v], batch.unit_BNV[..., v])

    def _validate(self, active: list[str]) -> dict[str, Any]:
        raw = {name: p.detach().clone() for name, p in self.model.named_parameters()}
        self.model.load_state_dict(self.averaged, strict=False)
        self.model.eval()
        found = {}
        for domain in active:
            error_V, anchor_V = self._errors(domain)
            per_V = [e / a if a > 0 else 1.0 for e, a in zip(error_V.tolist(), anchor_V.tolist(), strict=True)]
            weight = self.weight[domain].numpy()
            ratio = float(np.average(per_V, weights=weight if weight.sum() else None))
            found[domain] = {"relative_to_anchor": ratio, "per_variable": per_V}
            if ratio < min(self.best[domain].ratio, 1 - self.config.least_gain):
                self.best[domain] = Best(epoch=self.epoch, ratio=ratio, weights=self._weights(domain, self.averaged))
        self.model.load_state_dict(raw, strict=False)
        return found

    @torch.no_grad()
    def _errors(self, domain: str) -> tuple[Tensor, Tensor]:
        index = self.folds[domain].validation
        index = index[np.unique(np.linspace(0, len(index) - 1, min(self.config.validation_windows, len(index))).astype(int))]
        size = self.plan[domain][0]
        error, anchor, cells = (torch.zeros(len(self.shapes[domain].targets), dtype=torch.float64) for _ in range(3))
        for start in range(0, len(index), size):
            batch, contexts = gathered(self.model, self.gatherers, domain, index[start : start + size])
            with torch.autocast("cpu", torch.bfloat16, enabled=self.dtype == torch.bfloat16):
                change: Change = self.model(domain, batch, contexts, {}, parts=False, spread_windows=0)
            came, usable = self._came(domain, batch)
            error += ((change.median_BLNV - came).abs() * usable).sum((0, 1, 2), dtype=torch.float64)
            anchor += (came.abs() * usable).sum((0, 1, 2), dtype=torch.float64)
            cells += usable.sum((0, 1, 2))
        return error / cells.clamp(min=1), anchor / cells.clamp(min=1)

    def _weights(self, domain: str, parameters: dict[str, Tensor]) -> dict[str, Tensor]:
        own = (f"nets.{domain}.", *(f"summaries.{k}." for k in self.model.others(domain)))
        return {name: p.clone() for name, p in parameters.items() if name.startswith(own)}

    def _tensors(self) -> dict[str, Tensor]:
        tensors = {f"model/{n}": p for n, p in self.model.named_parameters()} | {f"averaged/{n}": p for n, p in self.averaged.items()}
        for domain, best in self.best.items():
            tensors |= {f"best/{domain}/{n}": p for n, p in best.weights.items()}
        for k, state in self.optimiser.state_dict()["state"].items():
            tensors |= {f"optimiser/{k}/{n}": t for n, t in state.items()}
        return tensors

    def _record(self, identity: dict[str, Any]) -> dict[str, Any]:
        best = {d: [b.epoch, b.ratio] for d, b in self.best.items()}
        return {"identity": identity, "epoch": self.epoch, "history": self.history, "best": best}

    def _resume(self, found: tuple[dict[str, Tensor], dict[str, Any]] | None) -> None:
        if found is None:
            return
        tensors, record = found
        self.epoch, self.history = record["epoch"], record["history"]
        self.model.load_state_dict(_below(tensors, "model/"), strict=False)
        self.averaged = _below(tensors, "averaged/")
        self.best = {d: Best(epoch=e, ratio=r, weights=_below(tensors, f"best/{d}/")) for d, (e, r) in record["best"].items()}
        state: dict[int, dict[str, Tensor]] = {}
        for name, value in _below(tensors, "optimiser/").items():
            key, _, part = name.partition("/")
            state.setdefault(int(key), {})[part] = value
        self.optimiser.load_state_dict({"state": state, "param_groups": self.optimiser.state_dict()["param_groups"]})


def gathered(
    model: JointModel, gatherers: dict[str, Gatherer], domain: str, index_W: NDArray[np.int64]
) -> tuple[Batch, dict[str, Context]]:
    """Windows of the leading domain, and the newest steps of the others at the same issue times."""
    batch = gatherers[domain].batch(index_W)
    others = [k for k in model.others(domain) if k in gatherers]
    return batch, {k: gatherers[k].context_at(batch.issue_time_B, model.summary_steps(k)) for k in others}


def _plan(windows: int, nodes: int, config: ModelConfig) -> tuple[int, int]:
    size = max(1, min(config.batch, config.rows // nodes, windows))
    return size, min(max(-(-windows // size), config.least_steps), config.steps)


def _groups(model: JointModel, config: ModelConfig) -> list[dict[str, Any]]:
    named = list(model.named_parameters())
    plain = [p for n, p in named if p.ndim > 1 and "fusion" not in n]
    free = [p for n, p in named if p.ndim <= 1 and "fusion" not in n]
    fusion = [p for n, p in named if "fusion" in n]
    return [
        {"params": plain, "weight_decay": config.weight_decay, "factor": 1.0},
        {"params": free, "weight_decay": 0.0, "factor": 1.0},
        {"params": fusion, "weight_decay": 0.0, "factor": 1.0},
    ]


def _below(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}

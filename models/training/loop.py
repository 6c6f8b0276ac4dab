"""The training loop: every step one domain leads, the others are its context; the best epoch is kept per domain."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.batch import Around, Batch, mapped
from models.config import ModelConfig
from models.feeds import Feeds
from models.prediction import bounds_of
from models.progress import Pace, Progress
from models.shapes import DomainShape, TextShape
from models.state import Fitted, below
from models.training.ahead import ahead
from models.training.checkpoint import read_checkpoint, write_checkpoint
from models.training.folds import folds_of
from models.training.graphs import StepGraphs
from models.training.learner import Learner, Named
from models.training.logs import Logs
from models.training.optimiser import Optimiser
from models.training.order import Resident, Segment, Streamed, generator, step_plan, streaming_layout
from models.training.ranks import Ranks
from models.training.runtime import casting, training_precision
from models.training.spread import usual_steps
from models.training.warm_start import Earlier
from pipeline.contracts.windows import WindowSet
from pipeline.errors import ContractError

_DROPOUT = 500_000_003
_LOOK_EVERY = 32
"""Steps on a GPU after which losses are looked at: each look waits for it."""


@dataclass(kw_only=True)
class Best:
    """The best epoch of one domain so far: its error relative to the anchor's, what it was judged by, and the weights."""

    epoch: int
    ratio: float
    judged: float
    weights: dict[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, eq=False)
class Task:
    """What is to be trained.

    Attributes:
        windows: Everything the model may see.
        shapes: Of every domain that holds data.
        texts: Of every stream of documents.
        leading: Domains that have training windows and targets.
        config: All choices.
        seed: Of weights, order and dropout.
        logs: A folder for TensorBoard's curves; no part of the result.
        initial: A model to go on from; its weights stand for epoch 0 and are kept where no epoch is better.
        streamed: Whether the arrays stay where they are, such as on a disk, and are read chunk by chunk.
    """

    windows: WindowSet
    shapes: dict[str, DomainShape]
    texts: dict[str, TextShape]
    leading: tuple[str, ...]
    config: ModelConfig
    seed: int
    streamed: bool = False
    initial: Fitted | None = None
    logs: Path | None = None


class Trainer:
    """One training: its model, its optimiser, and the best weights of each domain.

    Args:
        task: What is to be trained.
        device: Where.
        ranks: This process among those that train together.
    """

    def __init__(self, task: Task, device: torch.device, ranks: Ranks) -> None:
        self.task, self.device, self.ranks, self.config = task, device, ranks, task.config
        windows, shapes, leading, config = task.windows, task.shapes, task.leading, task.config
        resident = torch.device("cpu") if task.streamed else device
        self.feeds = Feeds(windows, shapes, task.texts, config, resident, often=not task.streamed)
        self.folds = {d: folds_of(windows.domains[d]) for d in leading}
        self.plan = {d: step_plan(len(self.folds[d].train), len(shapes[d].node_ids), config, ranks.count) for d in leading}
        weights = {d: torch.from_numpy(windows.domains[d].weight_V[list(shapes[d].targets)].copy()) for d in leading}
        bounds = {d: torch.from_numpy(bounds_of(windows.domains[d])) for d in leading}
        starts = {d: usual_steps(self.feeds.domains[d], shapes[d], self.folds[d].train) for d in leading}
        earlier = None if task.initial is None else Earlier(task.initial)
        self.learner = Learner(shapes, task.texts, leading, config, weights, bounds, starts, task.seed, device, earlier)
        ranks.same(list(self.learner.parameters.values()))
        self.optimiser = Optimiser(self.learner, config, {d: plan.steps for d, plan in self.plan.items()})
        self.dtype = training_precision(config, device)
        self.graphs = StepGraphs(self.learner, self.optimiser) if config.graphs and device.type == "cuda" and ranks.count == 1 else None
        self.source = self._streamed() if task.streamed else Resident(self.feeds, {d: f.train for d, f in self.folds.items()}, self.plan)
        self.best = {d: Best(epoch=0, ratio=1.0, judged=1.0, weights=self._weights(d)) for d in leading}
        self.history: list[dict[str, Any]] = []
        self.epoch = 0

    def run(self, progress: Progress, checkpoint: Path | None, identity: dict[str, Any]) -> None:
        """Train until the last epoch, or until no domain gains any more.

        Raises:
            ContractError: The loss is no number, or the checkpoint is of another training.
            StoreError: The checkpoint cannot be written.
        """
        if checkpoint is not None:
            self._resume(read_checkpoint(checkpoint, identity), checkpoint)
        if self.task.initial is not None and self.epoch == 0:
            self.history.append({"epoch": 0, "loss": {}, "validation": self._validate(list(self.task.leading))})
        logs = Logs(self.task.logs, self.epoch) if self.task.logs is not None and self.ranks.index == 0 else None
        while self.epoch < self.config.epochs and (active := self._active()):
            steps = sum(self.plan[d].steps for d in active)
            pace = Pace(steps * (self.config.epochs - self.epoch))
            with progress.stage(f"epoch {self.epoch + 1} of {self.config.epochs}", steps, "steps") as stage:
                loss = self._train_epoch(active, stage.advance, pace)
            speed, waiting = pace.windows / pace.seconds, pace.waited / pace.seconds
            self.epoch += 1
            self.history.append({"epoch": self.epoch, "loss": loss, "validation": self._validate(active)})
            if checkpoint is not None and self.ranks.index == 0:
                write_checkpoint(checkpoint, self._tensors(), self._record(identity))
            if logs is not None:
                logs.epoch(self.history[-1], self._mixing() | {"waiting_share": waiting}, speed)
            self.ranks.wait()
        if logs is not None:
            logs.close()

    def _mixing(self) -> dict[str, float]:
        """Mean alpha and beta of each domain, and the mean w of each modality."""
        found: dict[str, float] = {}
        for domain in self.task.leading:
            own = below(self.learner.averaged, f"nets.{domain}.fusion.")
            found |= {f"{k}/{domain}": float(own[f"{k}_logit"].sigmoid().mean()) for k in ("alpha", "beta")}
            w_y = own["w_y"].reshape(-1, *own["w_y"].shape[-2:]).mean(0)
            found |= {f"w/{domain}/{k}": float(w.abs().mean()) for k, w in zip(self.learner.model.modalities(domain), w_y, strict=True)}
        return found

    def _streamed(self) -> Streamed:
        task, config, train = self.task, self.config, {d: f.train for d, f in self.folds.items()}
        return Streamed(
            lambda part: Feeds(part, task.shapes, task.texts, config, self.device, often=True),
            task.windows,
            train,
            self.plan,
            config.stream_chunks,
            config.stream_together,
            streaming_layout(task.windows, train, self.plan, self.learner.model.reach(), config),
        )

    def _active(self) -> list[str]:
        return [d for d in self.task.leading if self.epoch - self.best[d].epoch < self.config.patience]

    def _train_epoch(self, active: list[str], advance: Any, pace: Pace) -> dict[str, float]:
        torch.manual_seed(self.task.seed * 1_000_003 + self.epoch + 1)
        dropout = generator(self.task.seed + _DROPOUT, self.epoch)
        self.learner.model.train()
        total = {d: torch.zeros((), dtype=torch.float64, device=self.device) for d in active}
        count, steps = dict.fromkeys(active, 0), sum(self.plan[d].steps for d in active)
        every = 1 if self.device.type == "cpu" else _LOOK_EVERY
        with closing(self._batches(active)) as fed:
            for done, (domain, size, batch, around) in enumerate(pace.waiting(fed)):
                self.optimiser.set_rate(self.epoch + done / steps)
                total[domain] += self._step(domain, size, batch, around, dropout)
                count[domain] += 1
                pace.step(size)
                if done % every == 0:
                    advance(min(every, max(steps - done, 1)), f"{self._note(domain, total, count)}, {pace.note()}")
        return {d: self._finite(d, float(total[d])) / max(count[d], 1) for d in active}

    def _note(self, domain: str, total: dict[str, Tensor], count: dict[str, int]) -> str:
        return f"{domain} loss {self._finite(domain, float(total[domain])) / count[domain]:.4f}"

    def _finite(self, domain: str, loss: float) -> float:
        if math.isfinite(loss):
            return loss
        raise ContractError(
            asked=f"training epoch {self.epoch + 1}, domain '{domain}'",
            found=f"loss {loss}",
            mend="look for values that are not finite in that domain's cube, or lower learning_rate",
        )

    def _batches(self, active: Sequence[str]) -> Generator[tuple[str, int, Batch, Around]]:
        """Domain, size of the global batch, and this process's share of it, made ahead where that saves time."""
        segments = self.source.segments(active, generator(self.task.seed, self.epoch))
        gathered = self._gathered(ahead(segments) if self.task.streamed else segments)
        return ahead(gathered) if self.config.prefetch and self.device.type == "cpu" else gathered

    def _gathered(self, segments: Iterator[Segment]) -> Generator[tuple[str, int, Batch, Around]]:
        for segment in segments:
            feeds = [segment.feeds, segment.feeds.twin(), segment.feeds.twin()]
            for k, (domain, index_W) in enumerate(segment.steps):
                yield domain, len(index_W), *feeds[k % 3].batch(self.learner.model, domain, self.ranks.share(index_W))

    def _step(self, domain: str, size: int, batch: Batch, around: Around, dropout: torch.Generator) -> Tensor:
        told = self.learner.model.modalities(domain)
        drawn = {k: torch.rand(size, generator=dropout) >= self.config.modality_dropout for k in told}
        keep = {k: self._here(self.ranks.share(mask)) for k, mask in drawn.items()}
        shown = self.ranks.of_first(max(1, round(size * self.config.quantile_share)))
        names = self.learner.below(domain)

        def body(batch: Batch, around: Around, keep: Mapping[str, Tensor]) -> Tensor:
            with casting(self.device, self.dtype):
                losses = self.learner.losses(domain, batch, around, keep, shown, self.ranks)
            self.optimiser.adam.zero_grad(set_to_none=True)
            torch.autograd.backward(losses.sum())
            loss = self.ranks.total(losses.detach().mean())
            self.ranks.gradients([self.learner.parameters[name] for name in names])
            if self.device.type != "cpu" or math.isfinite(loss.item()):
                self.optimiser.step(domain, names)
            return loss

        if self.graphs is None or around.documents:
            return body(batch, around, keep)
        return self.graphs.step(domain, body, batch, around, keep)

    def _validate(self, active: list[str]) -> dict[str, Any]:
        self.learner.model.eval()
        found = {}
        for domain in active:
            most, told = self.config.validation_windows, self.learner.model.modalities(domain)
            per_V, ratio = self._relative(domain, most)
            out = {k: self._relative(domain, -(-most // len(told)), k)[1] for k in told} if self.config.outage_share else {}
            share = self.config.outage_share if out else 0.0
            judged = (1 - share) * ratio + share * float(np.mean(list(out.values()) or [0.0]))
            found[domain] = {"relative_to_anchor": ratio, "per_variable": per_V, "without": out}
            if judged < min(self.best[domain].judged, 1 - self.config.least_gain):
                self.best[domain] = Best(epoch=self.epoch, ratio=ratio, judged=judged, weights=self._weights(domain))
        return found

    def _relative(self, domain: str, most: int, without: str | None = None) -> tuple[list[float], float]:
        """Error relative to the anchor's, per target and as their weighted mean, on at most so many windows of the validation fold."""
        error_V, anchor_V = self._errors(domain, most, without)
        per_V = [e / a if a > 0 else 1.0 for e, a in zip(error_V.tolist(), anchor_V.tolist(), strict=True)]
        weight = self.learner.weights[domain].cpu().numpy()
        return per_V, float(np.average(per_V, weights=weight if weight.sum() else None))

    @torch.no_grad()
    def _errors(self, domain: str, most: int, without: str | None) -> tuple[Tensor, Tensor]:
        index = self.folds[domain].validation
        index = index[np.unique(np.linspace(0, len(index) - 1, min(most, len(index))).astype(int))]
        index, size = self.ranks.share(index), self.plan[domain].size
        sums = torch.zeros(3, len(self.task.shapes[domain].targets), dtype=torch.float64, device=self.device)
        for start in range(0, len(index), size):
            batch, around = self._held_out(domain, index[start : start + size])
            with casting(self.device, self.dtype):
                median = self.learner.medians(self.learner.averaged, domain, batch, around, without)
            came, usable = self.learner.came(domain, batch)
            sums[0] += ((median - came).abs() * usable).sum((0, 1, 2), dtype=torch.float64)
            sums[1] += (came.abs() * usable).sum((0, 1, 2), dtype=torch.float64)
            sums[2] += usable.sum((0, 1, 2))
        error, anchor, cells = self.ranks.total(sums)
        return error / cells.clamp(min=1), anchor / cells.clamp(min=1)

    def _held_out(self, domain: str, index_W: NDArray[np.int64]) -> tuple[Batch, Around]:
        batch, around = self.feeds.batch(self.learner.model, domain, index_W)
        return mapped(batch, self._here), mapped(around, self._here)

    def _here(self, tensor: Tensor) -> Tensor:
        return tensor.to(self.device)

    def _weights(self, domain: str) -> Named:
        return {name: self.learner.averaged[name].clone() for name in self.learner.below(domain)}

    def _tensors(self) -> dict[str, Tensor]:
        learner = self.learner
        tensors = {f"model/{n}": p for n, p in learner.parameters.items()} | {f"averaged/{n}": p for n, p in learner.averaged.items()}
        for domain, best in self.best.items():
            tensors |= {f"best/{domain}/{n}": p for n, p in best.weights.items()}
        return tensors | {f"optimiser/{n}": t for n, t in self.optimiser.tensors().items()}

    def _record(self, identity: dict[str, Any]) -> dict[str, Any]:
        best = {d: [b.epoch, b.ratio, b.judged] for d, b in self.best.items()}
        return {"identity": identity, "epoch": self.epoch, "history": self.history, "best": best}

    @torch.no_grad()
    def _resume(self, found: tuple[dict[str, Tensor], dict[str, Any]] | None, checkpoint: Path) -> None:
        if not self.ranks.agree(found[1]["epoch"] if found else 0):
            raise ContractError(
                asked=f"go on from {checkpoint} in {self.ranks.count} processes",
                found="processes that see different checkpoints",
                mend="put the store in a folder that all of them share",
            )
        if found is None:
            return
        tensors, record = found
        self.epoch, self.history = record["epoch"], record["history"]
        for prefix, own in (("model/", self.learner.parameters), ("averaged/", self.learner.averaged)):
            for name, value in below(tensors, prefix).items():
                own[name].copy_(value)
        self.best = {
            d: Best(epoch=e, ratio=r, judged=j, weights={n: w.to(self.device) for n, w in below(tensors, f"best/{d}/").items()})
            for d, (e, r, j) in record["best"].items()
        }
        self.optimiser.restore(below(tensors, "optimiser/"))

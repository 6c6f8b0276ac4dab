"""A peer: an MLP that knows which node, which time of day and which day of the week it is.

Written anew from the description of STID (Shao et al., CIKM 2022, "Spatial-Temporal Identity"), with its published sizes: 32 numbers
each for series, node, time of day and day of week, three residual layers, Adam at 2e-3 halved at epochs 1, 50 and 80, weight decay 1e-4,
masked mean absolute error.

Shape suffixes: B window, C context step, L lead, N node, D hidden.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models.gather import Gatherer
from models.training.checkpoint import read_checkpoint, write_checkpoint

WIDTH, LAYERS, RATE, DECAY, BATCH = 32, 3, 2e-3, 1e-4, 64


class Stid(nn.Module):
    """Points of one variable."""

    def __init__(self, nodes: int, context: int, horizon: int, slots: int) -> None:
        super().__init__()
        wide = 4 * WIDTH
        self.read = nn.Linear(3 * context, WIDTH)
        self.node_ND = nn.Parameter(torch.empty(nodes, WIDTH))
        self.time_of_day, self.day_of_week = nn.Parameter(torch.empty(slots, WIDTH)), nn.Parameter(torch.empty(7, WIDTH))
        for table in (self.node_ND, self.time_of_day, self.day_of_week):
            nn.init.xavier_uniform_(table)
        self.widen = nn.ModuleList(nn.Linear(wide, wide) for _ in range(LAYERS))
        self.narrow = nn.ModuleList(nn.Linear(wide, wide) for _ in range(LAYERS))
        self.drop = nn.Dropout(0.15)
        self.out = nn.Linear(wide, horizon)
        self.slots = slots

    def forward(self, x_BCN: Tensor, slot_B: Tensor, day_B: Tensor) -> Tensor:
        """(B, L, N); slot and day are those of the first target step."""
        b, c, n = x_BCN.shape
        clock = torch.stack([slot_B / self.slots, day_B / 7], -1).float()[:, None, :].expand(b, n, 2).repeat_interleave(c, -1)
        series_BND = self.read(torch.cat([x_BCN.transpose(1, 2), clock], -1))
        parts = [series_BND, self.node_ND.expand(b, -1, -1), *(t[k][:, None].expand(b, n, -1) for t, k in self._told(slot_B, day_B))]
        hidden = torch.cat(parts, -1)
        for widen, narrow in zip(self.widen, self.narrow, strict=True):
            hidden = hidden + narrow(self.drop(torch.relu(widen(hidden))))
        found: Tensor = self.out(hidden).transpose(1, 2)
        return found

    def _told(self, slot_B: Tensor, day_B: Tensor) -> list[tuple[Tensor, Tensor]]:
        return [(self.time_of_day, slot_B), (self.day_of_week, day_B)]


@dataclass(frozen=True, kw_only=True)
class Trained:
    """The weights that were best on validation windows.

    Attributes:
        model: With these weights.
        epoch: After which they were found.
        curve: The error on validation after each epoch.
        seconds: Wall and processor seconds of all epochs, those before an interruption included.
    """

    model: Stid
    epoch: int
    curve: tuple[float, ...]
    seconds: tuple[float, float]


class Training:
    """STID of the first variable, epoch by epoch; the epoch with the least error on the held-out windows is the result.

    Args:
        gatherer: Of the windows.
        train: Those that train.
        held: Those that choose.
        seed: Of weights, order and dropout.
    """

    def __init__(self, gatherer: Gatherer, train: NDArray[np.int64], held: NDArray[np.int64], seed: int) -> None:
        d = gatherer.domain
        torch.manual_seed(seed)
        self._gatherer, self._train, self._held, self._seed = gatherer, train, held, seed
        self._chance = np.random.default_rng(seed)
        self.model = Stid(len(d.node_ids), d.context, d.horizon, d.slots_per_day)
        self._adam = torch.optim.Adam(self.model.parameters(), lr=RATE, weight_decay=DECAY)
        self._halved = torch.optim.lr_scheduler.MultiStepLR(self._adam, [1, 50, 80], 0.5)
        self._best = self._weights()
        self.curve: list[float] = []
        self.seconds = 0.0, 0.0

    @property
    def at(self) -> int:
        """The best epoch so far, the first being 1."""
        return int(np.argmin(self.curve)) + 1 if self.curve else 0

    def epoch(self) -> None:
        """One more."""
        wall, processor = time.perf_counter(), time.process_time()
        self.model.train()
        order = self._chance.permutation(self._train)
        for start in range(0, len(order), BATCH):
            loss = _error(self.model, self._gatherer, order[start : start + BATCH])
            self._adam.zero_grad(set_to_none=True)
            torch.autograd.backward(loss)
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), 5.0)
            self._adam.step()
        self._halved.step()
        self.model.eval()
        held = [self._held[k : k + BATCH] for k in range(0, len(self._held), BATCH)]
        with torch.inference_mode():
            self.curve.append(float(np.mean([float(_error(self.model, self._gatherer, part)) for part in held])))
        if self.at == len(self.curve):
            self._best = self._weights()
        self.seconds = self.seconds[0] + time.perf_counter() - wall, self.seconds[1] + time.process_time() - processor

    def write(self, path: Path) -> None:
        """Everything that going on takes."""
        tensors = {f"model/{name}": t for name, t in self._weights().items()} | {f"best/{name}": t for name, t in self._best.items()}
        for k, own in self._adam.state_dict()["state"].items():
            tensors |= {f"adam/{k}/{name}": t for name, t in own.items()}
        record = {"identity": {"seed": self._seed}, "curve": self.curve, "seconds": self.seconds}
        write_checkpoint(path, tensors | {"random": torch.get_rng_state()}, record)

    def read(self, path: Path) -> None:
        """Go on from what `write` left, bit for bit; from the beginning where there is nothing."""
        found = read_checkpoint(path, {"seed": self._seed})
        if found is None:
            return
        tensors, record = found
        self.model.load_state_dict(_below(tensors, "model/"))
        self._best, self.curve, self.seconds = _below(tensors, "best/"), record["curve"], tuple(record["seconds"])
        state: dict[int, dict[str, Tensor]] = {}
        for name, value in _below(tensors, "adam/").items():
            state.setdefault(int(name.split("/")[0]), {})[name.split("/")[1]] = value
        for _ in self.curve:
            self._chance.permutation(self._train)
            self._adam.step()  # without gradients it does nothing; the schedule wants to see it
            self._halved.step()
        self._adam.load_state_dict({"state": state, "param_groups": self._adam.state_dict()["param_groups"]})
        torch.set_rng_state(tensors["random"])

    def trained(self) -> Trained:
        """The best of it."""
        self.model.load_state_dict(self._best)
        return Trained(model=self.model.eval(), epoch=self.at, curve=tuple(self.curve), seconds=self.seconds)

    def _weights(self) -> dict[str, Tensor]:
        return {name: t.detach().clone() for name, t in self.model.state_dict().items()}


def train_stid(
    gatherer: Gatherer,
    train: NDArray[np.int64],
    held: NDArray[np.int64],
    *,
    seed: int,
    epochs: int,
    patience: int | None = None,
    kept: Path | None = None,
) -> Trained:
    """STID of the first variable, the epoch with the least error on the held-out windows.

    Args:
        gatherer: Of the windows.
        train: Those that train.
        held: Those that choose.
        seed: Of weights, order and dropout.
        epochs: At most.
        patience: Epochs without gain after which it ends; None: never.
        kept: A file that is replaced after every epoch and from which an interrupted training goes on, bit for bit.
    """
    training = Training(gatherer, train, held, seed)
    if kept is not None:
        training.read(kept)
    while (done := len(training.curve)) < epochs and (patience is None or done - training.at < patience):
        training.epoch()
        if kept is not None:
            training.write(kept)
            print(f"epoch {done + 1}: {training.curve[-1]:.5f} on validation, {training.seconds[1]:.0f} processor seconds", flush=True)
    return training.trained()


@torch.inference_mode()
def predict_stid(model: Stid, gatherer: Gatherer, index: NDArray[np.int64]) -> NDArray[np.float32]:
    """(B, L, N) in physical units."""
    d, said = gatherer.domain, []
    for start in range(0, len(index), BATCH):
        batch = gatherer.batch(index[start : start + BATCH])
        said.append(model(batch.context.x_BCNV[..., 0], batch.time_of_day_B, batch.day_of_week_B).numpy())
    found: NDArray[np.float32] = np.concatenate(said) * d.scaler.scale_NV[:, 0] + d.scaler.center_NV[:, 0]
    return found


def _error(model: Stid, gatherer: Gatherer, index: NDArray[np.int64]) -> Tensor:
    batch = gatherer.batch(index)
    said = model(batch.context.x_BCNV[..., 0], batch.time_of_day_B, batch.day_of_week_B)
    good = batch.good_BLNV[..., 0]
    error: Tensor = ((said - batch.y_BLNV[..., 0]).abs() * good).sum() / good.sum().clamp(min=1)
    return error


def _below(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}

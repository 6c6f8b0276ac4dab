"""A peer: an MLP that knows which node, which time of day and which day of the week it is.

Written anew from the description of STID (Shao et al., CIKM 2022, "Spatial-Temporal Identity"), with its published sizes: 32 numbers
each for series, node, time of day and day of week, three residual layers, Adam at 2e-3 halved at epochs 1, 50 and 80, weight decay 1e-4,
masked mean absolute error.

Shape suffixes: B window, C context step, L lead, N node, D hidden.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models.gather import Gatherer

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
    """The weights that were best on validation windows, of which epoch, and the error there after each epoch."""

    model: Stid
    epoch: int
    curve: tuple[float, ...]


def train_stid(
    gatherer: Gatherer, train: NDArray[np.int64], held: NDArray[np.int64], *, seed: int, epochs: int, patience: int | None = None
) -> Trained:
    """STID of the first variable, the epoch with the least error on the held-out windows.

    Args:
        gatherer: Of the windows.
        train: Those that train.
        held: Those that choose.
        seed: Of weights and order.
        epochs: At most.
        patience: Epochs without gain after which it ends; None: never.
    """
    d = gatherer.domain
    torch.manual_seed(seed)
    model = Stid(len(d.node_ids), d.context, d.horizon, d.slots_per_day)
    adam = torch.optim.Adam(model.parameters(), lr=RATE, weight_decay=DECAY)
    halved = torch.optim.lr_scheduler.MultiStepLR(adam, [1, 50, 80], 0.5)
    chance, best, state, at, curve = np.random.default_rng(seed), np.inf, model.state_dict(), 0, list[float]()
    for epoch in range(epochs):
        model.train()
        order = chance.permutation(train)
        for start in range(0, len(order), BATCH):
            loss = _error(model, gatherer, order[start : start + BATCH])
            adam.zero_grad(set_to_none=True)
            torch.autograd.backward(loss)
            torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
            adam.step()
        halved.step()
        model.eval()
        with torch.inference_mode():
            now = float(np.mean([float(_error(model, gatherer, held[k : k + BATCH])) for k in range(0, len(held), BATCH)]))
        if now < best:
            best, at, state = now, epoch + 1, {name: t.clone() for name, t in model.state_dict().items()}
        curve.append(now)
        if patience is not None:
            print(f"epoch {epoch + 1}: {now:.5f} on validation, {time.process_time():.0f} processor seconds", flush=True)
            if epoch + 1 - at >= patience:
                break
    model.load_state_dict(state)
    return Trained(model=model.eval(), epoch=at, curve=tuple(curve))


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

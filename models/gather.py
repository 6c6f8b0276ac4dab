"""Batches of windows, gathered from resident arrays into reused buffers.

Shape suffixes: B window, C context step, L lead, J coarse mean, K history summary, N node, V variable, F forecast variable,
X channel.
"""

from __future__ import annotations

import copy
import warnings
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.batch import OLDEST_RUN, Batch, Context, anchor_of, base_of, context_of, unit_of
from models.documents import spans
from pipeline.contracts.windows import DomainWindows, Future

CPU = torch.device("cpu")
_STEPS = 4096


def usual_values(domain: DomainWindows) -> NDArray[np.float32]:
    """(N, V) scaled mean of each node over the training fold's context; the variable's mean where a node has none."""
    train = domain.windows_of("train")
    stop = int(domain.end_W[train[-1]]) + 1 if len(train) else 0
    shape = domain.values_TNV.shape[1:]
    count, total = np.zeros(shape, np.int64), np.zeros(shape)
    for start in range(0, stop, _STEPS):
        good = domain.good_TNV[start : min(start + _STEPS, stop)]
        count += good.sum(0)
        total += np.where(good, domain.values_TNV[start : min(start + _STEPS, stop)], 0).sum(0, dtype=np.float64)
    overall = total.sum(0) / np.maximum(count.sum(0), 1)
    usual: NDArray[np.float32] = np.where(count > 0, total / np.maximum(count, 1), overall).astype(np.float32)
    return usual


def masked(values: NDArray[np.float32], good: NDArray[np.bool_]) -> NDArray[np.float32]:
    """The values, 0 where they are not good: the same array where they are so already, as the pipeline makes them."""
    for start in range(0, len(values), _STEPS):
        if np.any(values[start : start + _STEPS], where=~good[start : start + _STEPS]):
            return np.where(good, values, np.float32(0))
    return values


def tensor(array: NDArray[Any]) -> Tensor:
    """A tensor over the array's memory, also where that is read-only: nothing here writes to it."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(np.ascontiguousarray(array))


class Gatherer:
    """One domain's arrays as tensors, and the buffers that its batches reuse.

    Args:
        domain: The domain's arrays.
        usual_NV: Scaled values for nodes of which a window sees nothing at all.
        device: Where the arrays lie and the batches are made.
    """

    def __init__(self, domain: DomainWindows, usual_NV: NDArray[np.float32], device: torch.device = CPU) -> None:
        self.domain, self.device = domain, device
        self._n, self._v = len(domain.node_ids), len(domain.variables)
        self._usual_NV, self.usual_NV = self._put(usual_NV), usual_NV
        self._relative_NV = self._put(domain.scaler.relative_NV)
        self._valid_time = self._put(domain.valid_time_T)
        arrays = {
            "value": masked(domain.values_TNV, domain.good_TNV),
            "good": domain.good_TNV,
            "latency": domain.latency_TNV,
            "history": masked(domain.history_TNVK, domain.history_good_TNVK),
            "history_good": domain.history_good_TNVK,
            "coarse": masked(domain.coarse_TNV, domain.coarse_good_TNV),
            "coarse_good": domain.coarse_good_TNV,
        }
        self._flat = {name: self._put(array).flatten(1) for name, array in arrays.items()}
        if domain.future is not None:
            f = domain.future
            self._flat |= {
                "ahead": self._put(f.values_IHNF).flatten(0, 1).flatten(1),
                "ahead_good": self._put(f.good_IHNF).flatten(0, 1).flatten(1),
            }
        self._end, self._issue = self._put(domain.end_W).long(), self._put(domain.issue_time_W)
        self._time_of_day, self._day_of_week = self._put(domain.time_of_day_T).long(), self._put(domain.day_of_week_T).long()
        self._any_relative = bool((domain.scaler.relative_NV > 0).any())
        self._slowest_T = self._put(np.max(domain.latency_TNV, axis=(1, 2), where=domain.good_TNV, initial=-1))
        self._buffers: dict[str, Tensor] = {}
        self._counts: dict[tuple[int, int], Tensor] = {}

    def twin(self) -> Gatherer:
        """A gatherer of the same arrays with buffers of its own, so that two batches are valid at once."""
        other = copy.copy(self)
        other._buffers = {}
        return other

    def _put(self, array: NDArray[Any]) -> Tensor:
        return tensor(array).to(self.device)

    def context_at(self, issue_time_B: Tensor, steps: int) -> Context:
        """The newest `steps` steps at or before each issue time, as another domain sees them."""
        end = torch.searchsorted(self._valid_time, issue_time_B, right=True) - 1
        return self._context(end, issue_time_B, steps, "other")

    def batch(self, index_W: NDArray[np.int64]) -> Batch:
        """The windows of these indices."""
        index_W = np.asarray(index_W, np.int64)
        index = self._put(index_W)
        end, issue = self._end[index], self._issue[index]
        d = self.domain
        context = self._context(end, issue, d.context, "own")
        target = (end[:, None] + self._count(1, d.horizon + 1)).clamp(max=len(self._valid_time) - 1)
        shape = (len(index), d.horizon, self._n, self._v)
        history = self._take("history", target, "own").view(*shape, -1)
        history_good = self._take("history_good", target, "own").view(*shape, -1)
        past = end[:, None] - d.coarse_steps * self._count(0, d.coarse_count)
        inside = (past >= 0)[:, :, None, None]
        coarse_shape = (len(index), d.coarse_count, self._n, self._v)
        coarse_good = self._take("coarse_good", past.clamp(min=0), "own").view(coarse_shape).logical_and_(inside)
        coarse = self._take("coarse", past.clamp(min=0), "own").view(coarse_shape)
        if d.coarse_count and int(d.end_W[index_W].min(initial=len(d.valid_time_T))) < d.coarse_steps * (d.coarse_count - 1):
            coarse.masked_fill_(~inside, 0)
        base = base_of(context, coarse, coarse_good, self._usual_NV)
        ahead, ahead_B = (None, None) if d.future is None else self._ahead(d.future, index_W, end, issue)
        return Batch(
            context=context,
            history_BLNVK=history,
            history_good_BLNVK=history_good,
            coarse_BJNV=coarse,
            coarse_good_BJNV=coarse_good,
            base_BNV=base,
            anchor_BLNV=anchor_of(base, history, history_good, d.anchor_V.tolist()),
            unit_BNV=unit_of(base, self._relative_NV) if self._any_relative else torch.ones_like(base),
            time_of_day_B=self._time_of_day[target[:, 0]],
            day_of_week_B=self._day_of_week[target[:, 0]],
            issue_time_B=issue,
            y_BLNV=self._take("value", target, "target").view(shape),
            good_BLNV=self._take("good", target, "target").view(shape),
            ahead_BNLX=ahead,
            ahead_B=ahead_B,
        )

    def _count(self, start: int, stop: int) -> Tensor:
        if (start, stop) not in self._counts:
            self._counts[start, stop] = torch.arange(start, stop, device=self.device)
        return self._counts[start, stop]

    def _ahead(self, future: Future, index_W: NDArray[np.int64], end: Tensor, issue: Tensor) -> tuple[Tensor, Tensor]:
        """(B, N, L, X), and (B,) whether any of it is there; a run that was not known at the issue time counts as absent."""
        runs, length = future.values_IHNF.shape[:2]
        b, leads, f = len(end), self.domain.horizon, len(future.variables)
        run = future.run_W[index_W].astype(np.int64)
        if not runs * length:
            return self._usual_NV.new_zeros(b, self._n, leads, 2 * f + 1), torch.zeros(b, dtype=torch.bool, device=self.device)
        known = self._put((run >= 0) & (future.available_time_I[run] <= self.domain.issue_time_W[index_W]))
        lead = end[:, None] + self._count(1, leads + 1) - self._put(future.first_step_I[run].astype(np.int64))[:, None]
        inside = known[:, None] & (lead >= 0) & (lead < length)
        place = self._put(run.clip(0))[:, None] * length + lead.clamp(0, length - 1)
        good = self._take("ahead_good", place, "own").view(b, leads, self._n, f) & inside[:, :, None, None]
        x = self._take("ahead", place, "own").view(b, leads, self._n, f).masked_fill_(~good, 0)
        age = (issue - self._put(future.init_time_I[run])).float() / (self.domain.step_seconds * leads)
        age = torch.where(known, age.clamp(0, OLDEST_RUN), OLDEST_RUN)[:, None, None, None].expand(b, leads, self._n, 1)
        return torch.cat([x, good.float(), age], -1).transpose(1, 2), good.flatten(1).any(1)

    def _context(self, end: Tensor, issue: Tensor, steps: int, use: str) -> Context:
        step = end[:, None] + self._count(1 - steps, 1)
        shape = (len(end), steps, self._n, self._v)
        inside = step.clamp(min=0)
        seconds = issue[:, None] - self._valid_time[inside]
        room = torch.where(step >= 0, seconds, -1).clamp(max=2**31 - 2).int()
        x = self._take("value", inside, use).view(shape)
        seen = self._seen(inside, room, x, use)
        self._patch(issue, step[:, 0], x, seen)
        return context_of(x, seen, seconds, self.domain.step_seconds)

    def _seen(self, inside: Tensor, room: Tensor, x: Tensor, use: str) -> Tensor:
        """Which cells were known, and 0 in `x` where they were not.

        Where no good cell of a window's steps came later than the window allows, what is good was known: latencies, four
        times the size of masks, are read for the other windows only.
        """
        if self.device.type != "cpu":
            seen = self._take("latency", inside, use).view(x.shape) <= room[:, :, None, None]
            x.masked_fill_(~seen, 0)
            return seen
        seen = self._take("good", inside, use).view(x.shape)
        late = (self._slowest_T[inside] > room).any(1).nonzero()[:, 0]
        if len(late):
            latency = self._flat["latency"].index_select(0, inside[late].flatten()).view(len(late), *x.shape[1:])
            known = latency <= room[late][:, :, None, None]
            seen[late] = known
            x[late] = x[late].masked_fill_(~known, 0)
        return seen

    def _patch(self, issue: Tensor, first: Tensor, x: Tensor, seen: Tensor) -> None:
        """Show each window what it saw of cells that were revised after its issue time."""
        d = self.domain
        if not len(d.patch_step):
            return
        low = first.cpu().numpy()
        window, record = spans(*(d.patch_start_T[np.maximum(s, 0)] for s in (low, low + x.shape[1])))
        asked = issue.cpu().numpy()[window]
        shown = (d.patch_known_time[record] <= asked) & (asked < d.patch_gone_time[record])
        record, window = record[shown], window[shown]
        place = d.patch_step[record] - low[window]
        where = tuple(self._put(a.astype(np.int64)) for a in (window, place, d.patch_node[record], d.patch_variable[record]))
        x[where] = self._put(d.patch_value[record])
        seen[where] = True

    def _take(self, name: str, step: Tensor, use: str) -> Tensor:
        source, key = self._flat[name], f"{use} {name}"
        rows, width = step.numel(), source.shape[1]
        buffer = self._buffers.get(key)
        if buffer is None or buffer.numel() < rows * width:
            buffer = self._buffers[key] = torch.empty(rows * width, dtype=source.dtype, device=self.device)
        taken = buffer[: rows * width].view(rows, width)
        torch.index_select(source, 0, step.flatten(), out=taken)
        return taken

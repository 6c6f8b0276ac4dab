"""Batches of windows, gathered from resident arrays into reused buffers.

Shape suffixes: B window, C context step, L lead, J coarse mean, K history summary, N node, V variable, F forecast variable,
X channel.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.batch import OLDEST_RUN, Batch, Context, anchor_of, base_of, context_of, unit_of
from models.documents import spans
from models.newest import Newest, everywhere
from pipeline.contracts.cubes import NEVER
from pipeline.contracts.windows import DomainWindows, Future

CPU = torch.device("cpu")
_STEPS = 4096
_SPARSE = 8
"""One cell in so many is few."""


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
    array = np.ascontiguousarray(array)
    if array.flags.writeable:
        return torch.from_numpy(array)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(array)


class Gatherer:
    """One domain's arrays as tensors, and the buffers that its batches reuse.

    What lies side by side on the axis is copied in one piece a window: its context and its targets, and its history.

    Args:
        domain: The domain's arrays.
        usual_NV: Scaled values for nodes of which a window sees nothing at all.
        device: Where the arrays lie and the batches are made.
        often: Whether to make the newest value of every step beforehand, for many batches; else each window is looked through.
    """

    def __init__(self, domain: DomainWindows, usual_NV: NDArray[np.float32], device: torch.device = CPU, *, often: bool = False) -> None:
        self.domain, self.device = domain, device
        self._n, self._v = len(domain.node_ids), len(domain.variables)
        self._usual_NV, self.usual_NV = self._put(usual_NV), usual_NV
        self._relative_NV = self._put(domain.scaler.relative_NV)
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
        if (f := domain.future) is not None:
            ahead = {"ahead": f.values_IHNF, "ahead_good": f.good_IHNF}
            self._flat |= {name: self._put(array).flatten(0, 1).flatten(1) for name, array in ahead.items()}
        self._any_relative = bool((domain.scaler.relative_NV > 0).any())
        self._slowest_T = np.max(domain.latency_TNV, axis=(1, 2), where=domain.good_TNV, initial=-1)
        self._fastest_T = np.min(domain.latency_TNV, axis=(1, 2), where=domain.good_TNV, initial=NEVER)
        self._known_T = np.maximum.accumulate(np.where(self._slowest_T < 0, 0, domain.valid_time_T + self._slowest_T))
        self._newest = None
        if often:
            self._newest = Newest(
                self._flat["value"].cpu().numpy(),
                domain.good_TNV.reshape(len(domain.good_TNV), -1),
                domain.valid_time_T,
                domain.step_seconds,
                domain.context,
                device,
            )
        self._end_W = domain.end_W.astype(np.int64)
        target_W = np.minimum(self._end_W + 1, len(domain.valid_time_T) - 1)
        self._slots_2W = self._put(np.stack([slots[target_W].astype(np.int64) for slots in (domain.time_of_day_T, domain.day_of_week_T)]))
        self._anchor, self._one = domain.anchor_V.tolist(), torch.ones((), device=device)
        self._buffers: dict[str, Tensor] = {}

    def twin(self) -> Gatherer:
        """A gatherer of the same arrays with buffers of its own, so that two batches are valid at once."""
        other = copy.copy(self)
        other._buffers = {}
        return other

    def _put(self, array: NDArray[Any]) -> Tensor:
        return tensor(array).to(self.device)

    def _new(self, array: NDArray[Any]) -> Tensor:
        """The same of an array that was made for this."""
        return torch.from_numpy(array).to(self.device)

    def context_at(self, issue_B: NDArray[np.int64], steps: int) -> Context:
        """The newest `steps` steps at or before each issue time (seconds UTC), as another domain sees them."""
        end = np.searchsorted(self.domain.valid_time_T, issue_B, side="right") - 1
        return self._context(end, np.asarray(issue_B, np.int64), steps, 0, "other")[0]

    def batch(self, index_W: NDArray[np.int64]) -> Batch:
        """The windows of these indices."""
        index_W, d = np.asarray(index_W, np.int64), self.domain
        end, issue = self._end_W[index_W], d.issue_time_W[index_W]
        context, y, good = self._context(end, issue, d.context, d.horizon, "own")
        history, history_good = self._history(end + 1, y, good)
        coarse, coarse_good = self._coarse(end)
        base = self._base(context, coarse, coarse_good)
        ahead, ahead_B = (None, None) if d.future is None else self._ahead(d.future, index_W, end, issue)
        time_of_day, day_of_week = self._slots_2W.index_select(1, self._new(index_W))
        return Batch(
            context=context,
            history_BLNVK=history,
            history_good_BLNVK=history_good,
            coarse_BJNV=coarse,
            coarse_good_BJNV=coarse_good,
            base_BNV=base,
            anchor_BLNV=anchor_of(base, history, history_good, self._anchor),
            unit_BNV=unit_of(base, self._relative_NV) if self._any_relative else self._one.expand_as(base),
            time_of_day_B=time_of_day,
            day_of_week_B=day_of_week,
            issue_time_B=self._new(issue),
            y_BLNV=y,
            good_BLNV=good,
            ahead_BNLX=ahead,
            ahead_B=ahead_B,
        )

    def _history(self, first: NDArray[np.int64], y: Tensor, good: Tensor) -> tuple[Tensor, Tensor]:
        """Summaries of the past at the targets, and their masks."""
        d = self.domain
        shape = (*y.shape, len(d.history_names))
        if not d.history_names:
            return y.new_empty(shape), good.new_empty(shape)
        history, history_good = self._steps(("history", "history_good"), first, d.horizon, "own")
        return history.view(shape), history_good.view(shape)

    def _coarse(self, end: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        """Coarse means, the newest first, and their masks; none before the axis begins."""
        d = self.domain
        past = end[:, None] - d.coarse_steps * np.arange(d.coarse_count)
        shape = (*past.shape, self._n, self._v)
        if not d.coarse_count:
            return self._usual_NV.new_empty(shape), torch.empty(shape, dtype=torch.bool, device=self.device)
        coarse, good = (self._rows(name, past, "own").view(shape) for name in ("coarse", "coarse_good"))
        if past.min(initial=0) < 0:
            outside = self._new(past < 0)[:, :, None, None]
            coarse, good = coarse.masked_fill_(outside, 0), good.masked_fill_(outside, False)
        return coarse, good

    def _base(self, context: Context, coarse: Tensor, coarse_good: Tensor) -> Tensor:
        """`base_of`; where few cells lack a value, means are looked at for these alone."""
        last, has = context.last_BNV, context.has_BNV
        if everywhere(has):
            return last
        base = self._room("base", tuple(last.shape), last.dtype)
        if not self.domain.coarse_count:
            return torch.where(has, last, self._usual_NV, out=base)
        lacking = np.flatnonzero(~has.numpy()) if self.device.type == "cpu" else None
        if lacking is None or _SPARSE * len(lacking) > has.numel():
            return base_of(last, has, coarse, coarse_good, self._usual_NV)
        window, cell = (self._new(k) for k in np.divmod(lacking, has[0].numel()))
        means, good = (part.flatten(2)[window, :, cell] for part in (coarse, coarse_good))
        own = base_of(means.new_zeros(len(lacking)), good.new_zeros(len(lacking)), means, good, self._usual_NV.flatten()[cell])
        base.copy_(last).view(-1)[self._new(lacking)] = own
        return base

    def _ahead(self, future: Future, index_W: NDArray[np.int64], end: NDArray[np.int64], issue: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        """(B, N, L, X), and (B,) whether any of it is there; a run that was not known at the issue time counts as absent."""
        runs, length = future.values_IHNF.shape[:2]
        b, leads, f = len(end), self.domain.horizon, len(future.variables)
        run = future.run_W[index_W].astype(np.int64)
        if not runs * length:
            return self._usual_NV.new_zeros(b, self._n, leads, 2 * f + 1), torch.zeros(b, dtype=torch.bool, device=self.device)
        known = (run >= 0) & (future.available_time_I[run] <= issue)
        lead = end[:, None] + np.arange(1, leads + 1) - future.first_step_I[run].astype(np.int64)[:, None]
        inside = known[:, None] & (lead >= 0) & (lead < length)
        place = run.clip(0)[:, None] * length + lead.clip(0, length - 1)
        good = self._rows("ahead_good", place, "own").view(b, leads, self._n, f) & self._new(inside)[:, :, None, None]
        x = self._rows("ahead", place, "own").view(b, leads, self._n, f).masked_fill_(~good, 0)
        age = self._new((issue - future.init_time_I[run]).astype(np.float32)) / (self.domain.step_seconds * leads)
        age = torch.where(self._new(known), age.clamp(0, OLDEST_RUN), OLDEST_RUN)[:, None, None, None].expand(b, leads, self._n, 1)
        return torch.cat([x, good.float(), age], -1).transpose(1, 2), good.flatten(1).any(1)

    def _context(
        self, end: NDArray[np.int64], issue: NDArray[np.int64], steps: int, leads: int, use: str
    ) -> tuple[Context, Tensor, Tensor]:
        """What windows see of their newest steps; and the next `leads` steps, with their mask."""
        first, none = end - (steps - 1), np.zeros(len(end), np.int64)
        shape = (len(end), steps + leads, self._n, self._v)
        value, good = (part.view(shape) for part in self._steps(("value", "good"), first, shape[1], use))
        x, seen = value[:, :steps], good[:, :steps]
        late = first.min(initial=0) < 0 or (self._known_T[end] > issue).any()
        hidden_B, apart_B = self._hide(end, issue, x, seen) if late else (none, none > 0)
        if len(self.domain.patch_step):
            apart_B = apart_B | self._patch(issue, first, x, seen)
        return self._put_together(x, seen, end, issue, hidden_B, np.flatnonzero(apart_B), use), value[:, steps:], good[:, steps:]

    def _hide(
        self, end: NDArray[np.int64], issue: NDArray[np.int64], x: Tensor, seen: Tensor
    ) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Take from windows what came later than they allow; how many of the newest steps each lacks, and which lack others too.

        Where a whole step came late it is blanked, else latencies, four times the size of masks, are read.
        """
        step = end[:, None] + np.arange(1 - x.shape[1], 1)
        inside = np.maximum(step, 0)
        room = np.where(step < 0, -1, issue[:, None] - self.domain.valid_time_T[inside])
        late = self._slowest_T[inside] > room
        whole = late & (self._fastest_T[inside] > room)
        window, place = (self._new(k) for k in np.nonzero(whole))
        seen[window, place], x[window, place] = False, 0.0
        mixed_B = (late & ~whole).any(1)
        if mixed_B.any():
            some = np.flatnonzero(mixed_B)
            latency = self._flat["latency"].index_select(0, self._new(inside[some].ravel())).view(len(some), *x.shape[1:])
            known = latency <= self._new(room[some].clip(max=int(NEVER) - 1).astype(np.int32))[:, :, None, None]
            rows = self._new(some)
            seen[rows], x[rows] = known, x[rows].masked_fill_(~known, 0)
        newest_B = np.logical_and.accumulate(whole[:, ::-1], axis=1).sum(1)
        return newest_B, mixed_B | (whole.sum(1) > newest_B) | (end < newest_B)

    def _put_together(
        self,
        x: Tensor,
        seen: Tensor,
        end: NDArray[np.int64],
        issue: NDArray[np.int64],
        hidden_B: NDArray[np.int64],
        apart: NDArray[np.int64],
        use: str,
    ) -> Context:
        """The context of these windows; those `apart` see other values than every step's newest."""
        steps, d = x.shape[1], self.domain
        back = np.arange(1 - steps, 1)
        if self._newest is None or len(apart) == len(end) or steps > self._newest.most:
            seconds = issue[:, None] - d.valid_time_T[np.maximum(end[:, None] + back, 0)]
            return context_of(x, seen, self._new(seconds), d.step_seconds)
        found = self._newest.at(np.maximum(end - hidden_B, 0), issue, steps - hidden_B, steps + 1, partial(self._named, use))
        last, has, age = (part.view(len(end), self._n, self._v) for part in found)
        if len(apart):
            rows = self._new(apart)
            seconds = issue[apart, None] - d.valid_time_T[np.maximum(end[apart, None] + back, 0)]
            own = context_of(x[rows], seen[rows], self._new(seconds), d.step_seconds)
            last, has, age = (a.index_copy(0, rows, b) for a, b in ((last, own.last_BNV), (has, own.has_BNV), (age, own.age_BNV)))
        return Context(x_BCNV=x, seen_BCNV=seen, last_BNV=last, has_BNV=has, age_BNV=age)

    def _patch(self, issue: NDArray[np.int64], first: NDArray[np.int64], x: Tensor, seen: Tensor) -> NDArray[np.bool_]:
        """Show each window what it saw of cells that were revised after its issue time; which windows there are such."""
        d = self.domain
        window, record = spans(*(d.patch_start_T[np.maximum(s, 0)] for s in (first, first + x.shape[1])))
        shown = (d.patch_known_time[record] <= issue[window]) & (issue[window] < d.patch_gone_time[record])
        record, window = record[shown], window[shown]
        place = d.patch_step[record] - first[window]
        where = tuple(self._new(a.astype(np.int64)) for a in (window, place, d.patch_node[record], d.patch_variable[record]))
        x[where] = self._new(d.patch_value[record])
        seen[where] = True
        return np.isin(np.arange(len(first)), window)

    def _steps(self, names: tuple[str, str], first: NDArray[np.int64], steps: int, use: str) -> Iterator[Tensor]:
        """(B, steps, width) each: so many steps one after the other; the axis's first and last stand for those beyond."""
        count = len(self.domain.valid_time_T)
        if not steps or first.min(initial=0) < 0 or first.max(initial=0) + steps > count:
            yield from (self._rows(name, np.minimum(first[:, None] + np.arange(steps), count - 1), use) for name in names)
            return
        at = self._new(first)
        for name in names:
            width = self._flat[name].shape[1]
            slices = self._flat[name].as_strided((count - steps + 1, steps * width), (width, 1))
            yield self._taken(slices, f"{use} {name}", at).view(len(first), steps, width)

    def _rows(self, name: str, step: NDArray[np.int64], use: str) -> Tensor:
        """(B, steps, width): these steps; the first one stands for those before it."""
        source = self._flat[name]
        return self._taken(source, f"{use} {name}", self._new(np.maximum(step, 0).ravel())).view(*step.shape, source.shape[1])

    def _taken(self, source: Tensor, key: str, rows: Tensor) -> Tensor:
        taken = self._room(key, (len(rows), source.shape[1]), source.dtype)
        if taken.numel():
            torch.index_select(source, 0, rows, out=taken)
        return taken

    def _named(self, use: str, name: str, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        return self._room(f"{use} {name}", shape, dtype)

    def _room(self, key: str, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """Memory to fill, the same as last time where that was as wide."""
        held = self._buffers.get(key)
        if held is None or held.shape[0] < shape[0] or held.shape[1:] != shape[1:]:
            held = self._buffers[key] = torch.empty(shape, dtype=dtype, device=self.device)
        return held[: shape[0]]

"""Whole grids on an axis, by the rules of `aggregate`: all cells of a slab share their instants. S slabs, T axis steps, P cells."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.alignment.aggregate import Cells, Method
from pipeline.contracts.cubes import NEVER
from pipeline.contracts.flags import Flag

_MISSING = np.uint16(Flag.MISSING)


@dataclass(frozen=True, kw_only=True, eq=False)
class Slabs:
    """One variable's slabs in order of arrival where instants are equal.

    Attributes:
        valid_time, available_time: (S,) int64 seconds UTC.
        values_SP, flags_SP: As of readings.
    """

    valid_time: NDArray[np.int64]
    available_time: NDArray[np.int64]
    values_SP: NDArray[np.float32]
    flags_SP: NDArray[np.uint16]


def aggregate_slabs(slabs: Slabs, *, axis_T: NDArray[np.int64], edge: int, method: Method, latency: int) -> Cells:
    """Slabs on a stretch of the axis, as `aggregate` does with a row per cell."""
    cells = slabs.values_SP.shape[1]
    made = _Made(len(axis_T), cells)
    step_S = np.where(slabs.valid_time > edge, np.searchsorted(axis_T, slabs.valid_time, side="left"), -1)
    for t, label in enumerate(axis_T.tolist()):
        mine = np.flatnonzero(step_S == t)
        if not len(mine):
            continue
        mine = mine[np.lexsort((mine, slabs.available_time[mine], slabs.valid_time[mine]))]
        arrival = np.maximum(slabs.available_time[mine], label + latency)
        for moment in np.unique(arrival).tolist():
            seen = mine[arrival <= moment]
            made.show(t, moment, *_version(slabs, seen, method))
    return made.cells(axis_T)


class _Made:
    """The versions of cells as they come."""

    def __init__(self, steps: int, cells: int) -> None:
        self.values = np.full((steps, cells), np.nan, np.float32)
        self.flags = np.full((steps, cells), _MISSING, np.uint16)
        self.since = np.full((steps, cells), np.iinfo(np.int64).max)
        self._old: list[tuple[NDArray[np.int64], ...]] = []
        self._kept: list[tuple[NDArray[np.float32], NDArray[np.uint16]]] = []

    def show(self, step: int, moment: int, values: NDArray[np.float32], flags: NDArray[np.uint16], says: NDArray[np.bool_]) -> None:
        """A step as it was known from a moment on, later than the ones before; cells of which nothing is said stay."""
        before = self.since[step] != np.iinfo(np.int64).max
        same = (values.view(np.uint32) == self.values[step].view(np.uint32)) & (flags == self.flags[step])
        changed = np.flatnonzero(says & ~(before & same))
        old = changed[before[changed]]
        if len(old):
            self._old.append((np.full(len(old), step), old, self.since[step, old], np.full(len(old), moment)))
            self._kept.append((self.values[step, old], self.flags[step, old]))
        self.values[step, changed], self.flags[step, changed], self.since[step, changed] = values[changed], flags[changed], moment

    def cells(self, axis_T: NDArray[np.int64]) -> Cells:
        """Everything shown."""
        none = np.zeros(0, np.int64)
        step, cell, known, gone = (np.concatenate([none, *part]) for part in zip(*self._old, strict=True)) if self._old else (none,) * 4
        held = self.since != np.iinfo(np.int64).max
        late = np.full(self.since.shape, NEVER, np.int32)
        for t, label in enumerate(axis_T.tolist()):
            np.minimum(self.since[t] - label, int(NEVER) - 1, out=late[t], where=held[t], casting="unsafe")
        order = np.lexsort((known, cell, step))
        value = np.concatenate([np.zeros(0, np.float32), *(v for v, _ in self._kept)])
        flag = np.concatenate([np.zeros(0, np.uint16), *(f for _, f in self._kept)])
        return Cells(
            values_TN=self.values,
            flags_TN=self.flags,
            latency_TN=late,
            step=step[order].astype(np.int32),
            node=cell[order].astype(np.int32),
            value=value[order],
            flag=flag[order],
            available_time=known[order],
            superseded_time=gone[order],
        )


def _version(slabs: Slabs, seen: NDArray[np.int64], method: Method) -> tuple[NDArray[np.float32], NDArray[np.uint16], NDArray[np.bool_]]:
    """Values, flags, and where anything is said, of the slabs seen: of each instant the newest that says something of a cell."""
    count = slabs.values_SP.shape[1]
    total, good_count = np.zeros(count), np.zeros(count)
    bits, says = np.zeros(count, np.uint16), np.zeros(count, np.bool_)
    for instant in np.unique(slabs.valid_time[seen]):
        value, flag, said = np.full(count, np.nan, np.float32), np.zeros(count, np.uint16), np.zeros(count, np.bool_)
        for s in seen[slabs.valid_time[seen] == instant]:
            new, its = slabs.values_SP[s], slabs.flags_SP[s]
            news = ~(np.isnan(new) & ((its & ~_MISSING) == 0))
            value, flag, said = np.where(news, new, value), np.where(news, its, flag), said | news
        good = said & (flag == 0)
        _take_in(total, good_count, value, good, method)
        bits |= np.where(said, flag, np.uint16(0))
        says |= said
    known = good_count > 0
    mean = total / np.maximum(good_count, 1) if method == "mean" else total
    values = np.where(known, mean, np.nan).astype(np.float32)
    return values, np.where(known, np.uint16(0), bits).astype(np.uint16), says


def _take_in(
    total: NDArray[np.float64], count: NDArray[np.float64], value: NDArray[np.float32], good: NDArray[np.bool_], method: Method
) -> None:
    """The next instant's good values into what was gathered so far, in place."""
    first, new = good & (count == 0), value.astype(np.float64)
    if method in ("mean", "sum"):
        total += np.where(good, new, 0.0)
    elif method == "last":
        np.copyto(total, new, where=good)
    else:
        better = new > total if method == "max" else new < total
        np.copyto(total, new, where=first | (good & better))
    count += good

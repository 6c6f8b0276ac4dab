"""The newest value of every cell, step by step of an axis, made once, so that a batch need not look for it in each window.

Shape suffixes: T axis steps, B window, C context step, N node, V variable, M all nodes' variables in one row.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_STEPS = 4096
_EXACT = 2**24
"""Whole seconds up to this are float32 without rounding."""

Found = tuple[Tensor, Tensor, Tensor]
"""(B, M) each: the newest value (0 where there is none), whether there is one, and its age in steps."""

Room = Callable[[str, tuple[int, ...], torch.dtype], Tensor]
"""By name, shape and type memory to fill, which the next batch fills again."""


class Newest:
    """Newest good values as of every step, at most `most` - 1 steps old.

    Args:
        values_TM: 0 where not good.
        good_TM: Their mask.
        valid_time_T: Seconds of each step.
        step_seconds: Of the domain.
        most: Steps after which a value is too old.
        device: Where batches are made.
    """

    def __init__(
        self,
        values_TM: NDArray[np.float32],
        good_TM: NDArray[np.bool_],
        valid_time_T: NDArray[np.int64],
        step_seconds: int,
        most: int,
        device: torch.device,
    ) -> None:
        self.most, self._step_seconds, self._device, self._valid_time_T = most, step_seconds, device, valid_time_T
        value_TM, gap_TM = _filled(values_TM, good_TM, most)
        self._longest_T = gap_TM.max(1, initial=0).astype(np.int64)
        self._jumps_T = np.cumsum(np.diff(valid_time_T, prepend=valid_time_T[:1] - step_seconds) != step_seconds)
        self._value_TM, self._gap_TM = self._new(value_TM), self._new(gap_TM)
        self._true = torch.ones((), dtype=torch.bool, device=device)

    def _new(self, array: NDArray[Any]) -> Tensor:
        return torch.from_numpy(array).to(self._device)

    def at(self, end_B: NDArray[np.int64], issue_B: NDArray[np.int64], steps_B: NDArray[np.int64], oldest: float, room: Room) -> Found:
        """What windows see whose newest step is `end` and that see so many steps back from it.

        Args:
            end_B: Steps of the axis.
            issue_B: Seconds of the issue times.
            steps_B: At most `most`.
            oldest: The age of what is not there, and the most of all others.
            room: Gives the memory that is filled.
        """
        row, shape = self._new(end_B), (len(end_B), self._gap_TM.shape[1])
        last = torch.index_select(self._value_TM, 0, row, out=room("last", shape, torch.float32))
        gap = torch.index_select(self._gap_TM, 0, row, out=room("gap", shape, self._gap_TM.dtype))
        seconds_B = issue_B - self._valid_time_T[end_B]
        fewest, most = (int(f(steps_B)) for f in (np.min, np.max))
        age = self._ages(gap, end_B, seconds_B, most, oldest, room("age", shape, torch.float32))
        if self._longest_T[end_B].max() < fewest:
            return last, self._true.expand(shape), age
        has = room("has", shape, torch.bool)
        if has.device.type == "cpu":  # numpy compares bytes ten times as fast as torch
            np.less(gap.numpy(), steps_B.astype(np.int16)[:, None] if fewest < most else most, out=has.numpy())
        else:
            torch.lt(gap, self._new(steps_B)[:, None], out=has)
        if fewest < self.most:
            none = ~has
            last.masked_fill_(none, 0), age.masked_fill_(none, oldest)
        return last, has, age

    def _ages(self, gap: Tensor, end_B: NDArray[np.int64], seconds_B: NDArray[np.int64], steps: int, oldest: float, age: Tensor) -> Tensor:
        """Steps from each newest value to the issue time: seconds in float32, divided by the step's."""
        last = int(seconds_B.max(initial=0))
        even = not self._jumps_T[-1] or (self._jumps_T[end_B] == self._jumps_T[np.maximum(end_B - (steps - 1), 0)]).all()
        if even and (self.most + 1) * self._step_seconds + last < _EXACT:
            age.copy_(gap)
            if last:
                age.mul_(self._step_seconds).add_(self._new(seconds_B.astype(np.float32))[:, None])
                age.div_(self._step_seconds).clamp_(max=oldest)
            return age
        back_BC = np.maximum(end_B[:, None] - np.arange(self.most + 2), 0)
        table = ((seconds_B + self._valid_time_T[end_B])[:, None] - self._valid_time_T[back_BC]).astype(np.float32)
        table[:, -1] = np.inf
        return self._new(table).div_(self._step_seconds).clamp_(max=oldest).gather(1, gap.long())


def everywhere(mask: Tensor) -> bool:
    """Whether a mask is one True that stands for all, as `Newest` gives it."""
    return not any(mask.stride())


def newest_bytes(cells: int) -> int:
    """Bytes of the newest values of so many cells."""
    return 5 * cells


def _filled(values_TM: NDArray[np.float32], good_TM: NDArray[np.bool_], most: int) -> tuple[NDArray[np.float32], NDArray[Any]]:
    """Each step's newest value, and how many steps old it is: below `most`; 0 and `most` + 1 where there is none."""
    value = np.empty(values_TM.shape, np.float32)
    gap = np.empty(values_TM.shape, np.uint8 if most < 255 else np.int16)
    for start in range(0, len(values_TM), _STEPS):
        low, stop = max(0, start - most), min(start + _STEPS, len(values_TM))
        step = np.arange(low, stop, dtype=np.int32)[:, None]
        found = np.maximum.accumulate(np.where(good_TM[low:stop], step, np.int32(low - most)), axis=0)[start - low :]
        back = step[start - low :] - found
        none = back >= most
        gap[start:stop] = np.where(none, most + 1, back)
        value[start:stop] = np.where(none, np.float32(0), np.take_along_axis(values_TM[low:stop], np.maximum(found - low, 0), 0))
    return value, gap

"""Pace: the blocks of time by which a calibration learns, and when what happened to their windows is known.

A block's outcomes are taken as they were known at one instant, when the last of them was due, and are used by forecasts
issued from the next block on. So the calibration in force at any instant follows from the model and the cube as of that
instant, whichever forecasts were really issued and whenever somebody looked.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.alignment.time_grid import DAY, axis, step_seconds, steps_ahead
from pipeline.contracts.worlds import Clock

_PER_BLOCK = 12
"""Most windows of a block that are learned from, evenly spread."""
_LONGEST_GAP = 30 * DAY
"""Longer than any gap between two sessions."""


@dataclass(frozen=True, kw_only=True)
class Pace:
    """How a domain's calibration goes.

    Attributes:
        clock, start: The domain's axis (seconds UTC).
        lag: Seconds after a step at which windows are issued, and its values known.
        horizon: Steps that a window forecasts.
    """

    clock: Clock
    start: int
    lag: int
    horizon: int

    @property
    def block(self) -> int:
        """Seconds of a block: six hours, or a day where a step is a session or longer than that."""
        return DAY if step_seconds(self.clock) > DAY // 4 else DAY // 4

    @property
    def units(self) -> float:
        """What a block is of the unit in which the past fades: a day, or a week where a step is a session or a day."""
        return self.block / (7 * DAY if step_seconds(self.clock) >= DAY else DAY)

    @property
    def window(self) -> float:
        """What a window that is learned from is of that unit."""
        return self.units * max(step_seconds(self.clock), self.block / _PER_BLOCK) / self.block

    def block_of(self, moment: int) -> int:
        """The block that an instant (seconds UTC) lies in."""
        return moment // self.block

    def begin(self, block: int) -> int:
        """The instant at which a block begins."""
        return block * self.block

    def settled(self, block: int) -> int:
        """The instant at which all outcomes of the windows issued before a block's end are due; never earlier than its end."""
        end = self.begin(block + 1)
        issued = axis(self.clock, self._label_before(end - self.lag), end - 1 - self.lag)
        if not len(issued):
            return end
        newest = axis(self.clock, int(issued[-1]), int(issued[-1]) + self.lag)[-1]
        return max(end, int(steps_ahead(self.clock, int(newest), self.horizon)[-1]) + self.lag)

    def known_at(self, moment: int) -> int:
        """The last block whose outcomes are due when the block of an instant begins."""
        begin, block = self.begin(self.block_of(moment)), self.block_of(moment) - 1
        while self.settled(block) > begin:
            block -= 1
        return block

    def _label_before(self, moment: int) -> int:
        """An instant from which an axis that holds the labels just before `moment` can begin."""
        if self.clock.step is None:
            return max(self.start, moment - _LONGEST_GAP)
        steps = max(0, (moment - self.start) // step_seconds(self.clock) - 1)
        return self.start + steps * step_seconds(self.clock)


def chosen(index_W: NDArray[np.int64]) -> NDArray[np.int64]:
    """The windows of a block that are learned from: all where they are few, else evenly spread, the first and the last too."""
    if len(index_W) <= _PER_BLOCK:
        return index_W
    return index_W[np.round(np.linspace(0, len(index_W) - 1, _PER_BLOCK)).astype(np.int64)]

"""Walk: one model's calibration carried along a domain's windows in the order of time, as it would have been in force.

Shape suffixes: W windows, L lead, N node, V target variable, T axis steps.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.calibration.blocks import Conditions, Targets, cases_of, probabilities, published
from pipeline.calibration.calibration import Calibration, Cases
from pipeline.calibration.pace import Pace, chosen
from pipeline.contracts.windows import DomainWindows

Raw = Callable[[NDArray[np.int64]], NDArray[np.float32]]
"""Windows of a domain -> the model's own quantiles (W, L, N, V, Q), physical units."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Ground:
    """What a domain's windows are and what came of them, shared by the walks of all its models.

    Attributes:
        view: All windows.
        observed_TNV: Values of all variables in physical units, without the horizon after the cut-off.
        conditions: What is known of each window, over all windows of the view.
        learned_W: The windows that may be learned from, ascending.
    """

    view: DomainWindows
    observed_TNV: NDArray[np.float32]
    conditions: Conditions
    learned_W: NDArray[np.int64]
    targets: Targets
    pace: Pace

    def learned(self, block: int) -> NDArray[np.int64]:
        """The windows of a block that are learned from."""
        issue_W = self.view.issue_time_W[self.learned_W]
        first, last = np.searchsorted(issue_W, [self.pace.begin(block), self.pace.begin(block + 1)])
        return chosen(self.learned_W[first:last])

    def cases(self, block: int, index_W: NDArray[np.int64], quantiles: NDArray[np.float32], in_force: Calibration) -> Cases:
        """What some windows of a block teach, of the outcomes known when it was settled."""
        steps = self.view.end_W[index_W].astype(np.int64)[:, None] + 1 + np.arange(self.view.horizon)
        due = self.pace.settled(block) - self.view.valid_time_T[steps]
        variables = list(self.view.targets)
        known = self.view.good_TNV[steps][..., variables] & (self.view.latency_TNV[steps][..., variables] <= due[:, :, None, None])
        held = np.minimum(steps, len(self.observed_TNV) - 1)
        truth = self.observed_TNV[held][..., variables]
        return cases_of(in_force, self.targets, quantiles, self.conditions.of(index_W), truth, known)


class Walk:
    """Forecasts calibrated with what was known at each block's beginning; windows must be given in order of time."""

    def __init__(self, ground: Ground, raw: Raw, start: Calibration) -> None:
        self._ground, self._raw = ground, raw
        self._state, self._open = start, start.block + 1
        self._collected: Cases | None = None
        self._pending: deque[tuple[int, Cases, Calibration]] = deque()

    def forecast(self, index_W: NDArray[np.int64]) -> tuple[NDArray[np.float32], dict[str, NDArray[np.float32]]]:
        """The published quantiles (W, L, N, V, Q) and probabilities (W, L, N) of events of these windows."""
        raw = self._raw(index_W)
        made, told, done = [], [], 0
        for block, part in self._by_block(index_W):
            self._enter(block)
            quantiles, conditions = raw[done : done + len(part)], self._ground.conditions.of(part)
            made.append(published(self._state, self._ground.targets, quantiles, conditions))
            told.append(probabilities(self._state, self._ground.targets, quantiles, conditions))
            learned = np.isin(part, self._ground.learned(block))
            self._collect(block, part[learned], quantiles[learned])
            done += len(part)
        names = self._ground.targets.events
        return np.concatenate(made) if made else raw, {name: np.concatenate([t[name] for t in told]) for name in names if told}

    def until(self, as_of: int) -> Calibration:
        """The calibration in force from the first block that begins at or after `as_of`, all that is settled by then taken in."""
        self._enter(self._ground.pace.block_of(as_of))
        self._absorb(as_of)
        return self._state

    def _by_block(self, index_W: NDArray[np.int64]) -> list[tuple[int, NDArray[np.int64]]]:
        block_W = self._ground.view.issue_time_W[index_W] // self._ground.pace.block
        return [(int(block), index_W[block_W == block]) for block in np.unique(block_W)]

    def _enter(self, block: int) -> None:
        """Close the blocks before this one, and take in what is settled when it begins."""
        nothing = Cases.none(self._ground.targets.shape, len(self._ground.targets.events))
        while self._open < block:
            self._pending.append((self._open, self._collected or nothing, self._state))
            self._collected, self._open = None, self._open + 1
            self._absorb(self._ground.pace.begin(self._open))

    def _absorb(self, moment: int) -> None:
        while self._pending and self._ground.pace.settled(self._pending[0][0]) <= moment:
            _, cases, in_force = self._pending.popleft()
            self._state = self._state.absorbed(cases, self._ground.pace.units, in_force)

    def _collect(self, block: int, index_W: NDArray[np.int64], quantiles: NDArray[np.float32]) -> None:
        if len(index_W):
            cases = self._ground.cases(block, index_W, quantiles, self._state)
            self._collected = cases if self._collected is None else self._collected + cases

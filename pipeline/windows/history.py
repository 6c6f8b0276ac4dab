"""The far past at the target's place in the season, and coarse means, as any window that gathers them could know them.

Shape suffixes: T axis steps (with the horizon after the cut-off), N node, V variable, K summary.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
from numpy.typing import NDArray

from pipeline.alignment.time_grid import season_steps
from pipeline.contracts.cubes import NEVER
from pipeline.contracts.times import format_duration
from pipeline.contracts.worlds import Clock, Domain

SEASONS_BACK = 4
"""How many seasons back a summary looks."""

_SHORTEST_GAP_S = 20 * 3600
"""Two closes are further apart than this."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Series:
    """One domain's scaled cells with all their versions.

    Attributes:
        valid_time_T: int64 seconds UTC, with the horizon.
        values_TNV: float32 scaled, 0 where not good.
        good_TNV: bool.
        latency_TNV: int32 seconds of the version shown, also where it is not good; NEVER where nothing came.
        old_step, old_node, old_variable, old_value, old_good: Superseded versions.
        old_latency, old_superseded: Seconds after its step's `valid_time` between which each was the one shown.
    """

    valid_time_T: NDArray[np.int64]
    values_TNV: NDArray[np.float32]
    good_TNV: NDArray[np.bool_]
    latency_TNV: NDArray[np.int32]
    old_step: NDArray[np.int32]
    old_node: NDArray[np.int32]
    old_variable: NDArray[np.int16]
    old_value: NDArray[np.float32]
    old_good: NDArray[np.bool_]
    old_latency: NDArray[np.int64]
    old_superseded: NDArray[np.int64]

    def known_within(self, limit_T: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Values and masks of the first len(limit_T) steps in the version shown `limit` seconds after each `valid_time`."""
        steps = len(limit_T)
        limit = np.clip(limit_T, -1, int(NEVER) - 1).astype(np.int32)[:, None, None]
        good = self.good_TNV[:steps] & (self.latency_TNV[:steps] <= limit)
        values = np.where(good, self.values_TNV[:steps], np.float32(0))
        at = limit_T[np.minimum(self.old_step, steps - 1)] if steps else np.zeros(len(self.old_step), np.int64)
        seen = (self.old_step < steps) & (self.old_latency <= at) & (at < self.old_superseded) & self.old_good
        cell = (self.old_step[seen], self.old_node[seen], self.old_variable[seen])
        values[cell], good[cell] = self.old_value[seen], True
        return values, good


def history_names(domain: Domain) -> tuple[str, ...]:
    """Names of the summaries: `lag_1d`, `lag_1w`, then `mean_1d`, `mean_1w`; seasons that the clock cannot tell are left out."""
    seasons = [format_duration(s).replace(" ", "") for s, _ in _seasons(domain)]
    return tuple(f"lag_{s}" for s in seasons) + tuple(f"mean_{s}" for s in seasons)


def longest_lag(domain: Domain) -> int:
    """Index in `history_names` of the lag of the longest season, -1 where there is no season."""
    seasons = [steps for _, steps in _seasons(domain)]
    return int(np.argmax(seasons)) if seasons else -1


def past_steps(domain: Domain, latency: int) -> int:
    """Steps before a cut-off that a window issued there, its history and its coarse means can reach."""
    far = max((steps for _, steps in _seasons(domain)), default=0) * SEASONS_BACK + domain.horizon
    return max(far, recent_steps(domain, latency)) + 1


def recent_steps(domain: Domain, latency: int) -> int:
    """Steps before a cut-off that a window issued there and its coarse means can reach."""
    coarse = 0 if domain.coarse is None else domain.coarse.steps * (domain.coarse.count + 1)
    return max(domain.context, coarse + _delay(domain.clock, latency))


def season_history(domain: Domain, series: Series) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """(T, N, V, K) summaries and masks at each target step s: `lag` the newest of the 4 cells one to four seasons before s
    that could be known, `mean` the mean of all that could.

    A window that has s among its targets is issued no earlier than the step `horizon` before s: a cell enters in the
    version shown then. A cell that was not known then does not enter.
    """
    steps, horizon, valid_T = len(series.valid_time_T), domain.horizon, series.valid_time_T
    summaries = _Summaries(series.values_TNV.shape, domain)
    for k, shift in _shifts(domain):
        if shift < steps:
            # Cell s' serves target s = s' + shift, whose windows end at step s - horizon at the earliest.
            limit = valid_T[shift - horizon : steps - horizon] - valid_T[: steps - shift]
            summaries.enter(k, slice(shift, None), *series.known_within(limit))
    return summaries.finished()


def season_history_ahead(
    domain: Domain, series_of: Callable[[int, int], Series], valid_time_T: NDArray[np.int64], first: int, nodes: int, ahead: int
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """The same at the last steps of an axis only, from no more cells than these need; absent at other steps.

    Args:
        domain: Its seasons, horizon and variables.
        series_of: Gives the cells of the steps from one to before another.
        valid_time_T: The whole axis with the horizon, int64 seconds UTC.
        first: The step of the axis at which the result begins.
        nodes: How many there are.
        ahead: At how many steps.
    """
    steps, horizon = len(valid_time_T), domain.horizon
    summaries = _Summaries((steps - first, nodes, len(domain.variables)), domain)
    for k, shift in _shifts(domain):
        low, high = max(steps - ahead - shift, 0), steps - shift
        if low < high:
            limit = valid_time_T[low + shift - horizon : high + shift - horizon] - valid_time_T[low:high]
            summaries.enter(k, slice(low + shift - first, None), *series_of(low, high).known_within(limit))
    return summaries.finished()


def coarse_means(domain: Domain, series: Series, latency: int) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """(T, N, V) means over the `coarse.steps` steps that end at each step, and masks.

    A cell enters in the version shown at its `valid_time` + the declared `latency`; steps whose latency has not passed
    at the earliest issue time that ends at s are left out.
    """
    if domain.coarse is None:
        empty = np.zeros((0, *series.values_TNV.shape[1:]), np.float32)
        return empty, empty.astype(np.bool_)
    values, good = series.known_within(np.full(len(series.valid_time_T), latency, np.int64))
    delay = _delay(domain.clock, latency)
    width = max(domain.coarse.steps - delay, 0)
    total, count = _rolling(values, width, delay), _rolling(good.astype(np.float32), width, delay)
    known = count > 0
    np.divide(total, count, out=total, where=known)
    return total, known


def _seasons(domain: Domain) -> list[tuple[timedelta, int]]:
    found = [(s, season_steps(domain.clock, int(s.total_seconds()))) for s in domain.seasons]
    return [(s, steps) for s, steps in found if steps > 0]


def _delay(clock: Clock, latency: int) -> int:
    """Steps at the end of a window whose latency cannot have passed when it is issued (one latency after a step)."""
    return latency // (_SHORTEST_GAP_S if clock.step is None else int(clock.step.total_seconds()))


def _shifts(domain: Domain) -> Iterator[tuple[int, int]]:
    """Per season (its number) and season back: the steps from a cell to the target that it serves, nearest first."""
    for k, (_, season) in enumerate(_seasons(domain)):
        for back in range(1, SEASONS_BACK + 1):
            if back * season >= domain.horizon:
                yield k, back * season


class _Summaries:
    """The lag and the mean of every season, gathered one season back after the other."""

    def __init__(self, shape_TNV: tuple[int, ...], domain: Domain) -> None:
        self._seasons = len(_seasons(domain))
        shape = (*shape_TNV, 2 * self._seasons)
        self._values: NDArray[np.float32] = np.zeros(shape, np.float32)
        self._good: NDArray[np.bool_] = np.zeros(shape, np.bool_)
        self._count = [np.zeros(shape_TNV, np.float32) for _ in range(self._seasons)]

    def enter(self, k: int, at: slice, past: NDArray[np.float32], known: NDArray[np.bool_]) -> None:
        """What was known of the cells of season `k` one more season back, at the targets `at` that they serve."""
        lag, mean = k, k + self._seasons
        first = known & ~self._good[at][..., lag]
        self._values[at][..., lag][first] = past[first]
        self._good[at][..., lag] |= known
        self._values[at][..., mean] += past
        self._count[k][at] += known

    def finished(self) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """(T, N, V, K) values and masks."""
        for k, count in enumerate(self._count):
            mean, known = self._values[..., k + self._seasons], count > 0
            self._good[..., k + self._seasons] = known
            np.divide(mean, count, out=mean, where=known)
        return self._values, self._good


def _rolling(values_TNV: NDArray[np.float32], width: int, delay: int) -> NDArray[np.float32]:
    """Sums over the `width` steps that end `delay` steps before each; the same bits wherever the series begins.

    Sums of 1, 2, 4 … steps are doubled and the binary digits of `width` are put together: a running sum would carry
    its rounding from the beginning of the series.
    """
    total = np.zeros_like(values_TNV)
    power, size, offset = values_TNV, 1, delay
    while size <= width:
        if width & size:
            _add_shifted(total, power, offset)
            offset += size
        size *= 2
        if size <= width:
            doubled = power.copy()
            _add_shifted(doubled, power, size // 2)
            power = doubled
    return total


def _add_shifted(total: NDArray[np.float32], values: NDArray[np.float32], shift: int) -> None:
    if shift == 0:
        total += values
    elif shift < len(total):
        total[shift:] += values[:-shift]

"""Events: whether a threshold was passed, and how probable a forecast's quantiles make it.

Shape suffixes: W windows, L lead, N node, C column of nodes to sum over, Q quantile, S statistic. `...`: any leading axes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.contracts.forecasts import QUANTILES
from pipeline.contracts.judging import Event

_LEVELS = np.array(QUANTILES)


def happened(event: Event, values: NDArray[np.floating[Any]]) -> NDArray[np.bool_]:
    """Where values pass the event's threshold, both as float32, as values are kept; never where they are NaN."""
    kept, threshold = values.astype(np.float32), _threshold(event)
    passed: NDArray[np.bool_] = kept > threshold if event.above is not None else kept < threshold
    return passed


def _threshold(event: Event) -> np.float32:
    return np.float32(event.threshold)


def event_probability(event: Event, quantiles_Q: NDArray[np.float32]) -> NDArray[np.float64]:
    """The probability (...) that the quantiles (..., Q) give to the event.

    Their distribution is linear between neighbouring quantiles; beyond the outer ones nothing is known but the level, so
    half of it is taken (0.025 and 0.975).
    """
    threshold, levels = float(_threshold(event)), np.moveaxis(quantiles_Q, -1, 0)
    return 1 - (_share_at_most(levels, threshold) if event.above is not None else _share_at_most(-levels[::-1], -threshold))


def _share_at_most(q_Q: NDArray[np.float32], threshold: float) -> NDArray[np.float64]:
    """P(value <= threshold), for levels that are symmetric about one half; a step where neighbouring quantiles are equal."""
    upto = np.add.reduce(q_Q <= np.float32(threshold), axis=0, dtype=np.intp)
    inner = np.clip(upto, 1, len(_LEVELS) - 1)
    low, high = (np.take_along_axis(q_Q, (inner - back)[None], axis=0)[0].astype(np.float64) for back in (1, 0))
    share = np.clip((threshold - low) / np.where(high > low, high - low, 1), 0, 1)
    between = _LEVELS[inner - 1] + share * (_LEVELS[inner] - _LEVELS[inner - 1])
    found: NDArray[np.float64] = np.where(upto == 0, _LEVELS[0] / 2, np.where(upto == len(_LEVELS), (1 + _LEVELS[-1]) / 2, between))
    return found


WARNING_BINS = 10
WARNINGS: tuple[str, ...] = ("n", "happened", "hits", "warned", "brier", "onsets", "warned_onsets")
EVENTS: tuple[str, ...] = (*WARNINGS, *(f"bin_{b}_{name}" for name in ("n", "probability", "happened") for b in range(WARNING_BINS)))
"""Names along S: cells, events, events warned of, warnings, squared errors of the probability, first steps of an event and
those warned of; then per bin of the probability its cells, their probabilities and their events."""

ONSETS: tuple[str, ...] = ("onsets", "warned_onsets")
"""Those of them that the time under warning follows from, lead by lead."""


def event_rows(
    event: Event,
    probability_WLN: NDArray[np.float64],
    truth_WLN: NDArray[np.float64],
    good_WLN: NDArray[np.bool_],
    origin_WN: NDArray[np.float64] | None,
    members_WNC: NDArray[np.float64],
    kinds: Sequence[int] = (),
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The statistics of one event: of all nodes (W, L, S of `EVENTS`), and of each column's (W, L, C, S).

    An onset is an event one step after none; at the first lead the newest value at the issue time tells. `kinds` are numbers
    of neighbouring columns that have no node in common; by default each stands alone.
    """
    came = happened(event, truth_WLN) & good_WLN
    quiet = np.zeros(came.shape, bool)
    quiet[:, 1:] = good_WLN[:, :-1] & ~came[:, :-1]
    if origin_WN is not None:
        quiet[:, 0] = np.isfinite(origin_WN) & ~happened(event, origin_WN)
    warned = good_WLN & (probability_WLN >= event.warn_at)
    planes = np.empty((*came.shape[:2], len(WARNINGS), came.shape[2]))
    for s, plane in enumerate((good_WLN, came, came & warned, warned, None, came & quiet, came & quiet & warned)):
        planes[:, :, s] = np.square(probability_WLN - came) * good_WLN if plane is None else plane
    parts = np.swapaxes(np.matmul(planes, members_WNC[:, None]), 2, 3)
    cells = _Cells(probability_WLN, came, good_WLN)
    bins = [cells.bins(kind_WNC) for kind_WNC in _disjoint(members_WNC, kinds)]
    whole = cells.bins(np.ones((len(members_WNC), members_WNC.shape[1], 1)))[:, :, 0]
    return np.concatenate([planes.sum(axis=-1), whole], axis=2), np.concatenate([parts, np.concatenate(bins, axis=2)], axis=3)


def _disjoint(members_WNC: NDArray[np.float64], kinds: Sequence[int]) -> list[NDArray[np.float64]]:
    """The columns kind by kind; an empty one where there is none."""
    edges = np.cumsum(kinds or [1] * members_WNC.shape[2])
    return np.split(members_WNC, edges[:-1], axis=2)


class _Cells:
    """The good cells of an event, by the bin of their probability."""

    def __init__(self, probability_WLN: NDArray[np.float64], came_WLN: NDArray[np.bool_], good_WLN: NDArray[np.bool_]) -> None:
        self._shape, self._good = good_WLN.shape, good_WLN
        self._probability, self._came = probability_WLN[good_WLN], came_WLN[good_WLN]
        self._bin = np.minimum((self._probability * WARNING_BINS).astype(np.int64), WARNING_BINS - 1)
        self._row = np.repeat(np.arange(self._shape[0] * self._shape[1]), good_WLN.sum(axis=2).ravel())

    def bins(self, members_WNC: NDArray[np.float64]) -> NDArray[np.float64]:
        """(W, L, C, 3 * bins): cells, probabilities and events of each bin; a node is in one column at most."""
        count = members_WNC.shape[2]
        column_WN = members_WNC @ np.arange(1.0, count + 1)
        column = np.broadcast_to(column_WN.astype(np.int64)[:, None], self._shape)[self._good]
        place = (self._row * (count + 1) + column) * WARNING_BINS + self._bin
        rows = self._shape[0] * self._shape[1] * (count + 1) * WARNING_BINS
        found = np.empty((3, rows))
        for sums, (p, w) in zip(found, ((place, None), (place, self._probability), (place[self._came], None)), strict=True):
            sums[:] = np.bincount(p, w, rows)
        found = found.reshape(3, *self._shape[:2], count + 1, WARNING_BINS)[:, :, :, 1:]
        return np.moveaxis(found, 0, 3).reshape(*self._shape[:2], count, 3 * WARNING_BINS)

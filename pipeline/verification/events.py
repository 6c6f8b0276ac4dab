"""Events: whether a threshold was passed, and how probable a forecast's quantiles make it.

Shape suffixes: W windows, L lead, N node, C column of nodes to sum over, Q quantile, S statistic. `...`: any leading axes.
"""

from __future__ import annotations

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
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The statistics of one event: of all nodes (W, L, S of `EVENTS`), and of each column's (W, L, C, S).

    An onset is an event one step after none; at the first lead the newest value at the issue time tells.
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
    within = [good_WLN & (members_WNC[:, None, :, c] > 0) for c in range(members_WNC.shape[2])]
    bins = [_bins(probability_WLN, came, good) for good in within]
    parts = np.concatenate([parts, np.stack(bins, axis=2)], axis=3) if bins else np.zeros((*parts.shape[:3], len(EVENTS)))
    return np.concatenate([planes.sum(axis=-1), _bins(probability_WLN, came, good_WLN)], axis=2), parts


def _bins(probability_WLN: NDArray[np.float64], came_WLN: NDArray[np.bool_], good_WLN: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(W, L, 3 * bins): cells, probabilities and events of each bin."""
    rows = np.prod(came_WLN.shape[:2], dtype=int)
    bins = np.minimum((probability_WLN * WARNING_BINS).astype(np.int64), WARNING_BINS - 1)
    place = (np.arange(rows).reshape(*came_WLN.shape[:2], 1) * WARNING_BINS + bins)[good_WLN]
    given = (None, probability_WLN[good_WLN], came_WLN[good_WLN])
    found = [np.bincount(place, weights=w, minlength=rows * WARNING_BINS).reshape(*came_WLN.shape[:2], WARNING_BINS) for w in given]
    return np.concatenate(found, axis=2).astype(np.float64)

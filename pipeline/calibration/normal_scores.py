"""Where an outcome lies in its own forecast, in units that are the same for every forecast, and the way back.

A forecast's quantiles are knots of a map from values to normal scores: the median is 0, the 90 % quantile 1.28, linear in
between, and beyond the outer quantiles in proportion to the distance from the median. A calibrated forecast has scores
that are standard normal; whatever distribution they have instead says how its quantiles must be moved.

Shape suffixes: Q quantile. `...` stands for any leading axes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from pipeline.contracts.forecasts import MEDIAN, QUANTILES, in_order

KNOTS: NDArray[np.float64] = ndtri(np.array(QUANTILES))
"""Scores of the quantiles themselves; symmetric about the median."""

EDGE = 5.0
PER_UNIT = 16
BINS = int(2 * EDGE * PER_UNIT) + 2
"""Bins of a histogram of scores: below -EDGE, steps of 1 / PER_UNIT, above EDGE."""

_UPPER = KNOTS[MEDIAN + 1 :]


def normal_scores(values: NDArray[np.float32], quantiles_Q: NDArray[np.float32]) -> NDArray[np.float32]:
    """The score (...) of each value in its quantiles (..., Q).

    Where quantiles coincide the score nearest to the median counts, so that a value at an interval's end is inside it.
    """
    middle = quantiles_Q[..., MEDIAN]
    above = values > middle
    away = np.abs(values - middle).astype(np.float32)
    knots = [
        np.where(above, quantiles_Q[..., MEDIAN + k] - middle, middle - quantiles_Q[..., MEDIAN - k]).astype(np.float32)
        for k in range(1, MEDIAN + 1)
    ]
    found = np.float32(_UPPER[-1]) * (away / np.maximum(knots[-1], np.float32(1e-30)))
    np.minimum(found, np.float32(2 * EDGE), out=found)
    for k in range(MEDIAN - 1, -1, -1):
        low = knots[k - 1] if k else np.float32(0)
        base = np.float32(_UPPER[k - 1]) if k else np.float32(0)
        share = (away - low) / np.maximum(knots[k] - low, np.float32(1e-30))
        found = np.where(away <= knots[k], base + np.clip(share, 0, 1) * (np.float32(_UPPER[k]) - base), found)
    scores: NDArray[np.float32] = np.where(above, found, -found)
    return scores


def bins_of(scores: NDArray[np.float32]) -> NDArray[np.int64]:
    """The bin of each score, 0 .. BINS - 1."""
    found: NDArray[np.int64] = np.clip(np.floor((scores + np.float32(EDGE)) * PER_UNIT).astype(np.int64) + 1, 0, BINS - 1)
    return found


def share_below(share_B: NDArray[np.float64], scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """P(score < given) of histograms (..., B) that add up to 1, linear within a bin."""
    place = np.clip((scores + EDGE) * PER_UNIT, 0, BINS - 2)
    inner = np.minimum(place.astype(np.int64), BINS - 3)
    upto = np.cumsum(share_B, axis=-1)
    below, here = (np.take_along_axis(a, (inner + k)[..., None], axis=-1)[..., 0] for a, k in ((upto, 0), (share_B, 1)))
    found: NDArray[np.float64] = below + (place - inner) * here
    return found


def score_at(share_B: NDArray[np.float64], level: NDArray[np.float64]) -> NDArray[np.float64]:
    """The score below which a share `level` (...) of histograms (..., B) lies, linear within a bin; within +-EDGE."""
    upto = np.cumsum(share_B, axis=-1)
    inner = np.clip((upto < level[..., None] - 1e-12).sum(axis=-1), 1, BINS - 2)
    low, high = (np.take_along_axis(upto, (inner - k)[..., None], axis=-1)[..., 0] for k in (1, 0))
    found: NDArray[np.float64] = -EDGE + (inner - 1 + np.clip((level - low) / np.maximum(high - low, 1e-12), 0, 1)) / PER_UNIT
    return found


def moved(
    quantiles_Q: NDArray[np.float32], scores_Q: NDArray[np.float32], bounds: tuple[float, float] = (-np.inf, np.inf)
) -> NDArray[np.float32]:
    """Quantiles (..., Q) put at these scores (..., Q) of their own forecast: in order, within the bounds, the median as it was.

    Left of the median a score above 0 counts as 0, and so does one below it on the right.
    """
    middle = quantiles_Q[..., MEDIAN]
    made = np.empty_like(quantiles_Q)
    made[..., MEDIAN] = middle
    for side in (-1, 1):
        knots = [side * (quantiles_Q[..., MEDIAN + side * k] - middle) for k in range(1, MEDIAN + 1)]
        for k in range(1, MEDIAN + 1):
            away = side * scores_Q[..., MEDIAN + side * k]
            made[..., MEDIAN + side * k] = middle + side * _distance(away, knots)
    np.clip(made, np.float32(bounds[0]), np.float32(bounds[1]), out=made)
    made[..., MEDIAN] = middle
    return in_order(made)


def _distance(away: NDArray[np.float32], knots: list[NDArray[np.float32]]) -> NDArray[np.float32]:
    """How far from the median a score of this size lies, `knots` being the distances at the scores of the quantiles."""
    low, base = np.float32(0), np.zeros((), np.float32)
    found = np.zeros_like(knots[0])
    for score, knot in zip(_UPPER.astype(np.float32), knots, strict=True):
        found += (knot - base) * (np.clip(away - low, 0, score - low) / (score - low))
        low, base = score, knot
    found += knots[-1] * (np.maximum(away - low, 0) / low)
    return found

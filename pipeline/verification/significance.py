"""How sure a mean difference is: block bootstrap, Diebold-Mariano test and interval, and control of many comparisons at once.

Shape suffixes: T periods in time order, R resamples.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 2000
_SEED = 20140930
LEAST_STRETCHES = 3
"""Fewer stretches of periods that no window reaches across say nothing of how sure a difference is."""


def bootstrap_interval(total_T: NDArray[np.float64], count_T: NDArray[np.float64], block: int, level: float = 0.95) -> tuple[float, float]:
    """The interval of sum(total) / sum(count), from resamples of whole blocks of periods in a circle, always the same ones.

    Totals of paired differences are drawn with their counts, so that a hard period counts for both sides.
    Source: Politis and Romano (1992), circular block bootstrap; percentile interval.
    """
    periods = len(total_T)
    block = min(block, periods)
    blocks = math.ceil(periods / block)
    starts = np.random.default_rng(_SEED).integers(0, periods, (RESAMPLES, blocks))
    drawn = ((starts[:, :, None] + np.arange(block)) % periods).reshape(RESAMPLES, -1)[:, :periods]
    counts = count_T[drawn].sum(axis=1)
    ratios = total_T[drawn].sum(axis=1)[counts > 0] / counts[counts > 0]
    low, high = np.quantile(ratios, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def mean_error(difference_T: NDArray[np.float64], ahead: int) -> float:
    """The standard error of the mean of differences of losses that forecasts `ahead` periods ahead make dependent.

    The variance takes the autocovariances up to lag ahead - 1 in full, or, where that is not positive, with falling
    weights (Bartlett); the error is corrected for few periods, so that mean / error is Student's t with T - 1 degrees.
    Zero where the differences do not vary.
    Source: Diebold and Mariano (1995); Harvey, Leybourne and Newbold (1997); Newey and West (1987).
    """
    periods = len(difference_T)
    ahead = max(1, min(ahead, periods - 1))
    mean = float(difference_T.mean())
    centred = difference_T - mean
    gamma = np.array([(centred[k:] * centred[: periods - k]).sum() / periods for k in range(ahead)])
    variance = gamma[0] + 2 * gamma[1:].sum()
    if variance <= 0:
        variance = gamma[0] + 2 * ((1 - np.arange(1, ahead) / ahead) * gamma[1:]).sum()
    if gamma[0] <= 1e-24 * max(mean * mean, 1e-300) or variance <= 0:
        return 0.0
    correction = math.sqrt((periods + 1 - 2 * ahead + ahead * (ahead - 1) / periods) / periods)
    return math.sqrt(variance / periods) / correction


def diebold_mariano(difference_T: NDArray[np.float64], ahead: int) -> tuple[float, float]:
    """The statistic and the two-sided p-value of "the mean difference of losses is zero", for forecasts `ahead` periods ahead."""
    from scipy.special import stdtr

    mean, error = float(difference_T.mean()), mean_error(difference_T, ahead)
    if error == 0:
        return (0.0, 1.0) if mean == 0 else (math.copysign(math.inf, mean), 0.0)
    return mean / error, float(2 * stdtr(len(difference_T) - 1, -abs(mean / error)))


def student_interval(mean: float, error: float, periods: int, *, comparisons: int = 1, level: float = 0.95) -> tuple[float, float]:
    """The interval of a mean from its `mean_error`: those values that the Diebold-Mariano test does not reject.

    Of many `comparisons` each is made wider, so that all of them together hold with probability `level`, however they
    depend on each other (Bonferroni).
    """
    from scipy.special import stdtrit

    reach = error * float(stdtrit(periods - 1, 1 - (1 - level) / (2 * comparisons)))
    return mean - reach, mean + reach


def periods_ahead(periods: int, overlap: int) -> int:
    """How many periods to treat as dependent: those that windows overlap, at least the cube root of their number."""
    return max(1, overlap, math.floor(math.cbrt(periods) + 1e-9))


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """p-values adjusted so that rejecting those below alpha errs anywhere with probability alpha at most.

    Source: Holm (1979), step down.
    """
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    adjusted, worst = [0.0] * len(p_values), 0.0
    for rank, i in enumerate(order):
        worst = max(worst, min(1.0, (len(p_values) - rank) * p_values[i]))
        adjusted[i] = worst
    return tuple(adjusted)


def benjamini_hochberg(p_values: Sequence[float]) -> tuple[float, ...]:
    """p-values adjusted so that of those rejected below alpha, a share of alpha at most is expected to be wrong.

    Source: Benjamini and Hochberg (1995), step up.
    """
    order = sorted(range(len(p_values)), key=lambda i: p_values[i], reverse=True)
    adjusted, best = [0.0] * len(p_values), 1.0
    for place, i in enumerate(order):
        best = min(best, len(p_values) / (len(p_values) - place) * p_values[i])
        adjusted[i] = best
    return tuple(adjusted)

"""How far apart two samples lie: Kolmogorov-Smirnov and population stability index; NaN is left out of both."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float32] | NDArray[np.float64]
BINS = 10
_FLOOR = 1e-4


def ks(reference: Values, sample: Values) -> float:
    """The largest difference of the two empirical distribution functions, 0 .. 1; 0 where either sample is empty.

    Source: Hodges (1958), the two-sided two-sample statistic.
    """
    one, two = _known(reference), _known(sample)
    if not len(one) or not len(two):
        return 0.0
    both = np.concatenate([one, two])
    below_one = np.searchsorted(one, both, side="right") / len(one)
    below_two = np.searchsorted(two, both, side="right") / len(two)
    return float(np.abs(below_one - below_two).max())


def psi(reference: Values, sample: Values) -> float:
    """Population stability index over the reference's deciles (fewer where values repeat); 0 where either sample is empty.

    An empty bin counts as a share of 1e-4. Source: Siddiqi (2006), with the usual reading that above 0.25 a shift is large.
    """
    one, two = _known(reference), _known(sample)
    if not len(one) or not len(two):
        return 0.0
    edges = np.unique(np.quantile(one, np.linspace(0, 1, BINS + 1)[1:-1]))
    shares = [np.maximum(_shares(values, edges), _FLOOR) for values in (one, two)]
    return float(((shares[1] - shares[0]) * np.log(shares[1] / shares[0])).sum())


def _shares(values: NDArray[np.float64], edges: NDArray[np.float64]) -> NDArray[np.float64]:
    """Shares at or below each edge and above the last, and each edge's own value apart where it repeats: zeros are many."""
    upto, below = np.searchsorted(values, edges, side="right"), np.searchsorted(values, edges, side="left")
    cuts = np.concatenate([[0], np.ravel(np.column_stack([below, upto])), [len(values)]])
    return np.asarray(np.diff(cuts) / len(values), np.float64)


def _known(values: Values) -> NDArray[np.float64]:
    flat = np.asarray(values, np.float64).ravel()
    return np.sort(flat[np.isfinite(flat)])


def thinned(values: Values, most: int) -> NDArray[np.float64]:
    """At most so many order statistics that stand for a sample: all of it where it is small, else evenly spaced ones."""
    known = _known(values)
    if len(known) <= most:
        return known
    return known[np.linspace(0, len(known) - 1, most).round().astype(np.int64)]

"""Warnings: how probable a calibrated forecast makes an event, and whether such probabilities have come true.

Shape suffixes: B window, L lead, N node, Q quantile, E event, P bin of probability.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import isotonic_regression

from pipeline.calibration.calibration import BORROWED, TRUST_BINS, Calibration
from pipeline.calibration.normal_scores import BINS, EDGE, PER_UNIT, normal_scores
from pipeline.contracts.judging import Event

_EDGES: NDArray[np.float64] = np.sin(np.linspace(0, np.pi / 2, TRUST_BINS + 1)) ** 2
"""Bins of probability, narrow at 0 and 1, where warnings are told apart."""


def foretold(
    calibration: Calibration,
    v: int,
    event: Event,
    quantiles_Q: NDArray[np.float32],
    code: NDArray[np.int64],
    usual: NDArray[np.float32],
) -> NDArray[np.float64]:
    """The probability (...) of an event of variable `v`, as past outcomes lay in forecasts (..., Q) of their group `code`.

    `usual` (...) is the usual size of scores there.
    """
    threshold = np.float32(event.above if event.above is not None else event.below)
    scores = normal_scores(np.broadcast_to(threshold, quantiles_Q.shape[:-1]), quantiles_Q) / (calibration.factor[v] * usual)
    upto = np.cumsum(calibration.shares[v].reshape(-1, BINS), axis=-1)
    place = np.clip((scores + EDGE) * PER_UNIT, 0, BINS - 2)
    inner = np.minimum(place.astype(np.int64), BINS - 3)
    below = upto[code, inner]
    found: NDArray[np.float64] = below + (place - inner) * (upto[code, inner + 1] - below)
    return 1 - found if event.above is not None else found


def trust_bins(probability: NDArray[np.float64]) -> NDArray[np.int64]:
    """The bin of each probability, 0 .. TRUST_BINS - 1."""
    return np.clip(np.searchsorted(_EDGES, probability, side="right") - 1, 0, TRUST_BINS - 1)


def trusted(calibration: Calibration, e: int, probability: NDArray[np.float64]) -> NDArray[np.float64]:
    """Foretold probabilities of event `e` as they have come true: isotonic, few cases borrowing from what was told."""
    cases = calibration.cases
    told, middle = cases.told_EP[e], (_EDGES[:-1] + _EDGES[1:]) / 2
    mean = np.where(told > 0, cases.sum_EP[e] / np.maximum(told, 1e-12), middle)
    share = (cases.came_EP[e] + BORROWED * mean) / (told + BORROWED)
    steps = isotonic_regression(share, weights=told + BORROWED).x
    found: NDArray[np.float64] = np.interp(probability, mean, steps)
    return found


def believed(calibration: Calibration, v: int, own: NDArray[np.float64], calibrated: NDArray[np.float64]) -> NDArray[np.float64]:
    """The model's own probabilities of an event of variable `v`, half given up for calibrated ones with every `BORROWED` of evidence."""
    given_up = 1 - float(0.5 ** (calibration.cases.span_V[v] / BORROWED))
    found: NDArray[np.float64] = own + given_up * (calibrated - own)
    return found

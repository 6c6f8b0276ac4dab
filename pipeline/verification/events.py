"""Events: whether a threshold was passed, and how probable a forecast's quantiles make it.

Shape suffixes: Q quantile. `...` stands for any leading axes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.contracts.forecasts import QUANTILES
from pipeline.contracts.judging import Event

_LEVELS = np.array(QUANTILES)


def happened(event: Event, values: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Where values pass the event's threshold; never where they are NaN."""
    passed: NDArray[np.bool_] = values > event.above if event.above is not None else values < np.float64(event.below or 0)
    return passed


def event_probability(event: Event, quantiles_Q: NDArray[np.float32]) -> NDArray[np.float64]:
    """The probability (...) that the quantiles (..., Q) give to the event.

    Their distribution is linear between neighbouring quantiles; beyond the outer ones nothing is known but the level, so
    half of it is taken (0.025 and 0.975).
    """
    if event.above is not None:
        return 1 - _share_at_most(quantiles_Q, float(event.above))
    return 1 - _share_at_most(-quantiles_Q[..., ::-1], -float(event.below or 0))


def _share_at_most(quantiles_Q: NDArray[np.float32], threshold: float) -> NDArray[np.float64]:
    """P(value <= threshold), for levels that are symmetric about one half."""
    q = quantiles_Q.astype(np.float64)
    upto = (q <= threshold).sum(axis=-1)
    inner = np.clip(upto, 1, len(_LEVELS) - 1)
    low, high = (np.take_along_axis(q, (inner - k)[..., None], axis=-1)[..., 0] for k in (1, 0))
    share = np.clip((threshold - low) / np.where(high > low, high - low, 1), 0, 1)
    between = _LEVELS[inner - 1] + share * (_LEVELS[inner] - _LEVELS[inner - 1])
    found: NDArray[np.float64] = np.select([upto == 0, upto == len(_LEVELS)], [_LEVELS[0] / 2, (1 + _LEVELS[-1]) / 2], between)
    return found

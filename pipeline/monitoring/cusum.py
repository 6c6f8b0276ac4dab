"""CUSUM: when a series of residuals has left what it was, at a limit that follows from how often that may be said in error."""

from __future__ import annotations

from dataclasses import dataclass
from math import exp

import numpy as np
from numpy.typing import NDArray

ALLOWANCE = 0.5
"""Deviations that a step may lie off without adding up: half of the shift to be found."""

_CLIP = 4.0
"""A single day counts at most so much: drift lasts, an outlier passes."""

_MOST_AUTOCORRELATION = 0.7


@dataclass(frozen=True, kw_only=True)
class Cusum:
    """Where a CUSUM stands.

    Attributes:
        height: The larger of the upward and the downward sum, in standard deviations.
        upward: Which of them it is.
        begin: The step after which that sum was last zero.
    """

    height: float
    upward: bool
    begin: int


def cusum(z: NDArray[np.float64]) -> Cusum:
    """Two-sided CUSUM of a standardised series, as it stands at its end; NaN steps are passed over. Source: Page (1954)."""
    sums, begins = [0.0, 0.0], [0, 0]
    for step, value in enumerate(np.clip(z, -_CLIP, _CLIP)):
        if np.isnan(value):
            continue
        for side, sign in enumerate((1.0, -1.0)):
            sums[side] = max(0.0, sums[side] + sign * float(value) - ALLOWANCE)
            if sums[side] == 0.0:
                begins[side] = step + 1
    side = int(sums[1] > sums[0])
    return Cusum(height=sums[side], upward=side == 0, begin=begins[side])


def run_length(limit: float) -> float:
    """Mean steps of a standard normal series until a one-sided CUSUM exceeds a limit by chance. Source: Siegmund (1985)."""
    reach = 2 * ALLOWANCE * (limit + 1.166)
    return (exp(reach) - reach - 1) / (2 * ALLOWANCE**2)


def limit_for(series: int, *, steps_a_year: float, false_alarms: float) -> float:
    """The least limit at which so many two-sided series that drift nowhere raise at most so many alarms a year together."""
    wanted = 2 * series * steps_a_year / false_alarms
    low, high = 0.0, 60.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if run_length(middle) < wanted else (low, middle)
    return high


def standardised(x: NDArray[np.float64], *, expected: float, spread: float, early: int | None = None) -> NDArray[np.float64]:
    """A series off what is expected, in deviations that count its autocorrelation: neighbours alike add up as one.

    How alike they usually are the `early` steps say, as a shift later on makes neighbours alike too.
    """
    z = (x - expected) / spread
    known = z[:early]
    known = known[~np.isnan(known)]
    if len(known) < 4:
        return z
    centred = known - np.median(known)
    total = float((centred**2).sum())
    found = float((centred[1:] * centred[:-1]).sum()) / total if total > 0 else 0.0
    rho = min(max(found, 0.0), _MOST_AUTOCORRELATION)
    return np.asarray(z / np.sqrt((1 + rho) / (1 - rho)), np.float64)


def usual_spread(x: NDArray[np.float64]) -> float:
    """The spread of a series from its step-to-step differences, which a lasting shift does not widen; 0 with under three steps."""
    known = x[~np.isnan(x)]
    if len(known) < 3:
        return 0.0
    return float(1.4826 * np.median(np.abs(np.diff(known))) / np.sqrt(2))

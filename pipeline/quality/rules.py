"""Quality rules: one function per flag bit. Each looks at a reading and at earlier ones only, so that no flag knows the future.

Series rules (`spike`, `stuck`) take one series per node, in time order, as `start`: True where a node's series begins.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]
Mask = NDArray[np.bool_]


def missing(values: Values) -> Mask:
    """Where no value was delivered."""
    return np.isnan(values)


def fill_code(delivered: Values, codes: Sequence[float]) -> Mask:
    """Where the delivered value is one of the source's codes for no measurement."""
    found = np.zeros(len(delivered), np.bool_)
    for code in codes:
        found |= delivered == code
    return found


def out_of_range(values: Values, low: float | None, high: float | None) -> Mask:
    """Where a value is outside the variable's physical bounds (each inclusive)."""
    below = values < low if low is not None else np.zeros(len(values), np.bool_)
    above = values > high if high is not None else np.zeros(len(values), np.bool_)
    return below | above


def future(valid_time: NDArray[np.int64], received_time: int | NDArray[np.int64]) -> Mask:
    """Where a reading is stamped later than it was received."""
    return valid_time > received_time


def spike(values: Values, start: Mask, jump: float) -> Mask:
    """Where a value is more than `jump` from the last credible one.

    A second reading within `jump` of the first jumped one confirms a new level and is credible.
    """
    known = np.flatnonzero(~np.isnan(values))
    flags = np.zeros(len(values), np.bool_)
    if not len(known):
        return flags
    series = np.cumsum(start)[known]
    x = values[known]
    same = np.r_[False, series[1:] == series[:-1]]
    jumps = np.flatnonzero(same & (np.abs(np.diff(x, prepend=x[0])) > jump))
    i, n = 0, len(jumps)
    while i < n:
        place = int(jumps[i])
        last = x[place - 1]
        flags[known[place]] = True
        follow = place + 1
        while follow < len(x) and same[follow] and abs(x[follow] - last) > jump and abs(x[follow] - x[follow - 1]) > jump:
            flags[known[follow]] = True
            follow += 1
        i = int(np.searchsorted(jumps, follow, side="right"))
    return flags


def stuck(values: Values, start: Mask, after: int) -> Mask:
    """Where a value is the `after`-th or later of equal readings in a row; zero is never stuck (a road may be empty all night)."""
    known = np.flatnonzero(~np.isnan(values))
    flags = np.zeros(len(values), np.bool_)
    if not len(known):
        return flags
    series, x = np.cumsum(start)[known], values[known]
    fresh = np.r_[True, (series[1:] != series[:-1]) | (x[1:] != x[:-1])]
    begin = np.flatnonzero(fresh)
    length = np.arange(len(x)) - np.repeat(begin, np.diff(np.r_[begin, len(x)]))
    flags[known[(length >= after - 1) & (x != 0)]] = True
    return flags


USUAL_FILL_CODES = (-99.0, -999.0, -9999.0, -99999.0, -32768.0, 32767.0, 999.0, 9999.0, 99999.0, 65535.0, 1e20, 9.969209968386869e36)
"""What providers write for "no measurement". Source: CF, netCDF and GRIB defaults, and common practice."""


def likely_fill_code(delivered: Values, outside: Mask) -> Mask:
    """Where a delivered value that is out of range is one of the usual fill codes."""
    if not outside.any():
        return outside
    found, where = np.zeros(len(outside), np.bool_), np.flatnonzero(outside)
    value = delivered[where]
    with np.errstate(over="ignore"):
        narrow = value.astype(np.float32)
    found[where] = np.isin(value, USUAL_FILL_CODES) | np.isin(narrow, np.array(USUAL_FILL_CODES, np.float32))
    return found


def too_often(valid_time: NDArray[np.int64], start: Mask, cadence: int) -> Mask:
    """Where a reading follows the node's last one of another instant by less than half the cadence (seconds)."""
    gap = np.diff(valid_time, prepend=valid_time[:1])
    return ~start & (gap > 0) & (2 * gap < cadence)

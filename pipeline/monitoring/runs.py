"""Runs of one value: how long a sensor showed the same reading. Shape suffixes: T steps, N node."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def longest_runs(values_TN: NDArray[np.float32]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Per node the longest run of equal good values, and the share of good values that equal the one before; NaN is passed over."""
    nodes = values_TN.shape[1]
    longest, repeats = np.zeros(nodes, np.int64), np.ones(nodes)
    for n in range(nodes):
        series = values_TN[:, n]
        series = series[~np.isnan(series)]
        if len(series) < 2:
            longest[n] = len(series)
            continue
        same = series[1:] == series[:-1]
        ends = np.flatnonzero(np.r_[~same, True])
        longest[n] = int(np.diff(np.r_[-1, ends]).max())
        repeats[n] = float(same.mean())
    return longest, repeats


def newest_runs(values_TN: NDArray[np.float32]) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.int64]]:
    """Per node the run that its newest good value ends: its length in good values, its value (NaN: none), the step at which it began."""
    nodes = values_TN.shape[1]
    length, value, begin = np.zeros(nodes, np.int64), np.full(nodes, np.nan, np.float32), np.full(nodes, -1, np.int64)
    for n in range(nodes):
        known = np.flatnonzero(~np.isnan(values_TN[:, n]))
        if not len(known):
            continue
        series = values_TN[known, n]
        differs = np.flatnonzero(series != series[-1])
        first = int(differs[-1]) + 1 if len(differs) else 0
        length[n], value[n], begin[n] = len(series) - first, series[-1], known[first]
    return length, value, begin


def longest_gaps(values_TN: NDArray[np.float32]) -> NDArray[np.int64]:
    """Per node the most steps in a row without a good value."""
    found = np.zeros(values_TN.shape[1], np.int64)
    for n in range(values_TN.shape[1]):
        known = np.flatnonzero(~np.isnan(values_TN[:, n]))
        found[n] = int(np.diff(np.r_[-1, known, len(values_TN)]).max()) - 1
    return found


def common_values(values_TN: NDArray[np.float32], share: float) -> NDArray[np.float32]:
    """Per node the value that makes up more than this share of its good values, NaN where there is none: dry hours, empty roads."""
    found = np.full(values_TN.shape[1], np.nan, np.float32)
    for n in range(values_TN.shape[1]):
        series = values_TN[:, n]
        series = series[~np.isnan(series)]
        if len(series):
            names, counts = np.unique(series, return_counts=True)
            if counts.max() > share * len(series):
                found[n] = names[counts.argmax()]
    return found

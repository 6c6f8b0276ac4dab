"""Levels of nodes: the median of each block, and how far it lies off what is usual. Shape suffixes: T axis steps, K blocks, N node."""

from __future__ import annotations

import warnings
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.contracts.worlds import DomainVariable

Levels = NDArray[np.float64]
Kind = Literal["value", "ratio", "change"]

EARLIER = 6
"""Blocks whose median a price is held against: its level has no meaning, its jump has."""

BEFORE = 28
"""Blocks before one that say where a node has stood of late: four weeks of days, within which a season hardly moves."""

_LEAST_BEFORE = 3
_FLOOR = 0.1
"""Least spread of a node's days, in deviations of its values."""

_MOST_CHANGES = 12
"""Changes within a block from which on its median is a level; of short blocks a quarter of their steps."""


def kind_of(variable: DomainVariable) -> Kind:
    """What a level is: a value; of amounts with a true zero its logarithm, for they grow by factors; of prices their change."""
    if variable.scale == "relative":
        return "change"
    return "ratio" if variable.lower == 0 and variable.upper is None else "value"


def in_blocks(array_TX: NDArray[np.generic], block: int) -> NDArray[np.generic]:
    """(K, block, …) of the newest whole blocks."""
    count = len(array_TX) // block
    return array_TX[len(array_TX) - count * block :].reshape(count, block, *array_TX.shape[1:])


def median_over(values: NDArray[np.float64] | NDArray[np.float32], axis: int) -> Levels:
    """The median of what is there along an axis, NaN where nothing is."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return np.asarray(np.nanmedian(values, axis=axis), np.float64)


def logarithms(values: NDArray[np.float64] | NDArray[np.float32]) -> Levels:
    """Natural logarithms, NaN where a value is not above zero."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(values > 0, np.log(values.astype(np.float64)), np.nan)


def levels_of(values_TN: NDArray[np.float32], block: int, kind: Kind) -> Levels:
    """(K, N) the median of each block; but for values its logarithm, and of changes off the median of the blocks before.

    NaN where a block hardly changes: the last car of an empty road is no level, and one value for ever is frozen.
    """
    blocks = np.asarray(in_blocks(values_TN, block), np.float64)
    levels = np.where(_changes_in(blocks) >= min(_MOST_CHANGES, block // 4), median_over(blocks, axis=1), np.nan)
    if kind == "value":
        return levels
    logs = logarithms(levels)
    if kind == "ratio":
        return logs
    return np.stack([logs[k] - median_over(logs[max(0, k - EARLIER) : k], axis=0) if k else logs[k] * np.nan for k in range(len(logs))])


def _changes_in(blocks_KTN: Levels) -> NDArray[np.int64]:
    """(K, N) how often the newest known value changes from step to step."""
    known = np.isfinite(blocks_KTN)
    at = np.maximum.accumulate(np.where(known, np.arange(blocks_KTN.shape[1])[:, None], 0), axis=1)
    held = np.take_along_axis(blocks_KTN, at, axis=1)
    return np.asarray((np.isfinite(held[:, :-1]) & (held[:, 1:] != held[:, :-1])).sum(axis=1))


def spread_within(values_TN: NDArray[np.float32], block: int, kind: Kind) -> Levels:
    """(N,) robust deviation of the newest half of a block, of logarithms but for values: by another unit the whole day moves alike."""
    newest = values_TN[-max(block // 2, 1) :].astype(np.float64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        low, high = np.nanquantile(newest if kind == "value" else logarithms(newest), [0.25, 0.75], axis=0)
    return np.asarray((high - low) / 1.349, np.float64)


def off_center(levels_KN: Levels, center_N: Levels, scale_N: Levels) -> tuple[Levels, Levels]:
    """What all nodes do together (K,), from four nodes on, and what each does beyond that (K, N), in its deviations."""
    z = (levels_KN - center_N) / scale_N
    common = median_over(z, axis=1) if levels_KN.shape[1] else np.zeros(len(z))
    return common, z - np.where(np.isnan(common), 0.0, common)[:, None] * (levels_KN.shape[1] >= 4)


def of_late(off_KN: Levels, reach_N: Levels) -> Levels:
    """(N,) where each node stood in the blocks before the newest; NaN with fewer than three of them.

    Blocks beyond `reach_N`, farther off than training ever was, say nothing: a fault that lasts must not become what is usual.
    """
    before = off_KN[-1 - BEFORE : -1]
    near = np.where(np.abs(before) <= reach_N, before, np.nan)
    return np.where(np.isfinite(near).sum(axis=0) >= _LEAST_BEFORE, median_over(near, axis=0), np.nan)


def spread_of(off_KN: Levels) -> tuple[Levels, Levels]:
    """(N,) the usual distance from nothing, at least a tenth, and the greatest."""
    usual = np.maximum(1.4826 * median_over(np.abs(off_KN), axis=0), _FLOOR)
    return usual, np.nanmax(np.where(np.isnan(off_KN), 0.0, np.abs(off_KN)), axis=0, initial=0.0)


def leaps_of(off_KN: Levels) -> Levels:
    """(K, N) how far each block lies off where its node stood of late."""
    reach = np.full(off_KN.shape[1], np.inf)
    return np.stack([off_KN[k] - of_late(off_KN[: k + 1], reach) for k in range(len(off_KN))]) if len(off_KN) else off_KN


def scale_of(values: Levels, center_N: Levels) -> Levels:
    """Robust deviation of each node's values, at least a hundredth of its center; the usual one where too little is known."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        low, high = np.nanquantile(values, [0.25, 0.75], axis=0) if len(values) else np.full((2, values.shape[1]), np.nan)
        own = np.maximum((high - low) / 1.349, np.nanstd(values, axis=0) if len(values) else 0.0)
    known = own[np.isfinite(own) & (own > 0)]
    usual = float(np.median(known)) if len(known) else 1.0
    return np.maximum(np.where(np.isfinite(own) & (own > 0), own, usual), 0.01 * np.abs(np.nan_to_num(center_N)))

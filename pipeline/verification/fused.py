"""Fused: MAE, RMSE, bias and pinball of masked forecasts in one reading of them, for arrays too large to score twice.

Where numba is installed each number is read once, by machine code; else numpy goes over blocks that fit a cache. Both sum in
float64 and agree with the exact statistics to 1e-12 of their size. Shape suffixes: R rows, N node, Q quantile, S sum.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from functools import cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.contracts.forecasts import MEDIAN, QUANTILES
from pipeline.verification.cells import PINBALLS

SUMS: tuple[str, ...] = ("n", "error", "absolute", "squared", *PINBALLS)
"""Names along S, as among `CELLS`: error = forecast median - observation."""

Engine = Literal["numba", "numpy"]
_BLOCK_BYTES = 2_000_000
_LEVELS_Q = np.array(QUANTILES)
_Kernel = Callable[[NDArray[np.float32], NDArray[np.float32], NDArray[np.float64], int, NDArray[np.float64]], None]


def engine() -> Engine:
    """Which of the two is at hand."""
    return "numba" if importlib.util.find_spec("numba") is not None else "numpy"


def fused_sums(truth_RN: NDArray[np.float32], quantiles_RNQ: NDArray[np.float32], *, by: Engine | None = None) -> NDArray[np.float64]:
    """The sums of each row over its nodes (R, S); a cell without an observation (NaN), or without a forecast, is not counted."""
    found = np.zeros((len(truth_RN), len(SUMS)))
    kernel = _compiled() if (by or engine()) == "numba" else _blocked
    kernel(np.ascontiguousarray(truth_RN), np.ascontiguousarray(quantiles_RNQ), _LEVELS_Q, MEDIAN, found)
    return found


def fused_figures(sums_S: NDArray[np.float64]) -> dict[str, float | None]:
    """MAE, RMSE, bias and mean pinball loss of some sums, None where nothing was counted."""
    at = dict(zip(SUMS, (float(x) for x in sums_S), strict=True))
    n = at["n"]
    if not n:
        return dict.fromkeys(("mae", "rmse", "bias", "pinball"))
    pinball = sum(at[name] for name in PINBALLS) / len(PINBALLS) / n
    return {"mae": at["absolute"] / n, "rmse": float(np.sqrt(at["squared"] / n)), "bias": at["error"] / n, "pinball": pinball}


@cache
def _compiled() -> _Kernel:
    import numba

    kernel: _Kernel = numba.njit(nogil=True, error_model="numpy", fastmath={"reassoc", "contract", "nsz"})(_each_row)
    return kernel


def _each_row(truth: Any, quantiles: Any, levels: Any, median: int, found: Any) -> None:
    """Each row once from memory, then level by level from the cache; plain loops, which the compiler turns into vectors.

    The pinball loss is summed as level x total + what lies above the observation, so that no cell needs a branch.
    """
    rows, nodes, count = quantiles.shape
    short = np.zeros((count, nodes))
    for r in range(rows):
        for q in range(count):
            for k in range(nodes):
                short[q, k] = np.float64(truth[r, k]) - np.float64(quantiles[r, k, q])
        n, squared = 0, 0.0
        for k in range(nodes):
            off = short[median, k]
            counted = off == off  # NaN, from either side, equals nothing
            n += counted
            squared += off * off if counted else 0.0
        found[r, 0], found[r, 3] = n, squared
        for q in range(count):
            total, over = 0.0, 0.0
            for k in range(nodes):
                off = short[q, k] if short[median, k] == short[median, k] else 0.0
                total += off
                over += max(-off, 0.0)
            found[r, 4 + q] = levels[q] * total + over
            if q == median:
                found[r, 1], found[r, 2] = -total, total + 2.0 * over


def _blocked(
    truth: NDArray[np.float32], quantiles: NDArray[np.float32], levels: NDArray[np.float64], median: int, found: NDArray[np.float64]
) -> None:
    rows, nodes, count = quantiles.shape
    step = max(1, _BLOCK_BYTES // max(1, 8 * nodes * count))
    for at in range(0, rows, step):
        here = slice(at, at + step)
        value = truth[here].astype(np.float64)
        short = value[..., None] - quantiles[here]
        counted = np.isfinite(short[..., median])
        short[~counted] = 0.0
        middle = short[..., median]
        found[here, 0], found[here, 1] = counted.sum(axis=1), -middle.sum(axis=1)
        found[here, 2], found[here, 3] = np.abs(middle).sum(axis=1), np.square(middle).sum(axis=1)
        found[here, 4:] = np.maximum(levels * short, (levels - 1.0) * short).sum(axis=1)

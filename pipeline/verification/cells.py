"""Cells: what each forecast value is worth, summed over the nodes of one window at a time, in blocks that fit a cache.

Shape suffixes: W windows, L lead, V target variable, Q quantile, N node, C column of nodes to sum over, S statistic.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from pipeline.contracts.forecasts import MEDIAN, QUANTILES
from pipeline.errors import ContractError

LEVEL_NAMES = tuple(f"{round(100 * level):02d}" for level in QUANTILES)
PINBALLS = tuple(f"pinball_{name}" for name in LEVEL_NAMES)
BELOW = tuple(f"below_{name}" for name in LEVEL_NAMES)
UPTO = tuple(f"upto_{name}" for name in LEVEL_NAMES)
CELLS: tuple[str, ...] = (
    *("expected", "n", "error", "absolute", "squared"),
    *PINBALLS,
    *BELOW,
    *UPTO,
    *("width_80", "width_90", "nonzero", "percent", "changes", "direction"),
)
"""Names along S. Error = forecast median - observation; `below_10` counts observations below the 10 % quantile, `upto_10`
those not above it; `percent` sums |error / observation| over the `nonzero`; `direction` the foretold signs of `changes`."""

Real = TypeVar("Real", np.float32, np.float64)
_AT = {name: s for s, name in enumerate(CELLS)}
_LEVELS_Q = np.array(QUANTILES)
_OUTER = {"width_80": (QUANTILES.index(0.1), QUANTILES.index(0.9)), "width_90": (QUANTILES.index(0.05), QUANTILES.index(0.95))}
_PINBALL = slice(_AT[PINBALLS[0]], _AT[PINBALLS[-1]] + 1)


_FLAGS = (*BELOW, *(f"above_{name}" for name in LEVEL_NAMES), "n", "nonzero", "changes")


@dataclass(frozen=True, kw_only=True, eq=False)
class Planes:
    """A block's cells, zero where not good: the parts that sums are made of.

    Attributes:
        short_WLVQN: Observation - quantile.
        over_WLVQN: How far each quantile is above the observation, as a number not above 0.
        real: Further planes (W, L, V, N) by name.
        flags_WLVXN: 0 or 1: below and above each quantile, good, not zero, changed.
    """

    short_WLVQN: NDArray[np.float64]
    over_WLVQN: NDArray[np.float64]
    real: dict[str, NDArray[np.float64]]
    flags_WLVXN: NDArray[np.float32]


def planes_of(
    truth_WLVN: NDArray[np.float64],
    good_WLVN: NDArray[np.bool_],
    quantiles_WLVQN: NDArray[np.float32],
    *,
    ratio_V: tuple[bool, ...] = (),
    relative_V: tuple[bool, ...] = (),
    origin_WVN: NDArray[np.float64] | None = None,
) -> Planes:
    """The planes of a block; `truth_WLVN` is 0 where not good.

    Raises:
        ContractError: A quantile is NaN or infinite.
    """
    short = truth_WLVN[..., None, :] - quantiles_WLVQN
    if not np.isfinite(short).all():
        raise ContractError(asked="score a forecast", found="a quantile that is NaN or infinite", mend="mend the model that made it")
    short *= good_WLVN[..., None, :]
    middle, levels = short[..., MEDIAN, :], short.shape[3]
    flags = np.zeros((*short.shape[:3], len(_FLAGS), short.shape[4]), np.float32)
    np.less(short, 0, out=flags[..., :levels, :])
    np.greater(short, 0, out=flags[..., levels : 2 * levels, :])
    flags[..., 2 * levels, :] = good_WLVN
    real = {"squared": np.square(middle)}
    if any(ratio_V):
        counted = good_WLVN & (truth_WLVN != 0) & np.array(ratio_V)[:, None]
        real["percent"] = np.divide(np.abs(middle), np.abs(truth_WLVN), out=np.zeros_like(middle), where=counted)
        flags[..., 2 * levels + 1, :] = counted
    if any(relative_V) and origin_WVN is not None:
        came = truth_WLVN - origin_WVN[:, None]
        counted = good_WLVN & (came != 0) & np.isfinite(came) & np.array(relative_V)[:, None]
        agreed = np.sign(came) * np.sign(came - middle)
        real["direction"] = np.where(counted, (1 + agreed) / 2, 0)
        flags[..., 2 * levels + 2, :] = counted
    return Planes(short_WLVQN=short, over_WLVQN=np.minimum(short, 0), real=real, flags_WLVXN=flags)


def rows_of(planes: Planes, members_WNC: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sums over the nodes that each column has (0 or 1): (W, L, V, C, S).

    A window's rows depend on that window alone, bit for bit, never on what is scored beside it.
    """
    windows, leads, variables = planes.short_WLVQN.shape[:3]
    rows = np.zeros((windows, leads, variables, members_WNC.shape[-1], len(CELLS)))
    rows[..., _AT["expected"]] = members_WNC.sum(axis=1)[:, None, None]
    _fill(rows, planes, lambda plane: _over_nodes(plane, members_WNC))
    return rows


def rows_within(planes: Planes, within_WLN: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Sums over the good cells of each lead that lie within (W, L, V, S); none other is expected."""
    windows, leads, variables = planes.short_WLVQN.shape[:3]
    rows = np.zeros((windows, leads, variables, 1, len(CELLS)))
    _fill(rows, planes, lambda plane: np.matmul(plane, within_WLN[:, :, None, :, None].astype(plane.dtype)))
    rows[..., _AT["expected"]] = rows[..., _AT["n"]]
    return rows[:, :, :, 0]


def _over_nodes(planes_WLVXN: NDArray[Real], members_WNC: NDArray[np.float64]) -> NDArray[Real]:
    """(W, L, V, X, C)"""
    shape = planes_WLVXN.shape
    members: NDArray[Real] = members_WNC.astype(planes_WLVXN.dtype)
    found: NDArray[Real] = np.matmul(planes_WLVXN.reshape(shape[0], -1, shape[4]), members)
    return found.reshape(*shape[:4], members_WNC.shape[-1])


def _fill(rows_WLVCS: NDArray[np.float64], planes: Planes, summed: Callable[[NDArray[Any]], NDArray[Any]]) -> None:
    total_Q, over_Q = np.moveaxis(summed(planes.short_WLVQN), 3, -1), -np.moveaxis(summed(planes.over_WLVQN), 3, -1)
    flags = dict(zip(_FLAGS, np.moveaxis(summed(planes.flags_WLVXN), 3, 0), strict=True))
    real = {name: summed(plane[:, :, :, None])[:, :, :, 0] for name, plane in planes.real.items()}
    made = {"error": -total_Q[..., MEDIAN], "absolute": total_Q[..., MEDIAN] + 2 * over_Q[..., MEDIAN], **real}
    made |= {name: total_Q[..., low] - total_Q[..., high] for name, (low, high) in _OUTER.items()}
    made |= {name: plane.astype(np.float64) for name, plane in flags.items() if name in _AT}
    made |= {upto: flags["n"] - flags[f"above_{name}"].astype(np.float64) for upto, name in zip(UPTO, LEVEL_NAMES, strict=True)}
    for name, sums in made.items():
        rows_WLVCS[..., _AT[name]] = sums
    rows_WLVCS[..., _PINBALL] = _LEVELS_Q * total_Q + over_Q

"""Fields: what has a meaning for all nodes of a window and lead together: joint vectors, correlations over nodes, anomalies.

Shape suffixes: W windows, L lead, V target variable, Q quantile, N node, C column of nodes, F statistic, D distance, A area.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.contracts.forecasts import MEDIAN, QUANTILES

FIELDS: tuple[str, ...] = (
    *("fields", "energy", "correlated", "ic", "rank_ic"),
    *("weight", "weighted_squared", "anomaly_product", "anomaly_forecast", "anomaly_observed"),
)
"""Names along F: windows with an energy score and its sum; windows with a correlation and the sums of it and of that of ranks;
sums over cells of the weight, of weighted squared errors, and of weighted products of anomalies."""

LEAST_NODES = 5
"""Nodes that a correlation over nodes needs."""

_AT = {name: f for f, name in enumerate(FIELDS)}
_EDGES = np.concatenate([[0.0], (np.array(QUANTILES)[1:] + np.array(QUANTILES)[:-1]) / 2, [1.0]])
MEMBER_WEIGHTS = np.diff(_EDGES)
"""Probability that each quantile stands for as a member of an ensemble: up to half-way to its neighbours."""
_PAIRS = np.triu_indices(len(QUANTILES), 1)


@dataclass(frozen=True, kw_only=True, eq=False)
class FieldPlanes:
    """A block's fields, zero where not good: the parts that sums over nodes are made of.

    Attributes:
        good_WLVN: Where there is an observation.
        squares_WLVDN: Squared distance of each quantile to the observation, then of each pair of quantiles to each other.
        areas_WLVAN: By area: the weight, squared errors, and products of anomalies, as far as there are any.
        changes: Of each relative variable the foretold and the observed change, and where the relative one is known.
    """

    good_WLVN: NDArray[np.float64]
    squares_WLVDN: NDArray[np.float64]
    areas_WLVAN: NDArray[np.float64]
    changes: Mapping[int, Changes]


def field_planes(
    short_WLVQN: NDArray[np.float64],
    truth_WLVN: NDArray[np.float64],
    good_WLVN: NDArray[np.bool_],
    *,
    relative_V: tuple[bool, ...] = (),
    origin_WVN: NDArray[np.float64] | None = None,
    weight_N: NDArray[np.float64] | None = None,
    climate_WLVN: NDArray[np.float64] | None = None,
) -> FieldPlanes:
    """The planes of a block; `short` = observation - quantile, 0 where not good."""
    middle = short_WLVQN[..., MEDIAN, :]
    areas = []
    if weight_N is not None:
        areas = [good_WLVN * weight_N, np.square(middle) * weight_N]
        if climate_WLVN is not None:
            observed = (truth_WLVN - climate_WLVN) * good_WLVN
            forecast = (truth_WLVN - middle - climate_WLVN) * good_WLVN
            areas += [forecast * observed * weight_N, np.square(forecast) * weight_N, np.square(observed) * weight_N]
    changes = {}
    starts = () if origin_WVN is None else [(v, origin_WVN[:, None, v]) for v in np.flatnonzero(relative_V)]
    for v, origin_WN in starts:
        origin_WLN = np.broadcast_to(origin_WN, good_WLVN[:, :, v].shape)
        came = truth_WLVN[:, :, v] - origin_WLN
        changes[int(v)] = _changes(came - middle[:, :, v], came, good_WLVN[:, :, v], origin_WLN)
    return FieldPlanes(
        good_WLVN=good_WLVN.astype(np.float64),
        squares_WLVDN=_squares(short_WLVQN),
        areas_WLVAN=np.stack(areas, axis=3) if areas else np.zeros((*good_WLVN.shape[:3], 0, good_WLVN.shape[3])),
        changes=changes,
    )


def _squares(short_WLVQN: NDArray[np.float64]) -> NDArray[np.float64]:
    """(W, L, V, D, N), written in place: copies of so many planes would cost more than the sums."""
    windows, leads, variables, levels, nodes = short_WLVQN.shape
    found = np.empty((windows, leads, variables, levels + len(_PAIRS[0]), nodes))
    found[..., :levels, :] = short_WLVQN
    for d, (low, high) in enumerate(zip(*_PAIRS, strict=True), levels):
        np.subtract(short_WLVQN[..., low, :], short_WLVQN[..., high, :], out=found[..., d, :])
    return np.multiply(found, found, out=found)


def field_rows(planes: FieldPlanes, members_WLNC: NDArray[np.float64]) -> NDArray[np.float64]:
    """The statistics of each window's fields over the nodes that each column has (W, L, V, C, F); members may have one L for all."""
    windows, leads, variables = planes.good_WLVN.shape[:3]
    rows = np.zeros((windows, leads, variables, members_WLNC.shape[-1], len(FIELDS)))
    rows[..., _AT["fields"]] = _over_nodes(planes.good_WLVN[:, :, :, None], members_WLNC)[:, :, :, 0] > 0
    rows[..., _AT["energy"]] = energy_score(_over_nodes(planes.squares_WLVDN, members_WLNC))
    areas = _over_nodes(planes.areas_WLVAN, members_WLNC)
    for a, name in enumerate(FIELDS[_AT["weight"] :][: areas.shape[3]]):
        rows[..., _AT[name]] = areas[:, :, :, a]
    for v, changes in planes.changes.items():
        for c in range(members_WLNC.shape[-1]):
            rows[:, :, v, c, _AT["correlated"] : _AT["rank_ic"] + 1] = _correlations(changes, members_WLNC[..., c] > 0)
    return rows


def _over_nodes(planes_WLVXN: NDArray[np.float64], members_WLNC: NDArray[np.float64]) -> NDArray[np.float64]:
    """(W, L, V, X, C)"""
    windows, leads, variables, count, nodes = planes_WLVXN.shape
    size = members_WLNC.shape[1]
    flat = planes_WLVXN.reshape(windows, size, leads // size * variables * count, nodes)
    found: NDArray[np.float64] = np.matmul(flat, members_WLNC)
    return found.reshape(windows, leads, variables, count, members_WLNC.shape[-1])


def energy_score(squares_WLVDC: NDArray[np.float64]) -> NDArray[np.float64]:
    """Energy score (W, L, V, C) of the vector over the nodes, 0 where nothing is good, from the squared distances along D.

    The ensemble couples the quantiles: each member has all nodes at the same level, and weighs what that level stands for.
    Source: Gneiting and Raftery (2007), eq. 22.
    """
    low, high = _PAIRS
    weights = np.concatenate([MEMBER_WEIGHTS, -MEMBER_WEIGHTS[low] * MEMBER_WEIGHTS[high]])
    score: NDArray[np.float64] = (np.sqrt(squares_WLVDC) * weights[:, None]).sum(axis=3)
    return score


@dataclass(frozen=True, kw_only=True, eq=False)
class Changes:
    """Relative changes of one variable from the newest value, foretold and observed, and where they are known (W, L, N)."""

    forecast_WLN: NDArray[np.float64]
    observed_WLN: NDArray[np.float64]
    usable_WLN: NDArray[np.bool_]


def _changes(
    forecast_WLN: NDArray[np.float64], observed_WLN: NDArray[np.float64], good_WLN: NDArray[np.bool_], origin_WLN: NDArray[np.float64]
) -> Changes:
    usable = good_WLN & np.isfinite(origin_WLN) & (origin_WLN != 0)
    scale = np.where(usable, np.abs(origin_WLN), 1)
    forecast, observed = (np.where(usable, change, 0) / scale for change in (forecast_WLN, observed_WLN))
    return Changes(forecast_WLN=forecast, observed_WLN=observed, usable_WLN=usable)


def _correlations(changes: Changes, within_WLN: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(W, L, 3): whether there is a correlation of relative changes, it, and that of their ranks; 0 where there is none."""
    usable = changes.usable_WLN & within_WLN
    found = np.zeros((*usable.shape[:2], 3))
    for w, lead in np.argwhere(usable.sum(axis=-1) >= LEAST_NODES):
        chosen = usable[w, lead]
        a, b = changes.forecast_WLN[w, lead][chosen], changes.observed_WLN[w, lead][chosen]
        if np.ptp(a) > 0 and np.ptp(b) > 0:
            found[w, lead] = 1, _pearson(a, b), _pearson(_ranks(a), _ranks(b))
    return found


def _pearson(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    a, b = a - a.mean(), b - b.mean()
    return float(np.clip((a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum()), -1, 1))


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ranks from 1, equal values at the mean of theirs."""
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    found: NDArray[np.float64] = (np.cumsum(count) - (count - 1) / 2)[place]
    return found

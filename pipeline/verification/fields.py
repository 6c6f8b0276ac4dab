"""Fields: what has a meaning for all nodes of a window and lead together: joint vectors, correlations over nodes, anomalies.

Shape suffixes: W windows, L lead, V target variable, Q quantile, N node, F statistic.
"""

from __future__ import annotations

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


def field_rows(
    short_WLVQN: NDArray[np.float64],
    truth_WLVN: NDArray[np.float64],
    good_WLVN: NDArray[np.bool_],
    *,
    relative_V: tuple[bool, ...] = (),
    origin_WVN: NDArray[np.float64] | None = None,
    weight_N: NDArray[np.float64] | None = None,
    climate_WLVN: NDArray[np.float64] | None = None,
) -> NDArray[np.float64]:
    """The statistics of each window's fields (W, L, V, F); `short` = observation - quantile, 0 where not good."""
    rows = np.zeros((*good_WLVN.shape[:3], len(FIELDS)))
    rows[..., _AT["fields"]] = good_WLVN.any(axis=-1)
    rows[..., _AT["energy"]] = energy_score(short_WLVQN)
    for v in np.flatnonzero(relative_V):
        if origin_WVN is None:
            break
        origin_WLN = np.broadcast_to(origin_WVN[:, None, v], good_WLVN[:, :, v].shape)
        came = truth_WLVN[:, :, v] - origin_WLN
        found = _correlations(came - short_WLVQN[:, :, v, MEDIAN], came, good_WLVN[:, :, v], origin_WLN)
        rows[:, :, v, _AT["correlated"] : _AT["rank_ic"] + 1] = found
    if weight_N is not None:
        middle = short_WLVQN[..., MEDIAN, :]
        rows[..., _AT["weight"]] = (good_WLVN * weight_N).sum(axis=-1)
        rows[..., _AT["weighted_squared"]] = (np.square(middle) * weight_N).sum(axis=-1)
        if climate_WLVN is not None:
            observed = (truth_WLVN - climate_WLVN) * good_WLVN
            forecast = (truth_WLVN - middle - climate_WLVN) * good_WLVN
            rows[..., _AT["anomaly_product"]] = (forecast * observed * weight_N).sum(axis=-1)
            rows[..., _AT["anomaly_forecast"]] = (np.square(forecast) * weight_N).sum(axis=-1)
            rows[..., _AT["anomaly_observed"]] = (np.square(observed) * weight_N).sum(axis=-1)
    return rows


def energy_score(short_WLVQN: NDArray[np.float64]) -> NDArray[np.float64]:
    """Energy score (W, L, V) of the vector over the nodes, 0 where nothing is good.

    The ensemble couples the quantiles: each member has all nodes at the same level, and weighs what that level stands for.
    Source: Gneiting and Raftery (2007), eq. 22. Distances between members are sums of products that are not negative, so
    that nothing cancels.
    """
    squares_Q = np.einsum("...n,...n->...", short_WLVQN, short_WLVQN)
    steps = short_WLVQN[..., :-1, :] - short_WLVQN[..., 1:, :]
    product = np.matmul(steps, np.swapaxes(steps, -1, -2))
    score: NDArray[np.float64] = (np.sqrt(squares_Q) * MEMBER_WEIGHTS).sum(axis=-1)
    for low in range(len(MEMBER_WEIGHTS) - 1):
        square = np.zeros(score.shape)
        for high in range(low + 1, len(MEMBER_WEIGHTS)):
            square = square + 2 * product[..., low : high - 1, high - 1].sum(axis=-1) + product[..., high - 1, high - 1]
            score = score - MEMBER_WEIGHTS[low] * MEMBER_WEIGHTS[high] * np.sqrt(np.maximum(square, 0))
    return score


def _correlations(
    forecast_WLN: NDArray[np.float64], observed_WLN: NDArray[np.float64], good_WLN: NDArray[np.bool_], origin_WLN: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(W, L, 3): whether there is a correlation of relative changes, it, and that of their ranks; 0 where there is none."""
    usable = good_WLN & np.isfinite(origin_WLN) & (origin_WLN != 0)
    scale = np.where(usable, np.abs(origin_WLN), 1)
    forecast, observed = (np.where(usable, change, 0) / scale for change in (forecast_WLN, observed_WLN))
    found = np.zeros((*usable.shape[:2], 3))
    for w, lead in np.argwhere(usable.sum(axis=-1) >= LEAST_NODES):
        chosen = usable[w, lead]
        a, b = forecast[w, lead][chosen], observed[w, lead][chosen]
        if np.ptp(a) > 0 and np.ptp(b) > 0:
            found[w, lead] = 1, _pearson(a, b), _pearson(_ranks(a), _ranks(b))
    return found


def _pearson(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    a, b = a - a.mean(), b - b.mean()
    return float(np.clip((a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum()), -1, 1))


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    from scipy.stats import rankdata

    return np.asarray(rankdata(values), np.float64)

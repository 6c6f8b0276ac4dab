"""What windows knew at their issue times: the newest values, and the regimes that these put each node in.

Shape suffixes: W windows, C context step, N node, V variable.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.contracts.judging import AVAILABILITY, PRESENT_SHARE, Regime
from pipeline.contracts.windows import DomainWindows, WindowSet
from pipeline.contracts.worlds import World

_UNKNOWN = 2


@dataclass(frozen=True, kw_only=True, eq=False)
class Known:
    """Per window and node: the newest value of each variable in physical units, NaN where none is seen, and the share seen.

    `newest_WNV` runs over all variables of the domain, `share_WN` is the share of the context's target cells seen.
    """

    newest_WNV: NDArray[np.float32]
    share_WN: NDArray[np.float64]


def known_at(view: DomainWindows, index_W: NDArray[np.int64]) -> Known:
    """What some windows of a domain see of their context, each cell in the version known at its issue time."""
    ends_W = view.end_W[index_W].astype(np.int64)
    return _known(view, view.issue_time_W[index_W], ends_W)


def regimes_at(
    world: World, windows: WindowSet, domain: str, index_W: NDArray[np.int64], known: Known | None = None
) -> dict[str, NDArray[np.int8]]:
    """The code of each regime per window and node (W, N), from what was `known_at` each issue time.

    `availability` is always there (`AVAILABILITY_LABELS`), then those that the world declares (`REGIME_LABELS`); of one
    that looks at a domain without windows nothing is known.
    """
    view = windows.domains[domain]
    own = known or known_at(view, index_W)
    share = own.share_WN
    found = {AVAILABILITY: np.select([share >= PRESENT_SHARE, share > 0], [0, 1], 2).astype(np.int8)}
    for name, regime in world.domains[domain].regimes.items():
        other = regime.domain or domain
        if other == domain:
            codes = _codes(own.newest_WNV[:, :, view.variables.index(regime.variable)], regime)
        else:
            codes = _codes(_elsewhere(windows, regime, view.issue_time_W[index_W])[:, None], regime)
        found[name] = np.broadcast_to(codes, share.shape).astype(np.int8)
    return found


def _codes(values: NDArray[np.float64] | NDArray[np.float32], regime: Regime) -> NDArray[np.int8]:
    holds = values > regime.above if regime.above is not None else values < np.float64(regime.below or 0)
    return np.where(np.isnan(values), _UNKNOWN, holds).astype(np.int8)


def _elsewhere(windows: WindowSet, regime: Regime, issue_time_W: NDArray[np.int64]) -> NDArray[np.float64]:
    """(W) the mean over another domain's nodes of their newest values; NaN where nothing is known."""
    view = windows.domains.get(str(regime.domain))
    if view is None:
        return np.full(len(issue_time_W), np.nan)
    ends_W = np.searchsorted(view.valid_time_T, issue_time_W, side="right") - 1
    newest_WN = _known(view, issue_time_W, ends_W).newest_WNV[:, :, view.variables.index(regime.variable)]
    good = ~np.isnan(newest_WN)
    total = np.where(good, newest_WN, 0).sum(axis=1, dtype=np.float64)
    return np.where(good.any(axis=1), total / np.maximum(good.sum(axis=1), 1), np.nan)


def _known(view: DomainWindows, issue_time_W: NDArray[np.int64], ends_W: NDArray[np.int64]) -> Known:
    nodes, variables = view.values_TNV.shape[1:]
    newest = np.full((len(ends_W), nodes, variables), np.nan, np.float32)
    share = np.zeros((len(ends_W), nodes))
    targets = list(view.targets)
    for w, (issue_time, end) in enumerate(zip(issue_time_W.tolist(), ends_W.tolist(), strict=True)):
        first, last = max(end - view.context + 1, 0), end + 1
        if last <= 0:
            continue
        values, good = _seen(view, first, last, issue_time)
        at = len(good) - 1 - np.argmax(good[::-1], axis=0)
        latest = np.take_along_axis(values, at[None], axis=0)[0]
        newest[w] = np.where(good.any(axis=0), view.unscale(latest), np.float32(np.nan))
        share[w] = good[:, :, targets].sum(axis=(0, 2)) / (view.context * len(targets))
    return Known(newest_WNV=newest, share_WN=share)


def _seen(view: DomainWindows, first: int, last: int, issue_time: int) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Values and mask of some steps, each cell in the version shown at the issue time."""
    limit = np.clip(issue_time - view.valid_time_T[first:last], -1, np.iinfo(np.int32).max - 1).astype(np.int32)
    values, good = view.values_TNV[first:last], view.good_TNV[first:last] & (view.latency_TNV[first:last] <= limit[:, None, None])
    part = slice(view.patch_start_T[first], view.patch_start_T[last])
    shown = (view.patch_known_time[part] <= issue_time) & (issue_time < view.patch_gone_time[part])
    if shown.any():
        cell = (view.patch_step[part][shown] - first, view.patch_node[part][shown], view.patch_variable[part][shown])
        values = values.copy()
        values[cell], good[cell] = view.patch_value[part][shown], True
    return values, good

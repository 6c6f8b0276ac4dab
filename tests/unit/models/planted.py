"""WindowSets made in numpy from plain value arrays, so that models are tested without any storage."""

from __future__ import annotations

from dataclasses import dataclass, replace
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from pipeline.contracts.cubes import NEVER
from pipeline.contracts.windows import DomainWindows, Scaler, WindowSet


@dataclass(frozen=True, kw_only=True, eq=False)
class Planted:
    """What a planted domain is made of; values hold NaN where missing, the axis ends `horizon` steps after the cut-off."""

    domain: str
    values_TNV: NDArray[np.float32]
    valid_time_T: NDArray[np.int64]
    variables: tuple[str, ...]
    context: int
    horizon: int
    slots_per_day: int
    step_seconds: int
    seasons: tuple[tuple[str, int], ...] = ()
    coarse: tuple[int, int] = (1, 0)
    latency: int = 0
    relative: bool = False
    anchor: int = -1
    lower: float = -np.inf
    upper: float = np.inf
    targets: tuple[int, ...] | None = None
    edges_2E: NDArray[np.int32] | None = None
    weight_E: NDArray[np.float32] | None = None
    grid_shape: tuple[int, int] | None = None
    zone: str = "UTC"
    share: tuple[float, float] = (0.7, 0.8)


def _local(valid_time_T: NDArray[np.int64], zone: str, slots: int) -> tuple[NDArray[np.int16], NDArray[np.int16]]:
    hours = valid_time_T // 3600
    known, where = np.unique(hours, return_inverse=True)
    tz = ZoneInfo(zone)
    from datetime import UTC, datetime

    shift = np.array([datetime.fromtimestamp(int(h) * 3600, UTC).astimezone(tz).utcoffset().total_seconds() for h in known], np.int64)
    local = valid_time_T + shift[where]
    return ((local % 86400) * slots // 86400).astype(np.int16), ((local // 86400 + 3) % 7).astype(np.int16)


def _history(values: NDArray[np.float32], seasons: tuple[tuple[str, int], ...], many: int = 4):
    names, summaries = [], []
    for name, steps in seasons:
        lags = []
        for j in range(1, many + 1):
            lag = np.full_like(values, np.nan)
            if j * steps < len(values):
                lag[j * steps :] = values[: -j * steps]
            lags.append(lag)
        stack = np.stack(lags)
        good = ~np.isnan(stack)
        mean = np.where(good.any(0), np.nan_to_num(stack).sum(0) / np.maximum(good.sum(0), 1), np.nan).astype(np.float32)
        names += [f"lag_{name}", f"mean_{name}"]
        summaries += [lags[0], mean]
    if not summaries:
        return (), np.zeros((*values.shape, 0), np.float32)
    return tuple(names), np.stack(summaries, -1)


def _coarse(values: NDArray[np.float32], steps: int) -> NDArray[np.float32]:
    good = ~np.isnan(values)
    total = np.cumsum(np.nan_to_num(values, nan=0.0).astype(np.float64), 0)
    count = np.cumsum(good, 0)
    total[steps:] -= total[:-steps].copy()
    count[steps:] -= count[:-steps].copy()
    return np.where(count > 0, total / np.maximum(count, 1), np.nan).astype(np.float32)


def plant(p: Planted) -> DomainWindows:
    """The domain's arrays with windows at every step that has its context; train / validation / test by time with gaps."""
    steps, nodes, count = p.values_TNV.shape
    cut = steps - p.horizon
    end = np.arange(p.context - 1, cut, dtype=np.int32)
    fold = np.full(len(end), -1, np.int8)
    first, second = int(cut * p.share[0]), int(cut * p.share[1])
    fold[end + p.horizon < first] = 0
    fold[(end >= first) & (end + p.horizon < second)] = 1
    fold[(end >= second) & (end + p.horizon < cut)] = 2
    fold[-1] = 3
    known = p.values_TNV[:first]
    if p.relative:
        center, scale = np.zeros((nodes, count), np.float32), np.ones((nodes, count), np.float32)
        change = np.diff(known, axis=0) / known[:-1]
        relative = np.nan_to_num(np.nanstd(change, axis=0), nan=0.01).astype(np.float32) + 1e-6
    else:
        center = np.broadcast_to(np.nanmean(known, axis=(0, 1)), (nodes, count)).astype(np.float32)
        scale = np.broadcast_to(np.nanstd(known, axis=(0, 1)) + 1e-6, (nodes, count)).astype(np.float32)
        relative = np.zeros((nodes, count), np.float32)
    scaled = ((p.values_TNV - center) / scale).astype(np.float32)
    scaled[cut:] = np.nan
    names, history = _history(scaled, p.seasons)
    coarse = _coarse(scaled, p.coarse[0])
    good = ~np.isnan(scaled)
    time_of_day, day_of_week = _local(p.valid_time_T, p.zone, p.slots_per_day)
    edges = np.zeros((2, 0), np.int32) if p.edges_2E is None else p.edges_2E
    return DomainWindows(
        domain=p.domain,
        title=p.domain,
        context=p.context,
        horizon=p.horizon,
        step_seconds=p.step_seconds,
        slots_per_day=p.slots_per_day,
        node_ids=tuple(f"{p.domain}-{n}" for n in range(nodes)),
        grid_shape=p.grid_shape,
        variables=p.variables,
        units=("1",) * count,
        targets=tuple(range(count)) if p.targets is None else p.targets,
        weight_V=np.ones(count, np.float32),
        lower_V=np.full(count, p.lower, np.float32),
        upper_V=np.full(count, p.upper, np.float32),
        anchor_V=np.full(count, p.anchor, np.int16),
        scaler=Scaler(center_NV=center, scale_NV=scale, relative_NV=relative),
        valid_time_T=p.valid_time_T,
        values_TNV=np.nan_to_num(scaled, nan=0.0),
        good_TNV=good,
        latency_TNV=np.where(good, np.int32(p.latency), NEVER).astype(np.int32),
        history_names=names,
        history_TNVK=np.nan_to_num(history, nan=0.0),
        history_good_TNVK=~np.isnan(history),
        coarse_steps=p.coarse[0],
        coarse_count=p.coarse[1],
        coarse_TNV=np.nan_to_num(coarse, nan=0.0),
        coarse_good_TNV=~np.isnan(coarse),
        time_of_day_T=time_of_day,
        day_of_week_T=day_of_week,
        edges_2E=edges,
        edge_weight_E=np.ones(edges.shape[1], np.float32) if p.weight_E is None else p.weight_E,
        position_N2=np.zeros((nodes, 2), np.float32),
        issue_time_W=p.valid_time_T[end] + p.latency,
        end_W=end,
        fold_W=fold,
        patch_start_T=np.zeros(len(p.valid_time_T) + 1, np.int64),
        patch_step=np.zeros(0, np.int32),
        patch_node=np.zeros(0, np.int32),
        patch_variable=np.zeros(0, np.int16),
        patch_value=np.zeros(0, np.float32),
        patch_known_time=np.zeros(0, np.int64),
        patch_gone_time=np.zeros(0, np.int64),
    )


def together(*domains: DomainWindows, zone: str = "UTC") -> WindowSet:
    """A WindowSet of these domains."""
    return WindowSet(
        world="planted",
        world_digest="0" * 64,
        zone=zone,
        as_of=max(int(d.issue_time_W[-1]) for d in domains),
        snapshot="planted",
        domains={d.domain: d for d in domains},
    )


def altered(windows: WindowSet, domain: str, **changes: object) -> WindowSet:
    """The same WindowSet with some arrays of one domain replaced."""
    return replace(windows, domains={**windows.domains, domain: replace(windows.domains[domain], **changes)})

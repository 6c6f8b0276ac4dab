"""Which windows there are: issue times, where each ends on the axis, and what they saw of cells that were revised later."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.contracts.worlds import World
from pipeline.windows.history import Series


@dataclass(frozen=True, kw_only=True, eq=False)
class Patches:
    """Good versions of cells that were revised later; those of step s are start_T[s] .. start_T[s+1]-1.

    A window issued at t sees a patch where known_time <= t < gone_time.
    """

    start_T: NDArray[np.int64]
    step: NDArray[np.int32]
    node: NDArray[np.int32]
    variable: NDArray[np.int16]
    value: NDArray[np.float32]
    known_time: NDArray[np.int64]
    gone_time: NDArray[np.int64]


def issue_lag(world: World, domain: str) -> int:
    """Seconds after a step at which windows are issued in training: the longest declared latency of its variables."""
    return max(int(world.sources[v.source].latency_of(name).total_seconds()) for name, v in world.domains[domain].variables.items())


def training_windows(valid_time_T: NDArray[np.int64], lag: int, context: int, as_of: int) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Issue times and last steps of the windows issued `lag` after a step, not after `as_of`, with a full context.

    `valid_time_T` are the steps up to `as_of`. Where two steps fall between two issue times, a window ends at the later.
    """
    issue = valid_time_T + lag
    issue = issue[issue <= as_of]
    end = np.searchsorted(valid_time_T, issue, side="right") - 1
    full = end >= context - 1
    return issue[full], end[full].astype(np.int32)


def live_window(valid_time_T: NDArray[np.int64], context: int, as_of: int) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """The one window issued at `as_of`, or none where the context is not full."""
    count = 1 if len(valid_time_T) >= context else 0
    return np.full(count, as_of, np.int64), np.full(count, len(valid_time_T) - 1, np.int32)


def patches_of(series: Series) -> Patches:
    """What windows issued before a revision saw, sorted by step, node, variable and time."""
    kept = np.flatnonzero(series.old_good)
    columns = (series.old_latency, series.old_variable, series.old_node, series.old_step)
    kept = kept[np.lexsort(tuple(c[kept] for c in columns))]
    step = series.old_step[kept]
    valid = series.valid_time_T[step]
    return Patches(
        start_T=np.searchsorted(step, np.arange(len(series.valid_time_T) + 1), side="left").astype(np.int64),
        step=step,
        node=series.old_node[kept],
        variable=series.old_variable[kept],
        value=series.old_value[kept],
        known_time=valid + series.old_latency[kept],
        gone_time=valid + series.old_superseded[kept],
    )

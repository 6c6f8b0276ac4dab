"""Which windows there are: issue times, where each ends on the axis, and what revised cells it must see instead."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.contracts.worlds import World
from pipeline.windows.history import Series


@dataclass(frozen=True, kw_only=True, eq=False)
class Patches:
    """Cells that windows must see in an older version; those of window w are start_W[w] .. start_W[w+1]-1."""

    start_W: NDArray[np.int64]
    step: NDArray[np.int32]
    node: NDArray[np.int32]
    variable: NDArray[np.int16]
    value: NDArray[np.float32]
    good: NDArray[np.bool_]


def issue_lag(world: World, domain: str) -> int:
    """Seconds after a step at which windows are issued in training: the longest declared latency of its sources."""
    return max(int(world.sources[v.source].latency.total_seconds()) for v in world.domains[domain].variables.values())


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


def window_patches(series: Series, context: int, issue_time_W: NDArray[np.int64], end_W: NDArray[np.int32]) -> Patches:
    """The good older versions that each window saw inside its context, ordered by window, step, node and variable."""
    valid = series.valid_time_T[series.old_step]
    low = np.maximum(
        np.searchsorted(issue_time_W, valid + series.old_latency, side="left"), np.searchsorted(end_W, series.old_step, side="left")
    )
    high = np.minimum(
        np.searchsorted(issue_time_W, valid + series.old_superseded, side="left"),
        np.searchsorted(end_W, series.old_step + (context - 1), side="right"),
    )
    count = np.where(series.old_good, np.maximum(high - low, 0), 0)
    record = np.repeat(np.arange(len(count)), count)
    window = np.repeat(low, count) + np.arange(len(record)) - np.repeat(np.cumsum(count) - count, count)
    order = np.lexsort((series.old_variable[record], series.old_node[record], series.old_step[record], window))
    record, window = record[order], window[order]
    return Patches(
        start_W=np.searchsorted(window, np.arange(len(issue_time_W) + 1), side="left").astype(np.int64),
        step=series.old_step[record],
        node=series.old_node[record],
        variable=series.old_variable[record],
        value=series.old_value[record],
        good=np.ones(len(record), np.bool_),
    )

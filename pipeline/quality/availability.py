"""When a reading could be known: by its own publication time, by the declared latency, or by when it reached us."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_NO_TIME = np.iinfo(np.int64).min


def available_times(
    valid_time: NDArray[np.int64], published_time: NDArray[np.int64] | None, *, latency: int, received_time: int, first_received: int
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """(R,) instants (seconds UTC) at which readings of one delivery could be known, and which carry their own.

    A reading without a publication time is history, known `latency` after its `valid_time`; unless that is at or after
    `first_received`, when this store began to receive the source: such a reading was lived, and known no earlier than it came.
    """
    due = valid_time + latency
    available = np.where(due >= first_received, np.maximum(due, received_time), due)
    if published_time is None:
        return available, np.zeros(len(valid_time), np.bool_)
    declared = published_time != _NO_TIME
    return np.where(declared, published_time, available), declared


def settled(
    available_time: NDArray[np.int64], node: NDArray[np.int32], valid_time: NDArray[np.int64], punctual: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """Instants no earlier than those of the punctual readings of the same node before them, on which their flags rest."""
    lag = available_time - valid_time
    if (lag == lag[:1]).all() or ((np.diff(valid_time) >= 0).all() and (np.diff(available_time) >= 0).all()):
        return available_time
    places = np.flatnonzero(punctual)
    order = places[np.lexsort((valid_time[places], node[places]))]
    if not len(order):
        return available_time
    low = int(available_time[order].min())
    span = int(available_time[order].max()) - low + 1
    series = np.cumsum(np.r_[False, np.diff(node[order]) != 0]) * span
    out = available_time.copy()
    out[order] = np.maximum.accumulate(available_time[order] - low + series) - series + low
    return out

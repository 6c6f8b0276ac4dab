"""Runs of forecasts on a domain's clock: the steps after the start of each, on the labels that its windows forecast.

Step k of a run is the k-th label later than its start, from 0; it takes what is valid in (label before, label].
Shape suffixes: I run, H step of a run, P place.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.alignment.time_grid import DAY, axis, step_seconds
from pipeline.contracts.nodes import NodeSet
from pipeline.contracts.worlds import Clock

_MARGIN_DAYS = 400


def run_length(clock: Clock, reach: int) -> int:
    """H: how many steps a run of `reach` seconds may have."""
    return -(-reach // step_seconds(clock))


def ordinals(clock: Clock, start: int, instants: NDArray[np.int64], side: Literal["left", "right"]) -> NDArray[np.int64]:
    """How many labels are earlier than each instant (`right`: or equal), counted from one origin for one `start` (itself a label)."""
    if clock.step is not None:
        step = step_seconds(clock)
        return -((start - instants) // step) if side == "left" else (instants - start) // step + 1
    last = int(instants.max(initial=start))
    labels = axis(clock, start - _MARGIN_DAYS * DAY, last + DAY)
    return np.searchsorted(labels, instants, side=side).astype(np.int64)


def steps_after(clock: Clock, start: int, init_time: NDArray[np.int64], valid_time: NDArray[np.int64]) -> NDArray[np.int64]:
    """The step of its run that each instant falls on; negative where it is no later than the start."""
    return ordinals(clock, start, valid_time, "left") - ordinals(clock, start, init_time, "right")


def first_steps(clock: Clock, start: int, init_time: NDArray[np.int64], first_label: int) -> NDArray[np.int64]:
    """Where step 0 of each run lies on an axis that begins with `first_label`."""
    return ordinals(clock, start, init_time, "right") - ordinals(clock, start, np.array([first_label], np.int64), "left")


def run_nodes(places: NodeSet, steps: int) -> NodeSet:
    """Steps and places as the cells of a grid (step, place), each named `PLACE+STEP`."""
    return NodeSet(
        ids=tuple(f"{place}+{k}" for k in range(1, steps + 1) for place in places.ids),
        latitude=np.tile(places.latitude, steps),
        longitude=np.tile(places.longitude, steps),
        shape=(steps, len(places)),
    )


def run_places(nodes: NodeSet) -> NodeSet:
    """The places of `run_nodes`."""
    count = 0 if nodes.shape is None else nodes.shape[1]
    return NodeSet(
        ids=tuple(name.rpartition("+")[0] for name in nodes.ids[:count]),
        latitude=nodes.latitude[:count],
        longitude=nodes.longitude[:count],
    )

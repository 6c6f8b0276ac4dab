"""Which cells of a region nothing came for, by source and day. Shape suffixes: T steps of the region, D day, N node."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.alignment.time_grid import DAY
from pipeline.contracts.flags import Flag
from pipeline.cube.assemble import Slab
from pipeline.cube.groups import Group


@dataclass(frozen=True, kw_only=True, eq=False)
class Gaps:
    """The missing cells of one source in one region, by day.

    Attributes:
        day: (D,) starts of the days with any, int64 seconds UTC.
        first, last: (D,) the first and the last step with one.
        missing: (D, N) how many, in the smallest type that holds them, per node; of grids and runs (D, 1): steps for which nothing came at all.
    """

    source: str
    day: NDArray[np.int64]
    first: NDArray[np.int64]
    last: NDArray[np.int64]
    missing: NDArray[np.integer]


def gaps(group: Group, axis_T: NDArray[np.int64], slab: Slab, due: Mapping[str, tuple[int, int]]) -> tuple[Gaps, ...]:
    """What is missing in a region of the steps `axis_T`, per source.

    `due` is from when to when (seconds UTC) each owes steps by now, those of a variable its latency later.
    """
    found = []
    for source in group.sources:
        mine = [(c, v) for c, v in zip(slab.cells, group.variables.values(), strict=True) if v.source == source]
        missing_TN = np.zeros(mine[0][0].flags_TN.shape, np.int32)
        for cells, variable in mine:
            owed_T = (axis_T >= due[source][0]) & (axis_T <= due[source][1] - variable.latency)
            missing_TN += (cells.flags_TN == Flag.MISSING) & owed_T[:, None]
        if group.kind == "grid":
            missing_TN = (missing_TN == len(mine)).all(axis=1, keepdims=True).astype(np.int32)
        held = np.flatnonzero(missing_TN.any(axis=1))
        if not len(held):
            continue
        step = axis_T[held]
        day, begin = np.unique(step // DAY * DAY, return_index=True)
        end = np.r_[begin[1:], len(held)] - 1
        missing_DN = np.add.reduceat(missing_TN[held], begin, axis=0)
        packed = missing_DN.astype(np.min_scalar_type(missing_DN.max()))
        found.append(Gaps(source=source, day=day, first=step[begin], last=step[end], missing=packed))
    return tuple(found)

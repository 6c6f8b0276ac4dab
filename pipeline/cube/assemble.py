"""One region of a cube from the observations that meet it. Shape suffixes: T steps of the region, N node."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.alignment.aggregate import Cells, Meeting, Readings, aggregate, meet, met, settle
from pipeline.alignment.aggregate_slabs import Slabs, aggregate_slabs
from pipeline.alignment.runs import run_places, steps_after
from pipeline.alignment.time_grid import step_of
from pipeline.contracts.cubes import NEVER, Revisions
from pipeline.cube.digests import chunk_digest
from pipeline.cube.groups import Group, GroupVariable, Runs
from pipeline.cube.plan import DomainPlan, Region

_STAMP = pa.timestamp("s", tz="UTC")
UNKNOWN_TIME = np.iinfo(np.int64).max
"""In place of the instant a node was first heard of, where it never was."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Slab:
    """All variables of one region.

    Attributes:
        cells: One entry per variable, in the domain's order.
        heard_N: int64, when each node first had a row in a step that had ended, UNKNOWN_TIME where none; None for grids and runs,
            whose nodes are known before they say anything.
        known_time: The latest `available_time` of any cell shown, 0 where there is none.
    """

    region: Region
    cells: tuple[Cells, ...]
    heard_N: NDArray[np.int64] | None
    known_time: int

    @property
    def present(self) -> NDArray[np.int64]:
        """(variable,) cells with a good value."""
        return np.array([int(np.count_nonzero(~np.isnan(c.values_TN))) for c in self.cells], np.int64)

    @property
    def digest(self) -> bytes:
        """sha256 over values, flags and latencies."""
        return chunk_digest(array for c in self.cells for array in (c.values_TN, c.flags_TN, c.latency_TN))

    def revisions(self) -> Revisions:
        """Superseded versions with steps counted on the domain's axis, sorted by step, node, variable and time."""
        step = np.concatenate([c.step for c in self.cells]) + np.int32(self.region.start)
        node = np.concatenate([c.node for c in self.cells])
        variable = np.repeat(np.arange(len(self.cells), dtype=np.int16), [len(c.step) for c in self.cells])
        available = np.concatenate([c.available_time for c in self.cells])
        order = np.lexsort((available, variable, node, step))
        return Revisions(
            step=step[order],
            node=node[order],
            variable=variable[order],
            value=np.concatenate([c.value for c in self.cells])[order],
            flag=np.concatenate([c.flag for c in self.cells])[order],
            available_time=available[order],
            superseded_time=np.concatenate([c.superseded_time for c in self.cells])[order],
        )


def region_edge(plan: DomainPlan, region: Region) -> int:
    """The label before the region's first step."""
    return int(plan.axis_T[region.start - 1]) if region.start else plan.edge


def assemble(
    group: Group, plan: DomainPlan, region: Region, tables: Mapping[str, pa.Table], fields: Mapping[str, Slabs] | None = None
) -> Slab:
    """One region from the observations of each source with `region_edge - before < valid_time <= last label + after`.

    Args:
        group: What is made.
        plan: All of it.
        region: The part.
        tables: Observations by source.
        fields: Whole grids by variable, on the plan's nodes.
    """
    axis_T = plan.axis_T[region.start : region.stop]
    names = () if not tables else plan.nodes.ids if group.runs is None else run_places(plan.nodes).ids
    index = {name: k for k, name in enumerate(names)}
    rows = {name: _Rows(table, index) for name, table in tables.items()}
    made = partial(_of_axis, plan, region) if group.runs is None else partial(_of_runs, group.runs, plan, region)
    cells = tuple(
        _of_slabs(plan, region, v, fields[name]) if fields and name in fields else made(v, rows[v.source], name)
        for name, v in group.variables.items()
    )
    heard = None if plan.nodes.shape is not None else _heard(axis_T, len(plan.nodes), rows.values())
    latest = max((_latest(axis_T, c.latency_TN) for c in cells), default=0)
    return Slab(region=region, cells=cells, heard_N=heard, known_time=latest)


def _heard(axis_T: NDArray[np.int64], nodes: int, rows: Iterable[_Rows]) -> NDArray[np.int64]:
    heard = np.full(nodes, UNKNOWN_TIME)
    for source in rows:
        label_R = axis_T[np.minimum(step_of(axis_T, source.valid_time), len(axis_T) - 1)]
        np.minimum.at(heard, source.node, np.maximum(source.available_time, label_R))
    return heard


def _latest(axis_T: NDArray[np.int64], latency_TN: NDArray[np.int32]) -> int:
    """When the last of these cells became known, 0 where none holds anything."""
    longest_T = np.max(latency_TN, axis=1, where=latency_TN != NEVER, initial=np.iinfo(np.int32).min)
    held = longest_T > np.iinfo(np.int32).min
    return int((axis_T + longest_T)[held].max(initial=0))


def _of_axis(plan: DomainPlan, region: Region, variable: GroupVariable, rows: _Rows, name: str) -> Cells:
    axis_T, edge, nodes = plan.axis_T[region.start : region.stop], region_edge(plan, region), len(plan.nodes)
    served = variable.max_age if variable.aggregate == "last" else None
    meeting = rows.meeting(served, partial(meet, rows.node, rows.valid_time, axis_T=axis_T, edge=edge, nodes=nodes, max_age=served))
    return aggregate(
        rows.readings(name),
        axis_T=axis_T,
        edge=edge,
        nodes=nodes,
        method=variable.aggregate,
        latency=variable.latency,
        max_age=variable.max_age,
        meeting=meeting,
    )


def _of_slabs(plan: DomainPlan, region: Region, variable: GroupVariable, slabs: Slabs) -> Cells:
    return aggregate_slabs(
        slabs,
        axis_T=plan.axis_T[region.start : region.stop],
        edge=region_edge(plan, region),
        method=variable.aggregate,
        latency=variable.latency,
    )


def _of_runs(runs: Runs, plan: DomainPlan, region: Region, variable: GroupVariable, rows: _Rows, name: str) -> Cells:
    """Forecasts on the steps after the start of their runs, which are the labels of the axis."""
    axis_T, init, readings = plan.axis_T[region.start : region.stop], rows.init_time, rows.readings(name)
    run = np.minimum(np.searchsorted(axis_T, init), len(axis_T) - 1)
    step = steps_after(runs.clock, runs.start, init, readings.valid_time)
    within = (step >= 0) & (step < runs.count) & (readings.valid_time - init <= runs.reach)
    used = np.flatnonzero((axis_T[run] == init) & within)
    node = (step[used] * (len(plan.nodes) // runs.count) + readings.node[used]).astype(np.int32)
    meeting = met(used, run[used], node, axis_T, len(plan.nodes))
    return settle(readings, meeting, axis_T=axis_T, nodes=len(plan.nodes), method=variable.aggregate, latency=variable.latency)


class _Rows:
    """A table's keys as arrays, without rows of nodes that the plan does not know."""

    def __init__(self, table: pa.Table, index: Mapping[str, int]) -> None:
        words = table["node"]
        coded = words.unify_dictionaries() if pa.types.is_dictionary(words.type) else words.dictionary_encode()
        names = coded.chunk(0).dictionary.to_pylist() if coded.num_chunks else []
        place = np.array([index.get(n, -1) for n in names], np.int32)
        codes = [c.indices.to_numpy(zero_copy_only=False) for c in coded.chunks]
        here = place[np.concatenate([np.zeros(0, np.int32), *codes])]
        self._known = slice(None) if (here >= 0).all() else here >= 0
        self._table = table
        self.node = here[self._known]
        self.valid_time = self._seconds("valid_time")
        self.available_time = self._seconds("available_time")
        self.init_time = self._seconds("init_time") if "init_time" in table.column_names else self.valid_time
        self._meetings: dict[int | None, Meeting] = {}

    def meeting(self, max_age: int | None, make: Callable[[], Meeting]) -> Meeting:
        """Which cells these rows serve, found out once for all variables that serve as long."""
        if max_age not in self._meetings:
            self._meetings[max_age] = make()
        return self._meetings[max_age]

    def _seconds(self, name: str) -> NDArray[np.int64]:
        return np.asarray(self._table[name].cast(_STAMP).cast(pa.int64()).to_numpy()[self._known])

    def readings(self, variable: str) -> Readings:
        """The rows of one variable; null is NaN."""
        value = np.asarray(self._table[variable].to_numpy()[self._known], np.float32)
        flag = np.asarray(self._table[f"{variable}_flag"].to_numpy()[self._known]).astype(np.uint16)
        return Readings(node=self.node, valid_time=self.valid_time, available_time=self.available_time, value=value, flag=flag)

"""Readings become versions of cells: what a cell of the axis held, and since when that could be known.

A reading is one node at one `valid_time`; a later row for the same two revises it. A cell at step s takes the readings
of (s - step, s]. Its first version holds all that were available by s + latency and counts as known from then on (who
asks earlier cannot tell whether more is to come, and would see other values then than later); each later arrival makes
a new one.
Shape suffixes: T axis steps, N node.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.alignment.time_grid import step_of
from pipeline.contracts.cubes import NEVER
from pipeline.contracts.flags import Flag

Method = Literal["mean", "sum", "last", "max", "min"]
_REDUCE = {"mean": np.add, "sum": np.add, "max": np.maximum, "min": np.minimum}
_ON_TIME = np.iinfo(np.int64).min


@dataclass(frozen=True, kw_only=True, eq=False)
class Readings:
    """One variable's rows; every array has one entry per row, in order of arrival where instants are equal.

    Attributes:
        node: Index in the NodeSet.
        valid_time: Seconds UTC.
        available_time: Seconds UTC.
        value: float32; NaN with no flag beyond MISSING delivers nothing and is left out.
        flag: uint16, 0 where good.
    """

    node: NDArray[np.int32]
    valid_time: NDArray[np.int64]
    available_time: NDArray[np.int64]
    value: NDArray[np.float32]
    flag: NDArray[np.uint16]

    def __len__(self) -> int:
        return len(self.node)

    @property
    def says(self) -> NDArray[np.bool_]:
        """Which rows deliver something, be it bad."""
        return np.asarray(~(np.isnan(self.value) & ((self.flag & ~np.uint16(Flag.MISSING)) == 0)))

    def take(self, rows: NDArray[np.int64] | NDArray[np.bool_]) -> Readings:
        """These rows only, in this order."""
        return Readings(
            node=self.node[rows],
            valid_time=self.valid_time[rows],
            available_time=self.available_time[rows],
            value=self.value[rows],
            flag=self.flag[rows],
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Meeting:
    """Which cells rows serve, an entry for each pair; variables of the same rows share it.

    Attributes:
        rows: Places of the rows; None: all of them, one after the other.
        cell: step * nodes + node.
        label: The label of the cell's step.
        alone: Whether no cell is met twice.
    """

    rows: NDArray[np.int64] | None
    cell: NDArray[np.int64]
    label: NDArray[np.int64]
    alone: bool

    def those(self, wanted: NDArray[np.bool_]) -> Meeting:
        """Without the rows that are not wanted."""
        keep = wanted if self.rows is None else wanted[self.rows]
        rows = np.flatnonzero(keep) if self.rows is None else self.rows[keep]
        return Meeting(rows=rows, cell=self.cell[keep], label=self.label[keep], alone=self.alone)


def meet(
    node: NDArray[np.int32],
    valid_time: NDArray[np.int64],
    *,
    axis_T: NDArray[np.int64],
    edge: int,
    nodes: int,
    max_age: int | None = None,
) -> Meeting:
    """The cells that rows serve: the one in whose interval they lie, with `max_age` those too that begin within so many seconds."""
    first = step_of(axis_T, valid_time)
    if max_age is not None:
        count = step_of(axis_T, valid_time + max_age) - first
        rows = np.repeat(np.arange(len(valid_time)), count)
        return met(rows, first[rows] + np.arange(len(rows)) - np.repeat(np.cumsum(count) - count, count), node[rows], axis_T, nodes)
    inside = (valid_time > edge) & (first < len(axis_T))
    if inside.all():
        return met(None, first, node, axis_T, nodes)
    rows = np.flatnonzero(inside)
    return met(rows, first[rows], node[rows], axis_T, nodes)


def met(rows: NDArray[np.int64] | None, step: NDArray[np.int64], node: NDArray[np.int32], axis_T: NDArray[np.int64], nodes: int) -> Meeting:
    """Rows with the step and the node of the cell that each serves."""
    cell = step * nodes + node
    return Meeting(rows=rows, cell=cell, label=axis_T[step], alone=bool(np.bincount(cell, minlength=1).max() < 2))


@dataclass(frozen=True, kw_only=True, eq=False)
class Cells:
    """One variable on a stretch of the axis: the last version of each cell, and those that it superseded.

    Attributes:
        values_TN: float32, NaN where not good.
        flags_TN: uint16, MISSING where nothing came.
        latency_TN: int32 seconds, NEVER where nothing came.
        step, node, value, flag, available_time, superseded_time: One entry per superseded version, oldest first in a cell.
    """

    values_TN: NDArray[np.float32]
    flags_TN: NDArray[np.uint16]
    latency_TN: NDArray[np.int32]
    step: NDArray[np.int32]
    node: NDArray[np.int32]
    value: NDArray[np.float32]
    flag: NDArray[np.uint16]
    available_time: NDArray[np.int64]
    superseded_time: NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, eq=False)
class _Versions:
    """Versions sorted by cell, then by available_time."""

    cell: NDArray[np.int64]
    available_time: NDArray[np.int64]
    value: NDArray[np.float32]
    flag: NDArray[np.uint16]

    def take(self, keep: NDArray[np.bool_]) -> _Versions:
        return _Versions(cell=self.cell[keep], available_time=self.available_time[keep], value=self.value[keep], flag=self.flag[keep])


_NO_VERSIONS = _Versions(
    cell=np.zeros(0, np.int64), available_time=np.zeros(0, np.int64), value=np.zeros(0, np.float32), flag=np.zeros(0, np.uint16)
)


def aggregate(
    readings: Readings,
    *,
    axis_T: NDArray[np.int64],
    edge: int,
    nodes: int,
    method: Method,
    latency: int,
    max_age: int | None = None,
    meeting: Meeting | None = None,
) -> Cells:
    """Readings on a stretch of the axis.

    A cell with good readings left is made of these alone and has flag 0; with bad ones only it is NaN and carries the
    OR of their flags. A version equal to the one before it is not kept: the older availability stands.

    Args:
        readings: Rows in any order.
        axis_T: Labels of the stretch.
        edge: The label before the first one.
        nodes: Count of nodes.
        method: How the readings of one cell become one value; means and sums are taken in float64.
        latency: Declared seconds after which a step's readings are there.
        max_age: With `last`, how long a reading serves (also later cells); None: its own cell only.
        meeting: What `meet` says of these rows, where another variable has asked it already.
    """
    served = max_age if method == "last" else None
    found = meeting or meet(readings.node, readings.valid_time, axis_T=axis_T, edge=edge, nodes=nodes, max_age=served)
    return settle(readings, found, axis_T=axis_T, nodes=nodes, method=method, latency=latency)


def settle(readings: Readings, meeting: Meeting, *, axis_T: NDArray[np.int64], nodes: int, method: Method, latency: int) -> Cells:
    """The cells that rows meet, by the rules of `aggregate`; rows that deliver nothing are left out."""
    says = readings.says
    found = meeting if says.all() else meeting.those(says)
    used = readings if found.rows is None else readings.take(found.rows)
    shape = (len(axis_T), nodes)
    cells = _Grid(
        values=np.full(shape, np.nan, np.float32),
        flags=np.full(shape, np.uint16(Flag.MISSING), np.uint16),
        late=np.full(shape, NEVER, np.int32),
    )
    alone = np.bincount(found.cell)[found.cell] == 1 if not found.alone and len(used) else np.ones(len(used), np.bool_)
    if alone.all():
        cells.put(_first_versions(used, found.cell, found.label, latency), found.label)
        old, superseded = _NO_VERSIONS, np.zeros(0, np.int64)
    else:
        cells.put(_first_versions(used.take(alone), found.cell[alone], found.label[alone], latency), found.label[alone])
        versions = _versions(used.take(~alone), found.cell[~alone], found.label[~alone], method, latency)
        final = np.append(versions.cell[1:] != versions.cell[:-1], True)
        last = versions.take(final)
        cells.put(last, axis_T[last.cell // nodes])
        superseded = np.append(versions.available_time[1:], 0)[~final]
        old = versions.take(~final)
    return Cells(
        values_TN=cells.values,
        flags_TN=cells.flags,
        latency_TN=cells.late,
        step=(old.cell // max(nodes, 1)).astype(np.int32),
        node=(old.cell % max(nodes, 1)).astype(np.int32),
        value=old.value,
        flag=old.flag,
        available_time=old.available_time,
        superseded_time=superseded,
    )


def _first_versions(readings: Readings, cell: NDArray[np.int64], label: NDArray[np.int64], latency: int) -> _Versions:
    """The only version of cells that one row meets."""
    bad = readings.flag != 0
    value = np.where(bad, np.float32(np.nan), readings.value) if bad.any() else readings.value
    return _Versions(cell=cell, available_time=np.maximum(readings.available_time, label + latency), value=value, flag=readings.flag)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Grid:
    """Cells (T, N) that are being filled."""

    values: NDArray[np.float32]
    flags: NDArray[np.uint16]
    late: NDArray[np.int32]

    def put(self, versions: _Versions, label: NDArray[np.int64]) -> None:
        """Versions into their cells, whose labels these are."""
        self.values.reshape(-1)[versions.cell] = versions.value
        self.flags.reshape(-1)[versions.cell] = versions.flag
        self.late.reshape(-1)[versions.cell] = np.minimum(versions.available_time - label, int(NEVER) - 1)


def _versions(readings: Readings, cell: NDArray[np.int64], label: NDArray[np.int64], method: Method, latency: int) -> _Versions:
    """Every version of cells that several rows meet."""
    order = np.lexsort((np.arange(len(cell)), readings.available_time, readings.valid_time, cell))
    r, cell, label = readings.take(order), cell[order], label[order]
    arrival = np.where(r.available_time <= label + latency, _ON_TIME, r.available_time)
    begins = np.flatnonzero(np.append(True, cell[1:] != cell[:-1]))
    sizes = np.diff(np.append(begins, len(cell)))
    by_arrival = np.lexsort((arrival, cell))
    a, c = arrival[by_arrival], cell[by_arrival]
    fresh = np.append(True, (c[1:] != c[:-1]) | (a[1:] != a[:-1]))
    version_cell, version_time = c[fresh], a[fresh]
    place = np.searchsorted(cell[begins], version_cell)
    # Every version looks at all rows of its cell: quadratic in the arrivals of one cell, which are few.
    version = np.repeat(np.arange(len(place)), sizes[place])
    row = np.arange(len(version)) - np.repeat(np.cumsum(sizes[place]) - sizes[place], sizes[place]) + begins[place][version]
    seen = arrival[row] <= version_time[version]
    version, row = version[seen], row[seen]
    same = (version[1:] == version[:-1]) & (r.valid_time[row[1:]] == r.valid_time[row[:-1]])
    newest = np.append(~same, True)
    version, row = version[newest], row[newest]
    good = r.flag[row] == 0
    has_good = np.bincount(version, weights=good, minlength=len(place)) > 0
    counts = good | ~has_good[version]
    begin = np.flatnonzero(np.append(True, version[1:] != version[:-1]))
    flag = np.where(has_good, np.uint16(0), np.bitwise_or.reduceat(r.flag[row], begin)).astype(np.uint16)
    value = _reduce(r.value[row[counts]], version[counts], method)
    versions = _Versions(
        cell=version_cell,
        available_time=np.where(version_time == _ON_TIME, label[begins][place] + latency, version_time),
        value=np.where(has_good, value, np.float32(np.nan)),
        flag=flag,
    )
    return _changed(versions)


def _reduce(value: NDArray[np.float32], version: NDArray[np.int64], method: Method) -> NDArray[np.float32]:
    begin = np.flatnonzero(np.append(True, version[1:] != version[:-1]))
    sizes = np.diff(np.append(begin, len(version)))
    if method == "last":
        return value[begin + sizes - 1]
    total = _REDUCE[method].reduceat(value.astype(np.float64), begin)
    return np.asarray(total / sizes if method == "mean" else total).astype(np.float32)


def _changed(versions: _Versions) -> _Versions:
    """Without those that repeat the version before them."""
    bits = versions.value.view(np.uint32)
    again = (versions.cell[1:] == versions.cell[:-1]) & (bits[1:] == bits[:-1]) & (versions.flag[1:] == versions.flag[:-1])
    return versions.take(np.append(True, ~again))

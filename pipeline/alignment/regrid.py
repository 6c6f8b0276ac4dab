"""Grids on other cells, or at nodes: sparse weights, made once for each pair of grids. Y rows, X columns, C cells, P targets.

On grids of latitudes and longitudes the weights are a product of those of the rows and those of the columns.
Source: Jones, First- and second-order conservative remapping schemes (1999), first order.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.contracts.flags import Flag
from pipeline.contracts.modalities import TargetGrid
from pipeline.contracts.nodes import NodeSet
from pipeline.errors import ContractError

LEAST_SHARE = 0.5
"""Of the weights of a target, how much must be known."""

Weights = list[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]]
Band = tuple[int, NDArray[np.float32], NDArray[np.uint16]]
"""The first of some rows that follow each other, and their values and flags (row, column)."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Regridder:
    """Weights from the cells of one grid to targets; without any, the cells are the targets.

    Attributes:
        shape: Rows and columns of the grid.
        targets: How many.
        rows: Sparse (target row, row), with `columns` sparse (column, target column); or None, with
        points: sparse (target, cell).
    """

    shape: tuple[int, int]
    targets: int
    rows: Any = None
    columns: Any = None
    points: Any = None
    _windows: dict[tuple[int, int], _Window] = field(default_factory=dict, repr=False)

    def apply(self, bands: Iterable[Band]) -> tuple[NDArray[np.float32], NDArray[np.uint16]]:
        """Values and flags of the targets, from all rows of the grid in any portions.

        A target is the mean of the good cells where these are half of its weight, else NaN with the flags of all its cells,
        MISSING where it has none.
        """
        if self.rows is None and self.points is None:
            return self._unchanged(bands)
        sums, said = _Sums(self), _Flags(self)
        for first, values, flags in bands:
            window = self._window(first, first + len(values))
            if window.cells is not None:
                values, flags = values.reshape(-1, 1)[window.cells], flags.reshape(-1, 1)[window.cells]
            sums.add(window, values, (flags == 0) & (values == values))
            if flags.max(initial=0):
                said.add(window, flags)
        total, weight = sums.targets
        good = weight >= LEAST_SHARE - 1e-9
        mean = np.divide(total, weight, out=np.full(self.targets, np.nan), where=good)
        bits = said.targets
        return mean.astype(np.float32), np.where(good, np.uint16(0), np.where(bits == 0, np.uint16(Flag.MISSING), bits)).astype(np.uint16)

    def _unchanged(self, bands: Iterable[Band]) -> tuple[NDArray[np.float32], NDArray[np.uint16]]:
        """What `apply` says where the cells are the targets."""
        shown, bits = np.empty(self.shape, np.float32), np.empty(self.shape, np.uint16)
        for first, values, flags in bands:
            rows = slice(first, first + len(values))
            known = (flags == 0) & ~np.isnan(values)
            shown[rows] = np.where(known, values, np.float32(np.nan))
            bits[rows] = np.where(known, np.uint16(0), np.where(flags == 0, np.uint16(Flag.MISSING), flags))
        return shown.reshape(-1), bits.reshape(-1)

    def _window(self, first: int, last: int) -> _Window:
        """What rows `first` .. `last` - 1 of the grid reach; all grids come in the same portions."""
        found = self._windows.get((first, last))
        if found is None:
            width = 1 if self.points is None else self.shape[1]
            weights = (self.rows if self.points is None else self.points)[:, first * width : last * width]
            cells = None if self.points is None else np.flatnonzero(np.diff(weights.indptr))
            low, high = (int(weights.indices.min()), int(weights.indices.max()) + 1) if weights.nnz else (0, 0)
            reached = (weights if cells is None else weights[:, cells])[low:high]
            found = self._windows[first, last] = _Window(targets=slice(low, high), weights=reached, cells=cells)
        return found


@dataclass(frozen=True, kw_only=True, eq=False)
class _Window:
    """The targets (rows of them, where rows and columns are weighed apart) that some rows of the grid reach, and their weights.

    Attributes:
        cells: Of these rows, those that have a weight; None where whole rows have one.
    """

    targets: slice
    weights: Any
    cells: NDArray[np.int64] | None

    @cached_property
    def pairs(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Target and cell (or row) of each weight."""
        return self.weights.indices + self.targets.start, np.repeat(np.arange(self.weights.shape[1]), np.diff(self.weights.indptr))


class _Sums:
    """Weighted sums of the known values, and of their weights, over rows that come in portions."""

    def __init__(self, regridder: Regridder) -> None:
        self._columns = regridder.columns
        count, width = (regridder.rows.shape[0], regridder.shape[1]) if regridder.points is None else (regridder.targets, 1)
        self._found = np.zeros((count, 2, width))

    def add(self, window: _Window, values_YX: NDArray[np.float32], known_YX: NDArray[np.bool_]) -> None:
        """Take in the rows of a window."""
        height, width = values_YX.shape
        cells = np.empty((height, 2, width))
        cells[:, 0], cells[:, 1] = np.where(known_YX, values_YX, np.float32(0)), known_YX
        self._found[window.targets] += (window.weights @ cells.reshape(height, 2 * width)).reshape(-1, 2, width)

    @property
    def targets(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(P,) each."""
        whole = self._found
        if self._columns is not None:
            whole = (whole.reshape(-1, whole.shape[2]) @ self._columns).reshape(len(whole), 2, -1)
        return whole[:, 0].reshape(-1), whole[:, 1].reshape(-1)


class _Flags:
    """Which flags any cell of each target has."""

    def __init__(self, regridder: Regridder) -> None:
        self._of = regridder
        self._found = np.zeros(0, np.uint16)

    def add(self, window: _Window, flags_YX: NDArray[np.uint16]) -> None:
        """Take in the rows of a window."""
        count = self._of.targets if self._of.points is not None else self._of.rows.shape[0]
        if not len(self._found):
            self._found = np.zeros((count, flags_YX.shape[1]), np.uint16)
        if self._of.points is not None:
            target, cell = window.pairs
            np.bitwise_or.at(self._found[:, 0], target, flags_YX[cell, 0])
            return
        for row, given in zip(*(side.tolist() for side in window.pairs), strict=True):
            self._found[row] |= flags_YX[given]

    @property
    def targets(self) -> NDArray[np.uint16]:
        """(P,) the flags, 0 where there are none."""
        if not len(self._found):
            return np.zeros(self._of.targets, np.uint16)
        if self._of.points is not None:
            return self._found[:, 0]
        by_target = self._of.columns.tocsc()
        bits = np.zeros((len(self._found), by_target.shape[1]), np.uint16)
        reached = np.flatnonzero(np.diff(by_target.indptr))
        if len(reached):
            bits[:, reached] = np.bitwise_or.reduceat(self._found[:, by_target.indices], by_target.indptr[reached], axis=1)
        return bits.reshape(-1)


def target_nodes(target: TargetGrid) -> NodeSet:
    """The cells of a target grid, rows from north to south and columns from west to east."""
    latitude, longitude = _middles(target)
    rows, columns = target.shape
    digits = max(3, len(str(max(rows, columns) - 1)))
    across = [f"x{i:0{digits}d}" for i in range(columns)]
    ids = tuple(f"y{j:0{digits}d}" + x for j in range(rows) for x in across)
    return NodeSet(ids=ids, latitude=np.repeat(latitude, columns), longitude=np.tile(longitude, rows), shape=target.shape)


def to_grid(latitude: NDArray[np.float64], longitude: NDArray[np.float64], target: TargetGrid) -> Regridder:
    """Weights from a grid (latitude of each row, longitude of each column, in any order) to the cells of a target."""
    mid = (target.bounds[1] + target.bounds[3]) / 2
    around = (longitude - mid + 180) % 360 - 180 + mid
    y, x = _middles(target)
    if target.method == "bilinear":
        rows, columns = _linear(latitude, y), _linear(around, x, wraps=True)
    else:
        half = target.step / 2
        measure = np.sin(np.radians(np.stack([y - half, y + half])))
        rows = _overlaps(np.sin(np.radians(np.clip(_edges(latitude), -90, 90))), measure)
        columns = _overlaps(_edges(around), np.stack([x - half, x + half]), period=360.0)
    return Regridder(
        shape=(len(latitude), len(longitude)),
        targets=len(y) * len(x),
        rows=_sparse(rows, (len(y), len(latitude))),
        columns=_sparse(columns, (len(x), len(longitude))).T.tocsr(),
    )


def to_nodes(latitude: NDArray[np.float64], longitude: NDArray[np.float64], nodes: NodeSet) -> Regridder:
    """Weights from a grid to nodes, bilinear; a node of unknown place, or outside the grid, has none."""
    placed = np.flatnonzero(np.isfinite(nodes.latitude) & np.isfinite(nodes.longitude))
    mid = float((longitude.min() + longitude.max()) / 2)
    around = (nodes.longitude[placed] - mid + 180) % 360 - 180 + mid
    found: Weights = []
    for row, y, high in _linear(latitude, nodes.latitude[placed]):
        for column, x, wide in _linear(longitude, around, wraps=True):
            both, first, second = np.intersect1d(row, column, return_indices=True)
            found.append((placed[both], y[first] * len(longitude) + x[second], high[first] * wide[second]))
    shape = (len(latitude), len(longitude))
    return Regridder(shape=shape, targets=len(nodes), points=_sparse(found, (len(nodes), shape[0] * shape[1])))


def unchanged(latitude: NDArray[np.float64], longitude: NDArray[np.float64], nodes: NodeSet) -> Regridder:
    """No weights: the targets are the cells of this very grid.

    Raises:
        ContractError: They are not.
    """
    shape = (len(latitude), len(longitude))
    same = nodes.shape == shape and np.array_equal(nodes.latitude, np.repeat(latitude, shape[1]))
    if not same or not np.array_equal(nodes.longitude, np.tile(longitude, shape[0])):
        raise ContractError(
            asked=f"a grid of {nodes.shape} cells from {nodes.latitude[:1]} N {nodes.longitude[:1]} E",
            found=f"one of {shape} from {latitude[:1]} N {longitude[:1]} E",
            mend="give the domain a grid of its own: grid = { bounds = [south, west, north, east], step = 0.25 }",
        )
    return Regridder(shape=shape, targets=len(nodes))


def _middles(target: TargetGrid) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Latitudes from north to south, longitudes from west to east."""
    rows, columns = target.shape
    latitude = target.bounds[0] + (np.arange(rows)[::-1] + 0.5) * target.step
    return np.asarray(latitude, np.float64), np.asarray(target.bounds[1] + (np.arange(columns) + 0.5) * target.step, np.float64)


def _linear(given: NDArray[np.float64], wanted: NDArray[np.float64], *, wraps: bool = False) -> Weights:
    """Weights of the two neighbours of each point wanted; up to half a step outside those of the outermost alone."""
    order = np.argsort(given, kind="stable")
    axis = given[order]
    step = float(np.diff(axis).mean()) if len(axis) > 1 else 1.0
    if wraps and abs(axis[-1] - axis[0] + step - 360) < step / 2:
        axis, order = np.r_[axis[-1] - 360, axis, axis[0] + 360], np.r_[order[-1], order, order[0]]
    inside = np.flatnonzero((wanted >= axis[0] - step / 2) & (wanted <= axis[-1] + step / 2))
    point = np.clip(wanted[inside], axis[0], axis[-1])
    right = np.clip(np.searchsorted(axis, point, side="left"), 1, max(len(axis) - 1, 1))
    left = right - 1
    if len(axis) == 1:
        return [(inside, order[np.zeros(len(inside), np.int64)], np.ones(len(inside)))]
    share = (point - axis[left]) / (axis[right] - axis[left])
    return [(inside, order[left], 1 - share), (inside, order[right], share)]


def _edges(middles: NDArray[np.float64]) -> NDArray[np.float64]:
    """(2, n) lower and upper edges of cells, half way to their neighbours."""
    order = np.argsort(middles, kind="stable")
    axis = middles[order]
    half = np.diff(axis) / 2 if len(axis) > 1 else np.full(1, 0.5)
    between = np.concatenate([[axis[0] - half[0]], axis[1:] - half[: len(axis) - 1], [axis[-1] + half[-1]]])
    edges = np.empty((2, len(axis)))
    edges[:, order] = np.stack([between[:-1], between[1:]])
    return edges


def _overlaps(given: NDArray[np.float64], wanted: NDArray[np.float64], *, period: float = 0.0) -> Weights:
    """Which share of each interval wanted (2, m) lies in each given (2, n)."""
    order = np.argsort(given[0], kind="stable")
    low, high = given[0][order], given[1][order]
    found: Weights = []
    for shift in (0.0, -period, period) if period else (0.0,):
        first = np.searchsorted(high + shift, wanted[0], side="right")
        last = np.searchsorted(low + shift, wanted[1], side="left")
        count = np.maximum(last - first, 0)
        target = np.repeat(np.arange(wanted.shape[1]), count)
        cell = np.repeat(first, count) + np.arange(len(target)) - np.repeat(np.cumsum(count) - count, count)
        length = np.minimum(high[cell] + shift, wanted[1][target]) - np.maximum(low[cell] + shift, wanted[0][target])
        found.append((target, order[cell], np.maximum(length, 0) / (wanted[1] - wanted[0])[target]))
    return found


def _sparse(weights: Weights, shape: tuple[int, int]) -> Any:
    """As columns, of which some that follow each other are taken at no cost."""
    from scipy import sparse

    row, column, value = (np.concatenate(part) for part in zip(*weights, strict=True))
    kept = value > 0
    return sparse.csc_matrix((value[kept], (row[kept], column[kept])), shape=shape)

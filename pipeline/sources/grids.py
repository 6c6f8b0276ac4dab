"""Grids of values as readings: which cell is which node, where it is, and which instants it speaks of."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from pipeline.contracts.nodes import NodeSet
from pipeline.contracts.units import contradicts
from pipeline.contracts.worlds import Duration, RawVariable
from pipeline.errors import ContractError
from pipeline.sources.adapter import NO_TIME, Readings, RejectedRows
from pipeline.sources.node_tables import east

MAX_CELLS = 2**27
"""Values of one variable in one file: 1 GiB of float64."""
MAX_BYTES = 2**30
"""Of one array, as declared."""
MAX_NODES = 2**21
"""Cells of one grid that become nodes of a source."""
_EARLIEST, _LATEST = 0, 4_102_444_800
_MOST_PIECES = 4


class GridOptions(BaseModel):
    """What a world may say about any grid.

    Attributes:
        area: South, west, north, east in degrees: only cells within are taken.
        interval: Stamps name the start of an interval this long; `valid_time` is its end.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    area: Annotated[tuple[float, float, float, float] | None, Field(description="south, west, north, east")] = None
    interval: Duration | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Cells:
    """The cells of a grid that a source takes, row by row.

    Attributes:
        row, column: Those taken, counted in the whole grid (`width` columns, `whole` cells).
        latitude, longitude: Degrees of each of these rows and columns.
    """

    row: NDArray[np.int64]
    column: NDArray[np.int64]
    latitude: NDArray[np.float64]
    longitude: NDArray[np.float64]
    width: int
    whole: int
    file: str

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the whole grid."""
        return self.whole // self.width, self.width

    @property
    def places(self) -> NDArray[np.int64]:
        """Of each cell in the whole grid."""
        return (self.row[:, None] * self.width + self.column).reshape(-1)

    @property
    def rows(self) -> tuple[int, int]:
        """First row, and the one after the last."""
        return int(self.row.min()), int(self.row.max()) + 1

    @property
    def columns(self) -> tuple[int, int]:
        """First column, and the one after the last."""
        return int(self.column.min()), int(self.column.max()) + 1

    @property
    def boxed(self) -> NDArray[np.int64]:
        """Places of the cells within the box of these rows and columns."""
        (top, _), (left, right) = self.rows, self.columns
        return ((self.row - top)[:, None] * (right - left) + self.column - left).reshape(-1)

    def check_names(self) -> None:
        """Refuse cells that are too many to have names; to be asked before values are read for rows.

        Raises:
            ContractError: They are.
        """
        if len(self.row) * len(self.column) > MAX_NODES:
            found = f"{len(self.row)} x {len(self.column)} cells, more than {MAX_NODES}"
            mend = "take a part: options.area = [south, west, north, east]; or keep grids whole (slabs = true), on cells that the domain declares"
            raise ContractError(asked=f"cells of {self.file}", found=found, mend=mend)

    @cached_property
    def nodes(self) -> NodeSet:
        """Each cell as a node, which keeps its name `y003x014` whatever the area.

        Raises:
            ContractError: They are too many to have names.
        """
        self.check_names()
        digits = max(3, len(str(max(self.whole // self.width, self.width) - 1)))
        names = tuple(f"y{j:0{digits}d}x{i:0{digits}d}" for j in self.row.tolist() for i in self.column.tolist())
        return NodeSet(
            ids=names,
            latitude=np.repeat(self.latitude, len(self.column)),
            longitude=np.tile(self.longitude, len(self.row)),
            shape=(len(self.row), len(self.column)),
        )


def within_area(
    latitude: NDArray[np.float64], longitude: NDArray[np.float64], options: GridOptions, file: str
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """The rows and columns of a regular grid (latitude of each row, longitude of each column) within the area, and all longitudes.

    Raises:
        ContractError: The places are no places on Earth, or none is within the area.
    """
    if not len(latitude) or not len(longitude) or not (np.isfinite(latitude).all() and np.isfinite(longitude).all()):
        raise ContractError(asked=f"grid of {file}", found="an axis that is empty or no number", mend="fetch the file again")
    if np.abs(latitude).max() > 90.001 or np.abs(longitude).max() > 540.001 or np.ptp(longitude) > 360.001:
        found = f"latitudes {latitude.min():g} .. {latitude.max():g}, longitudes {longitude.min():g} .. {longitude.max():g}"
        raise ContractError(asked=f"grid of {file}", found=found, mend="are latitude and longitude swapped? correct options.latitude")
    if len(latitude) * len(longitude) > MAX_CELLS:
        raise ContractError(
            asked=f"grid of {file}", found=f"{len(latitude)} x {len(longitude)} cells, more than {MAX_CELLS}", mend="split it"
        )
    around = np.asarray(east(longitude), np.float64)
    south, west, north, east_end = options.area or (-91.0, -181.0, 91.0, 361.0)
    rows = np.flatnonzero((latitude >= south) & (latitude <= north))
    columns = np.flatnonzero((around >= west) & (around <= east_end))
    if not len(rows) or not len(columns):
        raise ContractError(asked=f"cells of {file} within area {options.area}", found="none", mend="correct options.area")
    return rows, columns, around


def cells_of(latitude: NDArray[np.float64], longitude: NDArray[np.float64], options: GridOptions, file: str) -> Cells:
    """The cells of a regular grid within the area.

    Raises:
        ContractError: The places are no places on Earth, or none is within the area.
    """
    rows, columns, around = within_area(latitude, longitude, options, file)
    return Cells(
        row=rows,
        column=columns,
        latitude=latitude[rows],
        longitude=around[columns],
        width=len(longitude),
        whole=len(latitude) * len(longitude),
        file=file,
    )


def read_cells(cells: Cells, read: Callable[[slice, slice], NDArray[Any]]) -> NDArray[Any]:
    """(T, P) values of the cells alone, where `read` gives (T, rows, columns) of consecutive ones.

    An area across the meridian where a grid begins is read in two pieces: the box around it is the whole grid.
    """
    rows, columns = consecutive(cells.row), consecutive(cells.column)
    if len(rows) * len(columns) > _MOST_PIECES:  # no grid of this Earth
        box = read(slice(*cells.rows), slice(*cells.columns))
        return box.reshape(len(box), -1)[:, cells.boxed]
    bands = [_joined([read(row, column) for column in columns], 2) for row in rows]
    values = _joined(bands, 1)
    return values.reshape(len(values), len(cells.row) * len(cells.column))


def consecutive(places: NDArray[np.int64]) -> list[slice]:
    """Ascending numbers as runs without a gap."""
    ends = np.flatnonzero(np.diff(places) != 1).tolist()
    return [slice(int(places[a]), int(places[b]) + 1) for a, b in zip([0, *(e + 1 for e in ends)], [*ends, len(places) - 1], strict=True)]


def _joined(pieces: list[NDArray[Any]], axis: int) -> NDArray[Any]:
    return pieces[0] if len(pieces) == 1 else np.concatenate(pieces, axis=axis)


def grid_of(nodes: NodeSet) -> tuple[float, ...] | None:
    """Rows, columns, and latitude and longitude of the first and of the last cell; None where the nodes are no cells."""
    if nodes.shape is None or not len(nodes):
        return None
    corners = [float(axis[end]) for end in (0, -1) for axis in (nodes.latitude, nodes.longitude)]
    return (*map(float, nodes.shape), *corners)


@dataclass(frozen=True, kw_only=True, eq=False)
class Stamped:
    """The slabs of a file that are taken: which, from 0, and the instant that each is about."""

    slab: NDArray[np.int64]
    valid_time: NDArray[np.int64]


def stamped(
    stamps: NDArray[np.int64], options: GridOptions, file: str, cells: int, faults: Mapping[int, str] | None = None
) -> tuple[Stamped, RejectedRows]:
    """The slabs with these stamps (seconds UTC, NO_TIME: none) of so many cells each.

    One whose stamp is none, or outside 1970 .. 2100, is rejected whole, for the reason that `faults` gives it.
    """
    valid = np.where(stamps == NO_TIME, NO_TIME, stamps + int(options.interval.total_seconds() if options.interval else 0))
    good = (valid >= _EARLIEST) & (valid < _LATEST)
    bad = np.flatnonzero(~good).tolist()
    rejected = RejectedRows(
        file=(file,) * len(bad),
        row=tuple(i + 1 for i in bad),
        reason=tuple((faults or {}).get(i, "no stamp" if stamps[i] == NO_TIME else "a stamp outside 1970 .. 2100") for i in bad),
        raw=tuple(f"slab {i + 1} of {cells} values" for i in bad),
    )
    return Stamped(slab=np.flatnonzero(good), valid_time=valid[good]), rejected


def gridded_readings(
    nodes: tuple[str, ...] | NodeSet,
    stamps: NDArray[np.int64],
    values: dict[str, NDArray[np.float64]],
    options: GridOptions,
    file: str,
    published: NDArray[np.int64] | None = None,
    faults: Mapping[int, str] | None = None,
    init: NDArray[np.int64] | None = None,
) -> Readings:
    """Readings of (T, P) values of nodes (cells with their places, or names) at T stamps (seconds UTC, NO_TIME: none) and P nodes; `row` counts the slabs.

    A slab whose stamp is none, or outside 1970 .. 2100, is rejected whole, for the reason that `faults` gives it; an infinite value is
    a missing one.
    """
    ids = nodes.ids if isinstance(nodes, NodeSet) else nodes
    count = len(ids)
    taken, rejected = stamped(stamps, options, file, count, faults)
    good = taken.slab
    flat = {name: table[good].reshape(-1) for name, table in values.items()}
    return Readings(
        node_ids=ids,
        node=np.tile(np.arange(count, dtype=np.int32), len(good)),
        valid_time=np.repeat(taken.valid_time, count),
        published_time=None if published is None else np.repeat(published[good], count),
        values={name: np.where(np.isinf(v), np.nan, v) for name, v in flat.items()},
        row=np.repeat(good + 1, count),
        rejected=rejected,
        raw_rows=len(good) * count + len(rejected),
        grid=grid_of(nodes) if isinstance(nodes, NodeSet) else None,
        init_time=None if init is None else np.repeat(init[good], count),
    )


def check_size(name: str, shape: tuple[int, ...], file: str) -> None:
    """Refuse an array whose declared size is beyond MAX_BYTES, before a value of it is read.

    Raises:
        ContractError: Naming the sizes.
    """
    if math.prod(shape) * 8 > MAX_BYTES:
        found = f"{' x '.join(map(str, shape))} values declared, more than {MAX_BYTES} bytes"
        raise ContractError(asked=f"variable '{name}' of {file}", found=found, mend="split the file, or fetch it again")


def check_unit(name: str, variable: RawVariable, said: object, file: str) -> None:
    """Refuse values whose file names another unit than the world.

    Raises:
        ContractError: Naming both.
    """
    if isinstance(said, str) and contradicts(said, variable.unit):
        asked, mend = f"unit of variable '{name}' of {file}", f"correct the variable's unit in the world file to '{said}' if that is true"
        raise ContractError(asked=asked, found=f"'{said}', not '{variable.unit}'", mend=mend)


def node_names(names: NDArray[Any], path: str, file: str) -> tuple[str, ...]:
    """Identities of nodes from an array of texts or numbers.

    Raises:
        ContractError: One comes twice or is empty.
    """
    ids = tuple(n.decode("utf-8", errors="replace") if isinstance(n, bytes) else str(n) for n in names.reshape(-1).tolist())
    if names.ndim != 1 or len(set(ids)) < len(ids) or "" in ids:
        raise ContractError(asked=f"nodes '{path}' of {file}", found="a name twice, or none", mend="mend the file")
    return ids


def physical(array: NDArray[Any], said: Mapping[str, Any], where: str, fill: float | None = None) -> NDArray[np.float64]:
    """Numbers as float64 by the attributes `_FillValue`, `missing_value`, `scale_factor`, `add_offset`; NaN where there is none.

    Raises:
        ContractError: One of them is no number.
    """

    def number(key: str, default: float) -> float:
        found = np.asarray(said.get(key, default))
        if found.size != 1 or found.dtype.kind not in "fiu":
            raise ContractError(asked=f"attribute '{key}' of {where}", found=f"{said[key]!r:.100}", mend="fetch the file again, or mend it")
        return float(found.reshape(()))

    with np.errstate(invalid="ignore"):  # signalling NaNs
        values = array.astype(np.float64)
    for code in (said.get("_FillValue"), said.get("missing_value"), fill):
        codes = np.asarray(code).reshape(-1)
        if codes.dtype.kind in "fiu":
            values[np.isin(values, codes.astype(array.dtype if array.dtype.kind == "f" else np.float64))] = np.nan
    return values * number("scale_factor", 1.0) + number("add_offset", 0.0)

"""Grids of values as readings: which cell is which node, where it is, and which instants it speaks of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from pipeline.contracts.nodes import NodeSet
from pipeline.contracts.worlds import Duration
from pipeline.errors import ContractError
from pipeline.sources.adapter import NO_TIME, Readings, RejectedRows
from pipeline.sources.node_tables import east

MAX_CELLS = 2**27
"""Values of one variable in one file: 1 GiB of float64."""
MAX_NODES = 2**21
"""Cells of one grid that become nodes of a source."""
_EARLIEST, _LATEST = 0, 4_102_444_800


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
    """The cells of a grid that a source takes, row by row: places in the whole grid, and their nodes."""

    places: NDArray[np.int64]
    nodes: NodeSet


def cells_of(latitude: NDArray[np.float64], longitude: NDArray[np.float64], options: GridOptions, file: str) -> Cells:
    """The cells of a regular grid (latitude of each row, longitude of each column) within the area.

    A cell keeps its name `y003x014` whatever the area.

    Raises:
        ContractError: The places are no places on Earth, or none is within the area.
    """
    if not len(latitude) or not len(longitude) or not (np.isfinite(latitude).all() and np.isfinite(longitude).all()):
        raise ContractError(asked=f"grid of {file}", found="an axis that is empty or no number", mend="fetch the file again")
    if np.abs(latitude).max() > 90.001 or np.abs(longitude).max() > 360.001:
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
    if len(rows) * len(columns) > MAX_NODES:
        found = f"{len(rows)} x {len(columns)} cells, more than {MAX_NODES}"
        raise ContractError(asked=f"cells of {file}", found=found, mend="take a part: options.area = [south, west, north, east]")
    digits = max(3, len(str(max(len(latitude), len(longitude)) - 1)))
    y, x = (a.ravel() for a in np.meshgrid(rows, columns, indexing="ij"))
    nodes = NodeSet(
        ids=tuple(f"y{j:0{digits}d}x{i:0{digits}d}" for j, i in zip(y.tolist(), x.tolist(), strict=True)),
        latitude=latitude[y],
        longitude=around[x],
        shape=(len(rows), len(columns)),
    )
    return Cells(places=y * len(longitude) + x, nodes=nodes)


def gridded_readings(
    ids: tuple[str, ...],
    stamps: NDArray[np.int64],
    values: dict[str, NDArray[np.float64]],
    options: GridOptions,
    file: str,
    published: NDArray[np.int64] | None = None,
    init: NDArray[np.int64] | None = None,
) -> Readings:
    """Readings of (T, P) values at T stamps (seconds UTC, NO_TIME: none) and P nodes; `row` counts the slabs.

    A slab whose stamp is none, or outside 1970 .. 2100, is rejected whole; an infinite value is a missing one.
    """
    valid = np.where(stamps == NO_TIME, NO_TIME, stamps + int(options.interval.total_seconds() if options.interval else 0))
    good = (valid >= _EARLIEST) & (valid < _LATEST)
    bad = np.flatnonzero(~good)
    count = len(ids)
    numbers = np.arange(1, len(stamps) + 1)
    rejected = RejectedRows(
        file=(file,) * len(bad),
        row=tuple(int(n) for n in numbers[bad]),
        reason=tuple("no stamp" if stamps[i] == NO_TIME else "a stamp outside 1970 .. 2100" for i in bad),
        raw=tuple(f"slab {n} of {count} values" for n in numbers[bad]),
    )
    flat = {name: table[good].reshape(-1) for name, table in values.items()}
    return Readings(
        node_ids=ids,
        node=np.tile(np.arange(count, dtype=np.int32), int(good.sum())),
        valid_time=np.repeat(valid[good], count),
        published_time=None if published is None else np.repeat(published[good], count),
        values={name: np.where(np.isinf(v), np.nan, v) for name, v in flat.items()},
        row=np.repeat(numbers[good], count),
        rejected=rejected,
        raw_rows=int(good.sum()) * count + len(bad),
        init_time=None if init is None else np.repeat(init[good], count),
    )

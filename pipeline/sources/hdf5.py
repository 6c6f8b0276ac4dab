"""HDF5 that is no NetCDF: arrays by their path, without named dimensions, as pandas, MATLAB or an instrument write them.

The world says what the dimensions are (`order`). A pandas table in "fixed" format is `time = "df/axis1"` (`epoch_ns`), `node = "df/axis0"`
and `column = "df/block0_values"`. Of attributes, `units`, `_FillValue`, `missing_value`, `scale_factor` and `add_offset` are heeded.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import model_validator

from pipeline.contracts.deliveries import Delivery
from pipeline.contracts.nodes import NodeSet
from pipeline.contracts.times import to_seconds
from pipeline.contracts.worlds import Duration, Instant, Source
from pipeline.errors import ContractError
from pipeline.settings import Settings
from pipeline.sources.fields import FieldAdapter, Fields, steps_of
from pipeline.sources.files import check_locations, file_deliveries, grid_deliveries
from pipeline.sources.grids import Cells, GridOptions, cells_of, check_unit, node_names, physical, read_cells
from pipeline.sources.hdf5_files import array_at, attributes, dataset_at, opened_hdf5
from pipeline.sources.node_tables import parse_places
from pipeline.sources.options import read_options
from pipeline.sources.row_options import EPOCHS, StampOptions
from pipeline.sources.rows import column_of, text_times, time_faults, valid_times
from pipeline.sources.stamps import Ambiguous
from pipeline.sources.unpacking import unpacked

Axis = Literal["time", "node", "latitude", "longitude"]
_AXES: dict[str, tuple[Axis, ...]] = {"grid": ("time", "latitude", "longitude"), "nodes": ("time", "node"), "one": ("time",)}


class Hdf5Options(GridOptions):
    """The `options` of an HDF5 source.

    Attributes:
        layout: A grid over latitude and longitude; series of nodes; or one series, of the node named `node`.
        time: Path of the array of stamps; none where `first_time` and `step` say them.
        time_format: How stamps are written: epoch_s, epoch_ms, epoch_us, epoch_ns, iso or a strptime pattern.
        node: Layout `nodes`: the path of the array of identities; `one`: the node's own name.
        latitude, longitude: Layout `grid`: paths of these arrays.
        order: What the dimensions of a variable are, first to last.
    """

    layout: Literal["grid", "nodes", "one"] = "nodes"
    time: str | None = None
    time_format: str = "epoch_s"
    ambiguous: Ambiguous = "reject"
    first_time: Instant | None = None
    step: Duration | None = None
    node: str | None = None
    latitude: str | None = None
    longitude: str | None = None
    order: tuple[Axis, ...] = ()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.first_time is None) != (self.step is None) or (self.time is None) == (self.first_time is None):
            raise ValueError("takes either time = 'path', or first_time and step")
        if (self.node is None) != (self.layout == "grid"):
            raise ValueError(f"layout '{self.layout}' takes {'no' if self.layout == 'grid' else 'a'} node")
        if (self.latitude is None or self.longitude is None) == (self.layout == "grid"):
            raise ValueError(f"layout '{self.layout}' takes {'a' if self.layout == 'grid' else 'no'} latitude and longitude")
        if self.order and sorted(self.order) != sorted(_AXES[self.layout]):
            raise ValueError(f"order {list(self.order)} does not name each of {list(_AXES[self.layout])} once")
        return self

    @property
    def stamps(self) -> StampOptions:
        """How a stamp is read; its interval is the grid's to add."""
        return StampOptions(time=self.time or "", time_format=self.time_format, ambiguous=self.ambiguous)


class Hdf5Adapter(FieldAdapter):
    """HDF5 files."""

    example = "*.h5"

    def check(self, source: Source) -> None:
        """Refuse options that make no sense.

        Raises:
            ConfigError: Naming the option, its value, what is allowed.
        """
        _ = read_options(Hdf5Options, source).stamps
        check_locations(source, self.example)

    def deliveries(self, source: Source, settings: Settings, as_of: datetime) -> Iterator[Delivery]:
        """One delivery per file, then the nodes: a table, or the grid of the first file; raises as `file_deliveries` does."""
        grid = read_options(Hdf5Options, source).layout == "grid"
        return grid_deliveries(source, settings) if grid else file_deliveries(source, settings)

    def fields(self, source: Source, parts: Mapping[str, bytes], rows: NDArray[np.int64] | None = None) -> Fields:
        """What a delivery holds, or these grids of it.

        Raises:
            ContractError: The file as a whole cannot be read (truncated, an array missing or of another shape, sizes beyond the limit).
        """
        options = read_options(Hdf5Options, source)
        [(file, data)] = parts.items()
        with opened_hdf5(unpacked(data, file), file) as opened:
            cells = _cells(opened, options, file)
            if cells is not None and not source.slabs:
                cells.check_names()
            where = _ids(opened, options, file) if cells is None else cells
            columns = {name: column_of(name, variable) for name, variable in source.variables.items()}
            for name, variable in source.variables.items():
                check_unit(columns[name], variable, attributes(opened, columns[name], file).get("units"), file)
            shapes = {column: _shape(opened, column, options, file) for column in columns.values()}
            stamps, fault = _stamps(opened, options, source.timezone, next(iter(shapes.values()))[0], file)
            each = () if options.layout == "one" else where.shape if isinstance(where, Cells) else (len(where),)
            for column, shape in shapes.items():
                if shape != (len(stamps), *each):
                    found = f"shape {shape}, not {len(stamps)} stamps of {' x '.join(map(str, each)) or 1} values"
                    raise ContractError(asked=f"variable '{column}' of {file}", found=found, mend="correct column, order or layout")
            steps = steps_of(stamps, rows, options)
            values = {name: _table(opened, column, options, steps, cells, file) for name, column in columns.items()}
        faults = time_faults(fault, options.stamps, source.timezone)
        return Fields(where=where, stamps=stamps[steps], values=values, options=options, file=file, faults=faults, rows=rows)

    def parse_places(self, source: Source, parts: Mapping[str, bytes]) -> NodeSet:
        """The places in a node table, or the cells of a file's grid row by row.

        Raises:
            ContractError: The file as a whole cannot be read.
        """
        if source.nodes is not None:
            return parse_places(source, parts)
        [(file, data)] = parts.items()
        options = read_options(Hdf5Options, source)
        with opened_hdf5(unpacked(data, file), file) as opened:
            cells = _cells(opened, options, file)
        if cells is None:
            raise ContractError(asked=f"grid of {file}", found="layout without a grid", mend="list the places in nodes")
        return cells.nodes


def _cells(opened: Any, options: Hdf5Options, file: str) -> Cells | None:
    if options.latitude is None or options.longitude is None:
        return None
    axes = [array_at(opened, path, file) for path in (options.latitude, options.longitude)]
    if any(a.ndim != 1 or a.dtype.kind not in "fiu" for a in axes):
        raise ContractError(asked=f"grid of {file}", found=f"axes of shape {[a.shape for a in axes]}", mend="only regular grids are read")
    return cells_of(axes[0].astype(np.float64), axes[1].astype(np.float64), options, file)


def _ids(opened: Any, options: Hdf5Options, file: str) -> tuple[str, ...]:
    if options.layout == "one":
        return (str(options.node),)
    return node_names(array_at(opened, str(options.node), file), str(options.node), file)


def _stamps(opened: Any, options: Hdf5Options, zone: str, count: int, file: str) -> tuple[NDArray[np.int64], NDArray[np.int8]]:
    if options.first_time is not None and options.step is not None:
        return to_seconds(options.first_time) + np.arange(count) * int(options.step.total_seconds()), np.zeros(count, np.int8)
    column = array_at(opened, str(options.time), file)
    if column.ndim != 1 or (column.dtype.kind not in "fiu") == (options.time_format in EPOCHS):
        found = f"shape {column.shape} of {column.dtype}"
        raise ContractError(asked=f"stamps '{options.time}' of {file}", found=found, mend="correct options.time or time_format")
    if options.time_format in EPOCHS:
        return valid_times(options.stamps, zone, column.astype(np.float64), "number")
    texts = [t.decode("utf-8", errors="replace") if isinstance(t, bytes) else str(t) for t in column.tolist()]
    return text_times(options.stamps, zone, texts) if texts else (np.zeros(0, np.int64), np.zeros(0, np.int8))


def _shape(opened: Any, column: str, options: Hdf5Options, file: str) -> tuple[int, ...]:
    """How long a variable is along time, then along the other dimensions as in the layout."""
    found, order = dataset_at(opened, column, file), options.order or _AXES[options.layout]
    if found.ndim != len(order) or found.dtype.kind not in "fiu":
        said = f"shape {found.shape} of {found.dtype}"
        raise ContractError(asked=f"variable '{column}' of {file} over {list(order)}", found=said, mend="correct column, order or layout")
    return tuple(found.shape[order.index(axis)] for axis in _AXES[options.layout])


def _table(
    opened: Any, column: str, options: Hdf5Options, steps: slice | NDArray[np.int64], cells: Cells | None, file: str
) -> NDArray[np.float64]:
    """(T, P) values at these steps, of these cells or of all nodes."""
    found, axes = dataset_at(opened, column, file), _AXES[options.layout]
    order = options.order or axes

    def read(*where: slice) -> NDArray[Any]:
        place = dict(zip(axes, (steps, *where), strict=False))
        return np.asarray(found[tuple(place.get(axis, slice(None)) for axis in order)]).transpose([order.index(axis) for axis in axes])

    values = read() if cells is None else read_cells(cells, read)
    return physical(values.reshape(len(values), math.prod(values.shape[1:])), attributes(opened, column, file), f"'{column}' of {file}")

"""NetCDF 3 and 4 (HDF5) after the CF conventions: grids over latitude and longitude, series per node, or one series.

xarray reads times, scales and fill values as the file declares them. HDF5 lets a file of a kilobyte declare a terabyte: sizes
are checked before a value is read. The places of the cells come from the first file of the source.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import model_validator

from pipeline.contracts.deliveries import Delivery
from pipeline.contracts.nodes import NodeSet
from pipeline.contracts.worlds import Source
from pipeline.errors import ContractError
from pipeline.settings import Settings
from pipeline.sources.adapter import NO_TIME
from pipeline.sources.columns import require_columns
from pipeline.sources.fields import FieldAdapter, Fields, steps_of
from pipeline.sources.files import check_locations, file_deliveries, grid_deliveries
from pipeline.sources.grids import Cells, GridOptions, cells_of, check_size, check_unit, node_names, read_cells
from pipeline.sources.hdf5_files import MAGIC, check_coordinates
from pipeline.sources.node_tables import parse_places
from pipeline.sources.options import read_options
from pipeline.sources.rows import column_of
from pipeline.sources.unpacking import unpacked

if TYPE_CHECKING:
    import xarray as xr

_LENT_FROM = 2**20
_MEND = "fetch the file again; a newer delivery of the same name takes its place"


class NetcdfOptions(GridOptions):
    """The `options` of a NetCDF source.

    Attributes:
        layout: A grid over latitude and longitude; series along a dimension of nodes; or one series, of the node named `node`.
        time, latitude, longitude: Names of these coordinates in the file.
        node: Layout `nodes`: the coordinate of the nodes; `one`: the node's own name.
        published: Variable along time with the instant at which each slab was published.
    """

    layout: Literal["grid", "nodes", "one"] = "grid"
    time: str = "time"
    latitude: str = "latitude"
    longitude: str = "longitude"
    node: str | None = None
    published: str | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.node is None) != (self.layout == "grid"):
            raise ValueError(f"layout '{self.layout}' takes {'no' if self.layout == 'grid' else 'a'} node")
        return self


class NetcdfAdapter(FieldAdapter):
    """NetCDF and HDF5 files."""

    example = "*.nc"

    def check(self, source: Source) -> None:
        """Refuse options that make no sense.

        Raises:
            ConfigError: Naming the option, its value, what is allowed.
        """
        read_options(NetcdfOptions, source)
        check_locations(source, self.example)

    def deliveries(self, source: Source, settings: Settings, as_of: datetime) -> Iterator[Delivery]:
        """One delivery per file, then the nodes: a table, or the grid of the first file; raises as `file_deliveries` does."""
        grid = read_options(NetcdfOptions, source).layout == "grid"
        return grid_deliveries(source, settings) if grid else file_deliveries(source, settings)

    def fields(self, source: Source, parts: Mapping[str, bytes], rows: NDArray[np.int64] | None = None) -> Fields:
        """What a delivery holds, or these grids of it.

        Raises:
            ContractError: The file as a whole cannot be read (truncated, a variable missing, sizes beyond the limit).
        """
        options = read_options(NetcdfOptions, source)
        [(file, packed)] = parts.items()
        with_times = [options.time, *([options.published] if options.published else [])]
        names = {name: column_of(name, variable) for name, variable in source.variables.items()}
        dataset = _opened(packed, file, [*with_times, *names.values()])
        for name, variable in source.variables.items():
            check_unit(names[name], variable, dataset[names[name]].attrs.get("units"), file)
        stamps = _seconds(dataset, options.time, file)
        where = _where(dataset, options, file)
        cells = where if isinstance(where, Cells) else None
        if cells is not None and not source.slabs:
            cells.check_names()
        steps = steps_of(stamps, rows, options)
        stamps = stamps[steps]
        values = {name: _table(dataset, column, options, steps, len(stamps), cells, file) for name, column in names.items()}
        published = _seconds(dataset, options.published, file)[steps] if options.published else None
        return Fields(where=where, stamps=stamps, values=values, options=options, file=file, published=published, rows=rows)

    def parse_places(self, source: Source, parts: Mapping[str, bytes]) -> NodeSet:
        """The places in a node table, or the cells of a file's grid row by row.

        Raises:
            ContractError: The file as a whole cannot be read.
        """
        options = read_options(NetcdfOptions, source)
        if source.nodes is not None or options.layout != "grid":
            return parse_places(source, parts)
        [(file, data)] = parts.items()
        return _grid(_opened(data, file, []), options, file).nodes


class _Lent(io.BytesIO):
    """Bytes as a file whose large pieces are not copied to be read, for scipy copies each of them anyway."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self._data = memoryview(data)

    def read(self, size: int | None = -1, /) -> Any:
        """The next bytes: as they lie there where they are many."""
        if size is None or size < _LENT_FROM:
            return super().read(size)
        start = self.tell()
        return self._data[start : self.seek(start + size)]


def _opened(packed: bytes, file: str, needed: list[str]) -> xr.Dataset:
    import xarray as xr

    data = unpacked(packed, file)
    hdf5 = data[:8] == MAGIC
    if not hdf5 and data[:3] != b"CDF":
        raise ContractError(asked=f"read {file} ({len(data)} bytes)", found=f"no NetCDF: it starts with {data[:8]!r}", mend=_MEND)
    try:
        if hdf5:
            check_coordinates(data, file)
        with warnings.catch_warnings(action="ignore"):
            content = io.BytesIO(data) if hdf5 else _Lent(data)
            dataset = xr.open_dataset(content, engine="h5netcdf" if hdf5 else "scipy", decode_timedelta=False, cache=False)
    except ContractError:
        raise
    except Exception as error:  # h5py and scipy raise many unrelated classes on damaged files
        found = f"no whole NetCDF: {type(error).__name__}: {error}"
        raise ContractError(asked=f"read {file} ({len(data)} bytes)", found=found, mend=_MEND) from error
    require_columns([str(n) for n in dataset.variables], needed, file)
    for name in needed:
        check_size(name, dataset[name].shape, file)
    return dataset


def _read(dataset: xr.Dataset, name: str, file: str) -> NDArray[Any]:
    try:
        return np.asarray(dataset[name].values)
    except Exception as error:  # see _opened
        found = f"{type(error).__name__}: {error}"
        raise ContractError(asked=f"variable '{name}' of {file}", found=found, mend=_MEND) from error


def _seconds(dataset: xr.Dataset, name: str, file: str) -> NDArray[np.int64]:
    """Whole seconds of a time coordinate, rounded up."""
    stamps = np.atleast_1d(_read(dataset, name, file))
    if stamps.ndim != 1 or stamps.dtype.kind != "M":
        found = f"shape {stamps.shape}, {stamps.dtype}, units '{dataset[name].attrs.get('units', 'none')}'"
        raise ContractError(asked=f"times '{name}' of {file}", found=found, mend="CF wants units such as 'hours since 1970-01-01'")
    nanoseconds = stamps.astype("datetime64[ns]").astype(np.int64)
    return np.where(np.isnat(stamps), NO_TIME, -(-nanoseconds // 10**9))


def _grid(dataset: xr.Dataset, options: NetcdfOptions, file: str) -> Cells:
    require_columns([str(n) for n in dataset.variables], [options.latitude, options.longitude], file)
    axes = [_read(dataset, name, file) for name in (options.latitude, options.longitude)]
    if any(a.ndim != 1 or a.dtype.kind not in "fiu" for a in axes):
        raise ContractError(asked=f"grid of {file}", found=f"axes of shape {[a.shape for a in axes]}", mend="only regular grids are read")
    return cells_of(axes[0].astype(np.float64), axes[1].astype(np.float64), options, file)


def _where(dataset: xr.Dataset, options: NetcdfOptions, file: str) -> Cells | tuple[str, ...]:
    if options.layout == "grid":
        return _grid(dataset, options, file)
    if options.layout == "one" or options.node is None:
        return (str(options.node),)
    require_columns([str(n) for n in dataset.variables], [options.node], file)
    check_size(options.node, dataset[options.node].shape, file)
    return node_names(_read(dataset, options.node, file), options.node, file)


def _table(
    dataset: xr.Dataset,
    column: str,
    options: NetcdfOptions,
    steps: slice | NDArray[np.int64],
    count: int,
    cells: Cells | None,
    file: str,
) -> NDArray[np.float64]:
    """(T, P) values of a variable at these steps, `count` of them; its dimensions may come in any order, further ones must have length 1."""
    variable = dataset[column]
    spaces: dict[str, list[str]] = {"grid": [options.latitude, options.longitude], "nodes": [str(options.node)], "one": []}
    order = [options.time, *spaces[options.layout]]
    extra = [d for d in variable.dims if d not in order and variable.sizes[d] != 1]
    lost = [d for d in order if d not in variable.dims and dataset.sizes.get(d, 1) != 1]
    if extra or lost or variable.dtype.kind not in "fiu":
        found = f"dimensions {dict(variable.sizes)} of {variable.dtype}"
        raise ContractError(asked=f"variable '{column}' of {file} over {order}", found=found, mend="correct column or layout")
    wanted = [d for d in order if d in variable.dims]

    def read(*where: slice) -> NDArray[Any]:
        parts = dict(zip(order, (steps, *where), strict=False))
        part = variable.isel({d: p for d, p in parts.items() if d in variable.dims})
        part = part.squeeze([d for d in variable.dims if d not in order]).transpose(*wanted)
        values = _read(part.to_dataset(name=column), column, file)
        return values.reshape(count, *(w.stop - w.start for w in where)) if where else values.reshape(count, -1)

    values = read() if cells is None else read_cells(cells, read)
    return values.astype(np.float64, copy=False)

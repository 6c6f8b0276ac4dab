"""Zarr, versions 2 and 3: a store in a folder, on S3 or over https, or packed in a `.zip`; also reanalyses such as ERA5 in public buckets.

- Of a store, the arrays that the world names are fetched, their axes whole and the rest by chunks in time: a delivery is as many chunks as
  fit in `span` (at least one); without `span` it is all of them. What is younger than `revised` is asked for again.
- A chunk without an object is missing, never the fill value: Zarr cannot tell "empty" from "lost". A step of which nothing is there has not
  been delivered: stores of reanalyses reserve years ahead.
- Version 2 keeps `_FillValue` in the metadata's `fill_value`, where 0 is also the default of arrays that have none: 0 is a number here.
- ERA5 as ARCO (`https://storage.googleapis.com/gcp-public-data-arco-era5/ar/…-zarr-v3`, no key): version 2 in spite of its name, one chunk
  an hour for the whole globe, hours since 1900, longitudes 0 .. 359.75. The last months are preliminary and are replaced.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Self

import numpy as np
from numpy.typing import NDArray
from pydantic import model_validator

from pipeline.contracts.deliveries import Delivery, Part
from pipeline.contracts.nodes import NodeSet
from pipeline.contracts.times import compact_instant, from_seconds, to_seconds
from pipeline.contracts.worlds import Duration, Instant, Source
from pipeline.errors import ConfigError, ContractError
from pipeline.settings import Settings
from pipeline.sources.adapter import NO_TIME
from pipeline.sources.fields import FieldAdapter, Fields
from pipeline.sources.files import check_locations, grid_deliveries, node_deliveries
from pipeline.sources.grids import Cells, check_size, check_unit, stamped
from pipeline.sources.locations import folder_at, if_there
from pipeline.sources.netcdf import NetcdfOptions
from pipeline.sources.node_tables import parse_places
from pipeline.sources.options import read_options
from pipeline.sources.rows import column_of
from pipeline.sources.zarr_layout import ArrayLayout, layout_of, metadata_keys
from pipeline.sources.zarr_reading import MOST_OBJECTS, check_shapes, grid_cells, instants, node_ids, steps_there, table, unpacked_store


class ZarrOptions(NetcdfOptions):
    """The `options` of a Zarr source, beside those of a NetCDF one.

    Attributes:
        start: From when on steps are fetched.
        span: About how much time one delivery covers; without it there is one of all.
        revised: For how long after it appeared the provider may still change a step.
    """

    start: Instant | None = None
    span: Duration | None = None
    revised: Duration = timedelta(0)

    @model_validator(mode="after")
    def _spanned(self) -> Self:
        if (self.start is None) != (self.span is None):
            raise ValueError("start and span belong together")
        return self

    @property
    def axes(self) -> tuple[str, ...]:
        """The arrays that say when and where."""
        places = {"grid": (self.latitude, self.longitude), "nodes": (str(self.node),), "one": ()}[self.layout]
        return (self.time, *places, *([self.published] if self.published else []))


class ZarrAdapter(FieldAdapter):
    """Zarr stores."""

    example = "*.zarr"

    def check(self, source: Source) -> None:
        """Refuse options that make no sense.

        Raises:
            ConfigError: Naming the option, its value, what is allowed.
        """
        options = read_options(ZarrOptions, source)
        check_locations(source, self.example)
        packed = _packed(source)
        if not packed and len(source.locations) != 1:
            raise ConfigError(
                asked=f"locations {list(source.locations)}", found="several stores", mend="give each store a source of its own"
            )
        if packed and options.span is not None:
            raise ConfigError(asked="options.span", found="stores packed in a .zip, each a delivery", mend="drop start and span")

    def deliveries(self, source: Source, settings: Settings, as_of: datetime) -> Iterator[Delivery]:
        """One delivery per span of chunks (or per packed store), then the nodes: a table, or the grid.

        Raises:
            NotYetAvailable: The store, or an array of it, is not there.
            ConfigError: The location can never be read.
            ContractError: The store's metadata are damaged, or its axes.
        """
        options = read_options(ZarrOptions, source)
        if _packed(source):
            yield from (grid_deliveries(source, settings) if options.layout == "grid" else super().deliveries(source, settings, as_of))
            return
        offered = _Offered(source, options, folder_at(source.locations[0], source, settings))
        yield from offered.groups(as_of)
        yield from node_deliveries(source, settings)
        if source.nodes is None and options.layout == "grid":
            yield Delivery(name="grid", parts=tuple(offered.described(options.axes)), role="nodes")

    def fields(self, source: Source, parts: Mapping[str, bytes], rows: NDArray[np.int64] | None = None) -> Fields:
        """What a delivery holds, or these grids of it.

        Raises:
            ContractError: The store cannot be read (an object damaged or cut, an array missing, sizes beyond the limit).
        """
        options = read_options(ZarrOptions, source)
        store, files = unpacked_store(parts)
        columns = {name: column_of(name, variable) for name, variable in source.variables.items()}
        layouts = {c: layout_of(c, files, store) for c in dict.fromkeys((*options.axes, *columns.values()))}
        for name, variable in source.variables.items():
            check_unit(columns[name], variable, layouts[columns[name]].attributes.get("units"), store)
        check_shapes([layouts[c] for c in columns.values()], [layouts[a] for a in options.axes], store)
        start, stop = steps_there(layouts[next(iter(columns.values()))], options.time, files)
        stamps = instants(layouts[options.time], files, store)[start:stop]
        published = instants(layouts[options.published], files, store)[start:stop] if options.published else None
        cells = grid_cells(layouts, options, files, store) if options.layout == "grid" else None
        if cells is not None and not source.slabs:
            cells.check_names()
        read = partial(_known, [(n, layouts[c]) for n, c in columns.items()], options, cells, files, store)
        taken, values = (
            read(start, stop) if rows is None else _some(read, layouts[next(iter(columns.values()))], options, start, stamps, rows)
        )
        return Fields(
            where=node_ids(layouts, options, files, store) if cells is None else cells,
            stamps=stamps[taken],
            values=values,
            options=options,
            file=store,
            published=None if published is None else published[taken],
            rows=rows,
        )

    def parse_places(self, source: Source, parts: Mapping[str, bytes]) -> NodeSet:
        """The places in a node table, or the cells of a store's grid row by row.

        Raises:
            ContractError: The store as a whole cannot be read.
        """
        if source.nodes is not None:
            return parse_places(source, parts)
        options = read_options(ZarrOptions, source)
        store, files = unpacked_store(parts)
        layouts = {name: layout_of(name, files, store) for name in (options.latitude, options.longitude)}
        return grid_cells(layouts, options, files, store).nodes


def _known(
    arrays: Sequence[tuple[str, ArrayLayout]],
    options: ZarrOptions,
    cells: Cells | None,
    files: Mapping[str, bytes],
    store: str,
    start: int,
    stop: int,
) -> tuple[NDArray[np.int64], dict[str, NDArray[np.float64]]]:
    """Those of some steps of which there is anything, counted from the first of them, and their (T, P) values."""
    values = {n: table(layout, options, (start, stop), cells, files, store) for n, layout in arrays}
    known = ~np.all([np.isnan(v).all(axis=1) for v in values.values()], axis=0) if stop > start else np.zeros(0, np.bool_)
    return np.flatnonzero(known), values if known.all() else {n: v[known] for n, v in values.items()}


def _some(
    read: Callable[[int, int], tuple[NDArray[np.int64], dict[str, NDArray[np.float64]]]],
    layout: ArrayLayout,
    options: ZarrOptions,
    start: int,
    stamps: NDArray[np.int64],
    rows: NDArray[np.int64],
) -> tuple[NDArray[np.int64], dict[str, NDArray[np.float64]]]:
    """The steps of the grids of these numbers, which count only what is there, and their values: read a chunk of time after the other."""
    length, counted = layout.chunks[layout.dims.index(options.time)], 0
    found: list[tuple[NDArray[np.int64], dict[str, NDArray[np.float64]]]] = []
    for first in range(0, len(stamps), length):
        known, values = read(start + first, start + min(first + length, len(stamps)))
        good = stamped(stamps[first + known], options, layout.name, 0)[0].slab
        mine = good[np.isin(counted + 1 + np.arange(len(good)), rows)]
        counted += len(good)
        if len(mine):
            found.append((first + known[mine], {n: v[mine] for n, v in values.items()}))
    return np.concatenate([steps for steps, _ in found]), {n: np.concatenate([v[n] for _, v in found]) for n in found[0][1]}


class _Offered:
    """What a store holds as of now: its metadata and axes, fetched once."""

    def __init__(self, source: Source, options: ZarrOptions, folder: Callable[[str], Part]) -> None:
        self._source, self._options, self._folder = source, options, folder
        self._held: dict[str, bytes] = {}
        self._store = source.locations[0].rstrip("/").rpartition("/")[2]
        self._columns = tuple(column_of(n, v) for n, v in source.variables.items())
        first = self._get(metadata_keys(options.time, 3)[0])
        self._version = 3 if first else 2
        self._layouts = {name: self._layout(name) for name in dict.fromkeys((*options.axes, *self._columns))}

    def _get(self, key: str) -> bytes:
        if key not in self._held:
            self._held[key] = if_there(self._folder(key)).read()
        return self._held[key]

    def _layout(self, name: str) -> ArrayLayout:
        keys = metadata_keys(name, self._version)
        if not self._get(keys[0]):
            self._folder(keys[0]).read()  # says what is not there
        files = {key: self._get(key) for key in keys}
        return layout_of(name, files, self._store)

    def described(self, names: tuple[str, ...]) -> Iterator[Part]:
        """The metadata of arrays, and all chunks of those that are axes."""
        for name in dict.fromkeys(names):
            layout = self._layouts[name]
            if name in self._options.axes:
                check_size(name, layout.shape, self._store)
            keys = [*metadata_keys(name, self._version), *(map(layout.key, layout.places({})) if name in self._options.axes else ())]
            for key in keys:
                data = self._get(key)
                yield Part(name=key, location=self._folder(key).location, read=partial(bytes, data))

    def groups(self, as_of: datetime) -> Iterator[Delivery]:
        """A delivery per group of chunks in time that has begun by `as_of`."""
        options, layout = self._options, self._layouts[self._columns[0]]
        axis = self._layouts[options.time]
        files = {part.name: part.read() for part in self.described((options.time,))}
        times = instants(axis, files, self._store)
        if options.time not in layout.dims:
            found = f"dimensions {list(layout.dims)}"
            raise ContractError(
                asked=f"dimension '{options.time}' of array '{layout.name}' of {self._store}", found=found, mend="correct time"
            )
        length = layout.chunks[layout.dims.index(options.time)]
        size = length * _chunks_of(times, length, options.span)
        begin, end = 0 if options.start is None else to_seconds(options.start), to_seconds(as_of)
        for start in range(0, len(times), size):
            stop = min(start + size, len(times))
            known = times[start:stop][times[start:stop] != NO_TIME]
            if len(known) and known.max() >= begin and known.min() <= end:
                yield self._group(start, stop, int(known.min()), int(known.max()), whole=stop - start == size)

    def _group(self, start: int, stop: int, first: int, last: int, *, whole: bool) -> Delivery:
        box = {self._options.time: (start, stop)}
        columns = [self._layouts[column] for column in dict.fromkeys(self._columns)]
        count = sum(layout.count(box) for layout in columns)
        if count > MOST_OBJECTS:
            asked, mend = f"steps {start} .. {stop - 1} of {self._store}", "set options.start and a shorter span"
            raise ConfigError(asked=asked, found=f"{count} objects, more than {MOST_OBJECTS}", mend=mend)
        parts = list(self.described((*self._options.axes, *self._columns)))
        parts += [if_there(self._folder(layout.key(place))) for layout in columns for place in layout.places(box)]
        source, options = self._source, self._options
        settled = last + int((source.latency + options.revised).total_seconds())
        name = f"{compact_instant(from_seconds(first))}-{start}"
        return Delivery(name=name, parts=tuple(parts), covers=(first, last), settles=settled if whole and options.span else None)


def _packed(source: Source) -> bool:
    return all(location.endswith(".zip") for location in source.locations)


def _chunks_of(times: NDArray[np.int64], length: int, span: timedelta | None) -> int:
    """How many chunks a group has."""
    if span is None or len(times) < 2:
        return max(1, -(-len(times) // length))
    step = max(1, int(np.median(np.diff(times))))
    return max(1, int(span.total_seconds()) // (step * length))

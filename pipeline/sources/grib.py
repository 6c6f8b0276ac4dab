"""GRIB 1 and 2. Needs the extra `grib` (eccodes), which decodes in a process of its own: damaged files end that one only.

A variable's `column` is the short name (`2t`), with the type of level and the level where that is needed (`t:isobaricInhPa:850`).
Several messages of one valid time are joined. A forecast message (step above 0) counts as published at its init time plus the
source's latency; an analysis carries no publication time of its own. In a source with `runs` each says its init time instead.
Only regular latitude-longitude grids are read.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.contracts.deliveries import Delivery
from pipeline.contracts.nodes import NodeSet
from pipeline.contracts.worlds import Source
from pipeline.errors import ContractError
from pipeline.settings import Settings
from pipeline.sources.adapter import NO_TIME, Readings, Slabs
from pipeline.sources.files import FileAdapter, check_locations, grid_deliveries
from pipeline.sources.grib_messages import MEND, answered, check_installed
from pipeline.sources.grib_slabs import grib_slab_times, grib_slabs
from pipeline.sources.grids import GridOptions, check_unit, gridded_readings
from pipeline.sources.node_tables import parse_places
from pipeline.sources.nursery import decode_apart
from pipeline.sources.options import read_options
from pipeline.sources.rows import column_of
from pipeline.sources.unpacking import unpacked

_START, _PER_MIB = 20.0, 2.0
"""Seconds that decoding may take: to start, and per MiB of the file."""


class GribOptions(GridOptions):
    """The `options` of a GRIB source."""


class GribAdapter(FileAdapter):
    """GRIB files."""

    example = "*.grib2"

    def check(self, source: Source) -> None:
        """Refuse options that make no sense.

        Raises:
            ConfigError: Naming the option, its value, what is allowed; or the extra that is not installed.
        """
        read_options(GribOptions, source)
        check_locations(source, self.example)
        check_installed()

    def deliveries(self, source: Source, settings: Settings, as_of: datetime) -> Iterator[Delivery]:
        """One delivery per file, then the nodes: a table, or the grid of the first file; raises as `file_deliveries` does."""
        return grid_deliveries(source, settings)

    def parse(self, source: Source, parts: Mapping[str, bytes]) -> Readings:
        """The readings in a delivery's bytes.

        Raises:
            ContractError: The file as a whole cannot be read (truncated, a variable missing, another grid).
        """
        options = read_options(GribOptions, source)
        [(file, data)] = parts.items()
        return grib_readings(source, options, unpacked(data, file), file)

    def slab_times(self, source: Source, parts: Mapping[str, bytes]) -> Readings:
        """Which grids a delivery holds, a row each; their values are not decoded.

        Raises:
            ContractError: The file as a whole cannot be read.
        """
        [(file, data)] = parts.items()
        return grib_slab_times(source, read_options(GribOptions, source), unpacked(data, file), file)

    def slabs(self, source: Source, parts: Mapping[str, bytes], rows: NDArray[np.int64]) -> Slabs:
        """The grids of these numbers.

        Raises:
            ContractError: The file as a whole cannot be read.
        """
        [(file, data)] = parts.items()
        return grib_slabs(source, read_options(GribOptions, source), unpacked(data, file), file, rows)

    def parse_places(self, source: Source, parts: Mapping[str, bytes]) -> NodeSet:
        """The places in a node table, or the cells of a file's grid row by row.

        Raises:
            ContractError: The file as a whole cannot be read.
        """
        if source.nodes is not None:
            return parse_places(source, parts)
        [(file, data)] = parts.items()
        return grid_cells(decoded_apart(unpacked(data, file), file, [], read_options(GribOptions, source)))


def grib_readings(source: Source, options: GridOptions, data: bytes, file: str) -> Readings:
    """The readings in the messages of a file.

    Raises:
        ContractError: The file as a whole cannot be read (truncated, a variable missing, another grid or unit).
    """
    columns = [column_of(name, variable) for name, variable in source.variables.items()]
    found = decoded_apart(data, file, columns, options)
    for column, variable, unit in zip(columns, source.variables.values(), found["units"].tolist(), strict=True):
        check_unit(column, variable, unit, file)
    values = {name: found[f"column {n}"] for n, name in enumerate(source.variables)}
    init, cells = found["published"], grid_cells(found)
    if source.runs is not None:
        start = np.where(init == NO_TIME, found["valid"], init)
        return gridded_readings(cells, found["valid"], values, options, file, init=start)
    published = np.where(init == NO_TIME, NO_TIME, init + int(source.latency.total_seconds()))
    return gridded_readings(cells, found["valid"], values, options, file, published if (init != NO_TIME).any() else None)


def grid_cells(found: Mapping[str, NDArray[Any]]) -> NodeSet:
    """The cells that `decoded_apart` found, row by row."""
    rows, columns = found["shape"].tolist()
    return NodeSet(ids=tuple(found["ids"].tolist()), latitude=found["latitude"], longitude=found["longitude"], shape=(rows, columns))


def decoded_apart(data: bytes, file: str, columns: list[str], options: GridOptions) -> dict[str, NDArray[Any]]:
    """What `grib_messages.decoded` says, from a process of its own; raises as it does."""
    request = {"file": file, "columns": columns, "area": options.area}
    asked = f"decode {file} ({len(data)} bytes)"
    try:
        done = decode_apart(request, data, _START + _PER_MIB * len(data) / 2**20)
    except subprocess.TimeoutExpired as error:
        raise ContractError(asked=asked, found=f"no end within {error.timeout:.0f} s", mend=MEND) from error
    return answered(done, asked)

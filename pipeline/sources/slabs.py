"""Whole grids of any adapter: straight from one that gives them, else its readings of all cells put together again."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from pipeline.contracts.nodes import NodeSet
from pipeline.contracts.worlds import Source
from pipeline.errors import ContractError
from pipeline.sources.adapter import SLAB_NODE, Adapter, Readings, SlabAdapter, Slabs
from pipeline.sources.fields import FieldAdapter

_DECODED_BYTES = 24
"""A value of GRIB: in the process that decodes it, between the two, and as it is read."""
_ROW_BYTES = 88
"""A value where grids are put together from rows."""


def read_bytes(adapter: Adapter) -> int:
    """What each value of the grids asked for takes while they are read, of one variable."""
    if isinstance(adapter, FieldAdapter):
        return adapter.unpacked_bytes
    return _DECODED_BYTES if isinstance(adapter, SlabAdapter) else _ROW_BYTES


def slab_times(adapter: Adapter, source: Source, parts: Mapping[str, bytes]) -> Readings:
    """Which grids a delivery holds, a row each.

    Raises:
        ContractError: The file as a whole cannot be read, or it holds no grid.
    """
    if isinstance(adapter, SlabAdapter):
        return adapter.slab_times(source, parts)
    readings, places = _parsed(adapter, source, parts)
    return times_of(readings, len(places))


def times_of(readings: Readings, cells: int) -> Readings:
    """A row per slab of readings that are whole grids of so many cells each, one after the other."""
    count = len(readings) // max(cells, 1)
    tables = [column.reshape(count, cells) for column in readings.values.values()]
    content = [hashlib.blake2b(b"".join(table[s].tobytes() for table in tables), digest_size=8).digest() for s in range(count)]
    published = readings.published_time
    return Readings(
        node_ids=(SLAB_NODE,),
        node=np.zeros(count, np.int32),
        valid_time=readings.valid_time[:: max(cells, 1)],
        published_time=None if published is None else published[:: max(cells, 1)],
        values={},
        row=np.arange(1, count + 1),
        rejected=readings.rejected,
        raw_rows=count + len(readings.rejected),
        content=np.frombuffer(b"".join(content), "<i8").astype(np.int64),
        cells=cells,
    )


def slabs(adapter: Adapter, source: Source, parts: Mapping[str, bytes], rows: NDArray[np.int64]) -> Slabs:
    """The grids of these numbers in a delivery.

    Raises:
        ContractError: The file as a whole cannot be read, or it holds no grid.
    """
    if isinstance(adapter, SlabAdapter):
        return adapter.slabs(source, parts, rows)
    readings, places = _parsed(adapter, source, parts)
    height, width = places.shape or (1, 1)
    return slabs_of(readings, places.latitude.reshape(height, width)[:, 0], places.longitude.reshape(height, width)[0], rows)


def slabs_of(readings: Readings, latitude: NDArray[np.float64], longitude: NDArray[np.float64], rows: NDArray[np.int64]) -> Slabs:
    """The grids of these numbers, of readings that are whole grids."""
    cells = len(latitude) * len(longitude)
    values = {name: column.reshape(-1, cells)[rows - 1] for name, column in readings.values.items()}
    return Slabs(latitude=latitude, longitude=longitude, values=values)


def _parsed(adapter: Adapter, source: Source, parts: Mapping[str, bytes]) -> tuple[Readings, NodeSet]:
    """The readings of a delivery, slab by slab and row by row, and the cells of its grid."""
    readings, places = adapter.parse(source, parts), adapter.parse_places(source, parts)
    cells = np.arange(len(places), dtype=np.int32)
    whole = places.shape is not None and len(readings) % max(len(cells), 1) == 0
    if not whole or not np.array_equal(readings.node, np.tile(cells, len(readings) // max(len(cells), 1))):
        found = "readings that are no whole grids of one shape"
        raise ContractError(asked=f"grids in {', '.join(parts)}", found=found, mend="drop slabs = true of the source")
    return readings, places

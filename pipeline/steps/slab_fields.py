"""Whole grids from landing, on the cells or nodes of a region: decoded a few at a time, screened and brought there band by band."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.alignment.aggregate_slabs import Slabs
from pipeline.alignment.regrid import Regridder, to_grid, to_nodes, unchanged
from pipeline.contracts.modalities import TargetGrid
from pipeline.contracts.nodes import NodeSet
from pipeline.contracts.worlds import Source, World
from pipeline.cube.groups import Group
from pipeline.errors import StoreError
from pipeline.quality.slabs import screened_bands
from pipeline.sources.registry import adapter_named
from pipeline.sources.slabs import read_bytes, slabs
from pipeline.sources.unpacking import unpacked_size
from pipeline.stores.landing import Landed, LandingStore
from pipeline.stores.objects import ObjectStore

_CELLS_AT_ONCE = 1 << 24
_BROUGHT_BYTES = 6
"""One value of a slab on the nodes of a region, and its flags."""

SLAB_COLUMNS = ("node", "valid_time", "available_time", "received_time", "delivery", "row", "cells")

Grid = tuple[NDArray[np.float64], NDArray[np.float64]]


@dataclass(frozen=True, kw_only=True)
class _Portion:
    """Slabs that are decoded together: where they are among the rows, and their numbers in one delivery."""

    landed: Landed
    index: NDArray[np.int64]
    rows: NDArray[np.int64]


def slab_fields(objects: ObjectStore, world: World, group: Group, source_name: str, nodes: NodeSet, rows: pa.Table) -> dict[str, Slabs]:
    """The slabs that observed rows tell of, per variable of the group, on its nodes.

    Raises:
        StoreError: A landed file is gone or damaged.
        ContractError: A file cannot be read, or its grid is not the one that the domain is made of.
    """
    source, adapter = world.sources[source_name], adapter_named(world.sources[source_name].adapter)
    landing = LandingStore(objects, world.name, source_name)
    valid, available, received = (rows[c].cast(pa.int64()).to_numpy() for c in ("valid_time", "available_time", "received_time"))
    names = [name for name, variable in group.variables.items() if variable.source == source_name]
    found = {n: (np.full((len(valid), len(nodes)), np.nan, np.float32), np.zeros((len(valid), len(nodes)), np.uint16)) for n in names}
    bring = _Bringer(group, nodes)
    for portion in _portions(landing, source_name, rows):
        taken = slabs(adapter, source, landing.read(portion.landed), portion.rows)
        regridder = bring.of((taken.latitude, taken.longitude))
        for name in names:
            for k, s in enumerate(portion.index.tolist()):
                delivered = taken.values[name][k].reshape(regridder.shape)
                horizon = int(received[s]) + int(source.ahead.total_seconds())
                bands = screened_bands(delivered, source.variables[name], valid_time=int(valid[s]), received_time=horizon)
                found[name][0][s], found[name][1][s] = regridder.apply(bands)
    return {n: Slabs(valid_time=valid, available_time=available, values_SP=v, flags_SP=f) for n, (v, f) in found.items()}


def slabs_bytes(source: Source, cells: int, count: int, file: int, nodes: int) -> int:
    """What a worker needs for `count` slabs of so many cells, of deliveries of up to `file` bytes, as they are on so many nodes.

    The file counts twice: opening it unpacks NetCDF 3 as a whole, of HDF5 and Zarr chunks as large as they were made.
    """
    if not count:
        return 0
    decoded = max(cells, min(_CELLS_AT_ONCE, cells * count)) * read_bytes(adapter_named(source.adapter))
    return (decoded + count * nodes * _BROUGHT_BYTES) * len(source.variables) + 2 * file


def largest_file(landing: LandingStore, deliveries: Collection[str]) -> int:
    """Bytes of the largest of these deliveries, as received and as its gzip says that it unpacks."""
    landed = max((d for d in landing.manifest() if d.id in deliveries), key=lambda d: d.bytes, default=None)
    if landed is None:
        return 0
    return landed.bytes + sum(unpacked_size(data) for data in landing.read(landed).values()) if _packed(landed) else landed.bytes


def _packed(landed: Landed) -> bool:
    return any(part.name.endswith(".gz") for part in landed.parts)


def _portions(landing: LandingStore, source: str, rows: pa.Table) -> Iterator[_Portion]:
    landed = {delivery.id: delivery for delivery in landing.manifest() if delivery.role == "readings"}
    delivery = np.array(rows["delivery"].cast(pa.string()).to_pylist(), dtype=object)
    number, cells = rows["row"].to_numpy(), rows["cells"].to_numpy()
    for name in dict.fromkeys(delivery.tolist()):
        if name not in landed:
            mend = "restore the landing store from a backup, or delete the observations of the source and observe again"
            raise StoreError(asked=f"delivery {name[:16]} of source {source}", found="it is not in landing", mend=mend)
        mine = np.flatnonzero(delivery == name)
        count = max(_CELLS_AT_ONCE // max(int(cells[mine].max()), 1), 1)
        for first in range(0, len(mine), count):
            index = mine[first : first + count]
            yield _Portion(landed=landed[name], index=index, rows=number[index])


@lru_cache(maxsize=4)
def _to_grid(latitude: bytes, longitude: bytes, target: TargetGrid) -> Regridder:
    """The weights of two grids, which the regions of a process share."""
    return to_grid(np.frombuffer(latitude), np.frombuffer(longitude), target)


class _Bringer:
    """The weights from each grid that comes to the nodes of a group, made once for each."""

    def __init__(self, group: Group, nodes: NodeSet) -> None:
        self._known: list[tuple[Grid, Regridder]] = []
        self._make: Callable[[NDArray[np.float64], NDArray[np.float64]], Regridder]
        target = group.grid
        if target is not None:
            self._make = lambda latitude, longitude: _to_grid(latitude.tobytes(), longitude.tobytes(), target)
        elif group.kind == "grid":
            self._make = lambda latitude, longitude: unchanged(latitude, longitude, nodes)
        else:
            self._make = lambda latitude, longitude: to_nodes(latitude, longitude, nodes)

    def of(self, grid: Grid) -> Regridder:
        """The weights from a grid, latitude of each row and longitude of each column."""
        for known, regridder in self._known:
            if all(np.array_equal(a, b) for a, b in zip(known, grid, strict=True)):
                return regridder
        self._known.append((grid, self._make(*grid)))
        return self._known[-1][1]

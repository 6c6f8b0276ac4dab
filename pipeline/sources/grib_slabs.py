"""GRIB files as whole grids: which there are, and their values through memory that the decoding process shares with its caller."""

from __future__ import annotations

import hashlib
import mmap
import os
import subprocess
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.contracts.worlds import Source
from pipeline.errors import ContractError
from pipeline.sources.adapter import NO_TIME, SLAB_NODE, Readings, Slabs
from pipeline.sources.grib_messages import MEND, Message, answered, axes, messages
from pipeline.sources.grids import GridOptions, check_unit, stamped, within_area
from pipeline.sources.nursery import decode_apart
from pipeline.sources.rooms import Rooms

_ROOMS = Rooms()
_START, _PER_MIB = 20.0, 2.0
"""Seconds that decoding may take: to start, and per MiB of the values."""


def grib_slab_times(source: Source, options: GridOptions, data: bytes, file: str) -> Readings:
    """Which grids a file holds, a row each.

    Raises:
        ContractError: It cannot be read as a whole (truncated, a variable missing, another unit).
    """
    found = _asked(source, options, data, file, np.zeros(0, np.int64))
    good, rejected = stamped(found["valid"], options, file, int(found["cells"][0]))
    published = found["published"]
    published = np.where(published == NO_TIME, NO_TIME, published + int(source.latency.total_seconds()))
    return Readings(
        node_ids=(SLAB_NODE,),
        node=np.zeros(len(good.slab), np.int32),
        valid_time=good.valid_time,
        published_time=published[good.slab] if (published != NO_TIME).any() else None,
        values={},
        row=good.slab + 1,
        rejected=rejected,
        raw_rows=len(good.slab) + len(rejected),
        content=found["content"][good.slab],
        cells=int(found["cells"][0]),
    )


def grib_slabs(source: Source, options: GridOptions, data: bytes, file: str, rows: NDArray[np.int64]) -> Slabs:
    """The grids of these numbers; raises as `grib_slab_times` does."""
    found = _asked(source, options, data, file, rows)
    return Slabs(
        latitude=found["latitude"],
        longitude=found["longitude"],
        values={name: found["values"][n] for n, name in enumerate(source.variables)},
    )


def _asked(source: Source, options: GridOptions, data: bytes, file: str, rows: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
    """What the decoding process says of a file, with the values of some slabs."""
    columns = [variable.column or name for name, variable in source.variables.items()]
    request = {"file": file, "columns": columns, "area": options.area, "rows": rows.tolist()}
    limit = _START + _PER_MIB * (len(data) / 2**20 + 100 * len(rows))
    room = _ROOMS.take()
    try:
        done = decode_apart(request, data, limit, shared=room)
        found = answered(done, f"decode {file} ({len(data)} bytes)")
        shape = (len(columns), len(rows), int(found["cells"][0]))
    except BaseException as error:
        _ROOMS.lose(room)
        if isinstance(error, subprocess.TimeoutExpired):
            raise ContractError(asked=f"decode {file}", found=f"no end within {limit:.0f} s", mend=MEND) from error
        raise
    if len(rows):
        found["values"] = np.frombuffer(_ROOMS.lend(room), np.float64).reshape(shape)
    else:
        _ROOMS.give_back(room)
        found["values"] = np.zeros(shape)
    for column, variable, unit in zip(columns, source.variables.values(), found["units"].tolist(), strict=True):
        check_unit(column, variable, unit, file)
    return found


class _Grid:
    """The rows and columns that are taken of every message's grid, which must be one and the same."""

    def __init__(self, message: Message, options: GridOptions, file: str) -> None:
        self.axes = axes(message)
        self.rows, self.columns, around = within_area(*self.axes, options, file)
        self.latitude, self.longitude = self.axes[0][self.rows], around[self.columns]
        self.cells = len(self.rows) * len(self.columns)
        self._whole = (len(self.axes[0]), len(self.axes[1]))

    def put(self, message: Message, room: NDArray[np.float64]) -> None:
        """The values of the cells taken, row by row, to where they belong.

        Raises:
            ContractError: The message has another grid.
        """
        if not all(np.array_equal(a, b) for a, b in zip(self.axes, axes(message), strict=True)):
            raise ContractError(asked=message.where, found="another grid than the messages before it", mend="split the file by grid")
        cells = self._whole[0] * self._whole[1]
        if cells == self.cells:
            message.put_values(room)
        else:
            room[:] = message.all_values(cells).reshape(self._whole)[np.ix_(self.rows, self.columns)].reshape(-1)


def decoded_slabs(data: bytes, request: dict[str, Any], *, shared: int) -> dict[str, NDArray[Any]]:
    """Times and contents of all slabs; the values of those asked for go into the shared memory."""
    file, columns, options = request["file"], request["columns"], GridOptions(area=request["area"])
    found: dict[tuple[int, int], dict[str, bytes]] = {}
    names: dict[str, None] = {}
    units: dict[str, str] = {}
    grid: _Grid | None = None
    for message in messages(data, file):
        names.update(dict.fromkeys(message.names))
        column = next((c for c in message.names if c in columns), None)
        if column is not None:
            grid = grid or _Grid(message, options, file)
            units.setdefault(column, message.unit)
            found.setdefault((message.valid, message.published), {}).setdefault(
                column, hashlib.blake2b(message.piece, digest_size=8).digest()
            )
    if grid is None or len(units) < len(columns):
        from pipeline.sources.columns import require_columns

        require_columns(list(names), columns, file)
        raise ContractError(asked=f"read {file}", found="no message with a variable of the world", mend=MEND)
    keys = sorted(found)
    _share(data, request, grid, keys, shared)
    contents = [hashlib.blake2b(b"".join(found[k].get(c, b"none....") for c in columns), digest_size=8).digest() for k in keys]
    return {
        "valid": np.array([k[0] for k in keys], np.int64),
        "published": np.array([k[1] for k in keys], np.int64),
        "content": np.frombuffer(b"".join(contents), "<i8").astype(np.int64),
        "cells": np.array([grid.cells], np.int64),
        "latitude": grid.latitude,
        "longitude": grid.longitude,
        "units": np.array([units[c] for c in columns], np.str_),
    }


def _share(data: bytes, request: dict[str, Any], grid: _Grid, keys: list[tuple[int, int]], shared: int) -> None:
    """Write the values of the slabs asked for, column by column."""
    columns, rows = request["columns"], request["rows"]
    if not rows:
        return
    size = len(columns) * len(rows) * grid.cells * 8
    os.ftruncate(shared, size)
    with mmap.mmap(shared, size, flags=mmap.MAP_SHARED | mmap.MAP_POPULATE) as memory:
        table = np.frombuffer(memory, np.float64).reshape(len(columns), len(rows), grid.cells)
        place, written = {keys[row - 1]: k for k, row in enumerate(rows)}, np.zeros(table.shape[:2], np.bool_)
        for message in messages(data, request["file"]):
            column = next((c for c in message.names if c in columns), None)
            slab = place.get((message.valid, message.published))
            place_of = None if column is None or slab is None else (columns.index(column), slab)
            if place_of is not None and not written[place_of]:
                written[place_of] = True
                grid.put(message, table[place_of])
        table[~written] = np.nan
        del table

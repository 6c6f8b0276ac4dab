"""Windows that need not fit in memory: cubes read a span of time after the other, arrays that lie in files of a scratch folder."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import fields, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.alignment.time_grid import axis
from pipeline.contracts.cubes import DomainCube, Revisions
from pipeline.contracts.times import to_seconds
from pipeline.contracts.worlds import World
from pipeline.errors import NotYetAvailable
from pipeline.machine import machine_bytes
from pipeline.settings import Settings
from pipeline.steps.reading import Inputs, Room, open_inputs
from pipeline.windows.blocks import bytes_per_cell
from pipeline.windows.history import history_names

if TYPE_CHECKING:
    from pipeline.stores.cubes import CubeStore

_ARRAYS: Mapping[str, str] = {"values_TNV": "f4", "flags_TNV": "u2", "latency_TNV": "i4"}
_SHARE = 8
"""A span of time, and a block of nodes, take this part of the memory there is."""


def cells_of(world: World, settings: Settings, as_of: datetime) -> dict[str, int]:
    """How many cells each domain has as of a cut-off, by its clock and the nodes that it ever had."""
    from pipeline.stores.cubes import CubeStore

    store, found = CubeStore(settings.cubes or settings.store, world.name), {}
    for name, domain in world.domains.items():
        try:
            nodes = len(store.nodes(name))
        except NotYetAvailable:
            continue
        found[name] = len(axis(domain.clock, to_seconds(world.domain_start(name)), to_seconds(as_of))) * nodes * len(domain.variables)
    return found


def window_bytes(world: World, cells: Mapping[str, int]) -> int:
    """Bytes of all windows' arrays."""
    return sum(
        count * bytes_per_cell(len(history_names(world.domains[name])), world.domains[name].coarse is not None)
        for name, count in cells.items()
    )


def memory_for(settings: Settings) -> int:
    """Bytes that a step may use: as set, or half of the machine's."""
    return settings.memory or machine_bytes() // 2


def inputs_for(folder: Path, world: World, settings: Settings, as_of: datetime) -> Inputs:
    """All that windows are made of at a cut-off: in memory, or where their windows fill more than half of it in files of this folder."""
    memory, cells = memory_for(settings), cells_of(world, settings, as_of)
    if window_bytes(world, cells) <= memory // 2:
        return open_inputs(world, settings, as_of)
    return inputs_in(folder, world, settings, as_of, cells, memory)


def inputs_in(folder: Path, world: World, settings: Settings, as_of: datetime, cells: Mapping[str, int], memory: int) -> Inputs:
    """The same in arrays that are mapped from files of this folder, with room for their windows there.

    Args:
        folder: Where the files go; they are needed as long as inputs and windows are.
        world: The world.
        settings: Where its cubes are.
        as_of: The cut-off.
        cells: From `cells_of`.
        memory: Bytes that may be used for this.
    """
    from pipeline.stores.cubes import CubeStore

    store = CubeStore(settings.cubes or settings.store, world.name)
    cubes = {name: _mapped(store, world, name, as_of, folder, max(1, count * 10 * _SHARE // memory)) for name, count in cells.items()}
    # A block of nodes holds its series, summaries and what lies between them.
    nodes = [len(cube.nodes) * memory // (_SHARE * 60 * max(cells[name], 1)) for name, cube in cubes.items()]
    room = Room(folder=folder, at_once=max(1, min(nodes, default=1)))
    return replace(open_inputs(world, settings, as_of, cubes=cubes), room=room)


def _mapped(store: CubeStore, world: World, name: str, as_of: datetime, folder: Path, spans: int) -> DomainCube:
    """A domain as of an instant, its arrays mapped from files into which it was read in so many spans of time."""
    first, last = to_seconds(world.domain_start(name)), to_seconds(as_of)
    cuts = np.linspace(first, last + 1, spans + 1).astype(np.int64).tolist()
    parts: list[DomainCube] = []
    steps = 0
    files = {part: folder / f"{name}.cube.{part}" for part in _ARRAYS}
    for start, stop in itertools.pairwise(cuts):
        read = store.open(as_of, name, start=start, until=stop - 1)
        for part, file in files.items():
            with file.open("ab") as held:
                np.ascontiguousarray(getattr(read, part), _ARRAYS[part]).tofile(held)
        moved = replace(read.revisions, step=read.revisions.step + np.int32(steps))
        steps += len(read.valid_time)
        empty = {part: getattr(read, part)[:0] for part in _ARRAYS}
        parts.append(replace(read, revisions=moved, **empty))
    last_part = parts[-1]
    shape = (steps, *last_part.values_TNV.shape[1:])
    arrays: dict[str, Any] = {
        part: np.memmap(file, _ARRAYS[part], "r", shape=shape) if np.prod(shape) else np.zeros(shape, _ARRAYS[part])
        for part, file in files.items()
    }
    records = {f.name: np.concatenate([getattr(p.revisions, f.name) for p in parts]) for f in fields(Revisions)}
    return replace(last_part, valid_time=np.concatenate([p.valid_time for p in parts]), revisions=Revisions(**records), **arrays)

"""As-of reading of one domain's group: what was available later is taken away again. T steps, N node, V variable."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.contracts.cubes import NEVER, DomainCube, Revisions
from pipeline.contracts.flags import Flag
from pipeline.contracts.nodes import NodeSet
from pipeline.cube.differences import DomainBook
from pipeline.errors import StoreError
from pipeline.stores.cube_format import REVISION_TYPES, axis_of


def read_nodes(group: Any) -> NodeSet:
    """All nodes of a group in their order."""
    shape = group.attrs["cubecast"]["grid_shape"]
    return NodeSet(
        ids=tuple(str(i) for i in group["node_id"][:]),
        latitude=group["latitude"][:],
        longitude=group["longitude"][:],
        shape=None if shape is None else (shape[0], shape[1]),
        ends=group["ends"][:] if "ends" in group else None,
    )


def read_book(group: Any) -> DomainBook:
    """Everything but the values of a group."""
    book = group.attrs["cubecast"]
    return DomainBook(
        title=group.attrs["title"],
        valid_time=axis_of(group)[:],
        nodes=read_nodes(group),
        variables=tuple(book["variables"]),
        chunk_steps=book["chunk_steps"],
        recipe=book["recipe"],
        chunk_digests=group["chunks/digest"][:],
        revisions=Revisions(**{name: group[f"revisions/{name}"][:] for name in REVISION_TYPES}),
        attributes={name: dict(array.attrs) for name, array in group.arrays()},
    )


class _Chunks:
    """Whole time chunks as they are read, held against the digests of what was written.

    A checksum within a chunk does not tell that a damaged index has led to another chunk.
    """

    def __init__(self, *, steps: int, first: int, last: int) -> None:
        self.steps, self.first, self.last = steps, first, last
        self._states = [hashlib.sha256() for _ in range(first, last)]

    def seen(self, array: NDArray[Any]) -> NDArray[Any]:
        """The same array, counted in."""
        for k, state in enumerate(self._states):
            state.update(np.ascontiguousarray(array[k * self.steps : (k + 1) * self.steps]).data)
        return array

    def check(self, digests: NDArray[np.uint8], domain: str) -> None:
        """Refuse chunks that are not what was written.

        Raises:
            StoreError: Naming the domain and the chunk.
        """
        for k, state in enumerate(self._states, self.first):
            if k >= len(digests) or digests[k].tobytes() != state.digest():
                raise StoreError(
                    asked=f"read time chunk {k} of cube {domain}",
                    found="content that differs from what was written",
                    mend="restore the store from a backup, or remove the cube and run build-cube to make it anew from the observations",
                )


def read_domain(group: Any, domain: str, as_of: int, start: int | None, snapshot: str) -> DomainCube:
    """The group's state as it was known at `as_of` (seconds UTC), from `start` on."""
    book, valid_time = group.attrs["cubecast"], axis_of(group)[:]
    stop = int(np.searchsorted(valid_time, as_of, side="right"))
    begin = 0 if start is None else min(int(np.searchsorted(valid_time, start, side="left")), stop)
    all_nodes, heard = read_nodes(group), np.flatnonzero(group["node_known_time"][:] <= as_of)
    nodes = _some_nodes(all_nodes, heard)
    shape = (stop - begin, len(nodes), len(book["variables"]))
    values, flags, latency = np.empty(shape, np.float32), np.empty(shape, np.uint16), np.empty(shape, np.int32)
    chunks = _Chunks(steps=book["chunk_steps"], first=begin // book["chunk_steps"], last=-(-stop // book["chunk_steps"]))
    for v, name in enumerate(book["variables"]):
        for suffix, array in (("", values), ("_flag", flags), ("_latency", latency)):
            whole = group[name + suffix][chunks.first * chunks.steps : chunks.last * chunks.steps]
            stored = chunks.seen(whole.reshape(len(whole), len(all_nodes)))[begin - chunks.first * chunks.steps :][: stop - begin]
            array[..., v] = stored if len(nodes) == len(all_nodes) else stored[:, heard]
    chunks.check(group["chunks/digest"][:], domain)
    records = _revisions(group, book["chunk_steps"], begin, stop, heard, len(all_nodes))
    axis = valid_time[begin:stop]
    late = _late_steps(group["chunks/known_time"][:], book["chunk_steps"], begin, stop, as_of)
    for part in late:
        _hide(axis[part], values[part], flags[part], latency[part], as_of)
    if late:
        _show_older(records, axis, values, flags, latency, as_of)
    return DomainCube(
        domain=domain,
        as_of=as_of,
        snapshot=snapshot,
        valid_time=axis,
        nodes=nodes,
        variables=tuple(book["variables"]),
        units=tuple(group[n].attrs["units"] for n in book["variables"]),
        values_TNV=values,
        flags_TNV=flags,
        latency_TNV=latency,
        revisions=take_revisions(records, records.superseded_time <= as_of),
    )


def take_revisions(records: Revisions, keep: NDArray[np.bool_] | NDArray[np.int64]) -> Revisions:
    """These records only."""
    return Revisions(**{name: getattr(records, name)[keep] for name in REVISION_TYPES})


def _some_nodes(nodes: NodeSet, index: NDArray[np.int64]) -> NodeSet:
    if len(index) == len(nodes):
        return nodes
    return NodeSet(
        ids=tuple(nodes.ids[i] for i in index),
        latitude=nodes.latitude[index],
        longitude=nodes.longitude[index],
        ends=None if nodes.ends is None else nodes.ends[index],
    )


def _revisions(group: Any, chunk_steps: int, begin: int, stop: int, heard: NDArray[np.int64], nodes: int) -> Revisions:
    """Records of the steps begin .. stop-1, counted from `begin`, of these nodes, counted among them."""
    edges = group["chunks/revision_start"][:]
    if stop <= begin:
        return Revisions.empty()
    low, high = int(edges[begin // chunk_steps]), int(edges[-(-stop // chunk_steps)])
    if low == high:
        return Revisions.empty()
    columns = {name: group[f"revisions/{name}"][low:high] for name in REVISION_TYPES}
    place = np.full(nodes, -1, np.int32)
    place[heard] = np.arange(len(heard), dtype=np.int32)
    columns["node"] = place[columns["node"]]
    keep = (columns["step"] >= begin) & (columns["step"] < stop) & (columns["node"] >= 0)
    columns["step"] = columns["step"] - np.int32(begin)
    return take_revisions(Revisions(**columns), keep)


def _late_steps(known_time: NDArray[np.int64], chunk_steps: int, begin: int, stop: int, as_of: int) -> list[slice]:
    """Stretches (of the steps read) whose time chunks hold something that became available after `as_of`."""
    chunks = np.flatnonzero(known_time > as_of)
    bounds = [(max(int(c) * chunk_steps, begin) - begin, min((int(c) + 1) * chunk_steps, stop) - begin) for c in chunks]
    return [slice(a, b) for a, b in bounds if a < b]


def _hide(axis: NDArray[np.int64], values: NDArray[np.float32], flags: NDArray[np.uint16], latency: NDArray[np.int32], as_of: int) -> None:
    room = np.clip(as_of - axis, -1, int(NEVER) - 1).astype(np.int32)
    late = latency > room[:, None, None]
    values[late] = np.nan
    flags[late] = np.uint16(Flag.MISSING)
    latency[late] = NEVER


def _show_older(
    records: Revisions,
    axis: NDArray[np.int64],
    values: NDArray[np.float32],
    flags: NDArray[np.uint16],
    latency: NDArray[np.int32],
    as_of: int,
) -> None:
    seen = take_revisions(records, (records.available_time <= as_of) & (records.superseded_time > as_of))
    cell = (seen.step, seen.node, seen.variable)
    values[cell] = seen.value
    flags[cell] = seen.flag
    latency[cell] = np.minimum(seen.available_time - axis[seen.step], int(NEVER) - 1).astype(np.int32)

"""As-of reading of one domain's group: what was available later is taken away again. T steps, N node, V variable."""

from __future__ import annotations

import math
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.alignment.as_of import hide_later, show_older, take_nodes, take_revisions
from pipeline.contracts.cubes import DomainCube, Revisions
from pipeline.cube.differences import DomainBook
from pipeline.cube.digests import ChunkDigest, revisions_digest
from pipeline.errors import StoreError
from pipeline.stores.cube_books import read_nodes, read_revisions
from pipeline.stores.cube_format import axis_of
from pipeline.stores.together import read_together

_READERS, _AT_ONCE = 2, 4 * 2**20
"""Threads that read, and bytes of one array that each holds before they are where they belong."""


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
        revisions=Revisions(**read_revisions(group, group["chunks/revision_start"][:], group["chunks/revision_stop"][:])),
        attributes={name: dict(array.attrs) for name, array in group.arrays()},
    )


@dataclass(frozen=True, kw_only=True)
class _Span:
    """The steps asked for, begin .. stop - 1, and the time chunks first .. last - 1 that hold them."""

    begin: int
    stop: int
    chunk_steps: int

    @property
    def first(self) -> int:
        return self.begin // self.chunk_steps

    @property
    def last(self) -> int:
        return -(-self.stop // self.chunk_steps)

    @property
    def stored(self) -> slice:
        """The steps of whole chunks."""
        return slice(self.first * self.chunk_steps, self.last * self.chunk_steps)

    @property
    def within(self) -> slice:
        """The steps asked for among those of the whole chunks."""
        return slice(self.begin - self.stored.start, self.stop - self.stored.start)


class _Chunks:
    """Whole time chunks as they are read, held against the digests of what was written.

    A checksum within a chunk does not tell that a damaged index has led to another chunk.
    """

    def __init__(self, span: _Span) -> None:
        self._span = span
        self._found = [ChunkDigest() for _ in range(span.first, span.last)]

    def seen(self, first: int, array: NDArray[Any]) -> NDArray[Any]:
        """The same array, which begins with chunk number `first` of the span, counted in."""
        size = self._span.chunk_steps
        for k in range(-(-len(array) // size)):
            self._found[first + k].add(array[k * size : (k + 1) * size])
        return array

    def check(self, group: Any, domain: str, revisions: Mapping[str, NDArray[Any]], counts: NDArray[np.int64]) -> None:
        """Refuse chunks, or revisions of chunks (so many of each), that are not what was written.

        Raises:
            StoreError: Naming the domain and the chunk.
        """
        span = self._span
        digests, of_revisions = (group[f"chunks/{name}"][span.first : span.last] for name in ("digest", "revision_digest"))
        edges = np.cumsum(np.append(0, counts))
        for k, found in enumerate(self._found):
            mine = Revisions(**{name: column[edges[k] : edges[k + 1]] for name, column in revisions.items()})
            if digests[k].tobytes() != found.bytes or of_revisions[k].tobytes() != revisions_digest(mine):
                raise StoreError(
                    asked=f"read time chunk {span.first + k} of cube {domain}",
                    found="content that differs from what was written",
                    mend="restore the store from a backup, or remove the cube and run build-cube to make it anew from the observations",
                )


def read_domain(group: Any, domain: str, as_of: int, start: int | None, snapshot: str, until: int | None = None) -> DomainCube:
    """The group's state as it was known at `as_of` (seconds UTC), from `start` to `until`."""
    book = group.attrs["cubecast"]
    span = _span(group, book, as_of if until is None else min(as_of, until), start)
    axis = axis_of(group)[span.begin : span.stop]
    all_nodes, known_time = read_nodes(group), group["node_known_time"][:]
    heard = np.flatnonzero(known_time <= as_of)
    nodes = take_nodes(all_nodes, heard)
    shape = (len(axis), len(nodes), len(book["variables"]))
    values, flags, latency = np.empty(shape, np.float32), np.empty(shape, np.uint16), np.empty(shape, np.int32)
    chunks = _Chunks(span)
    targets = {
        name + suffix: array[..., v]
        for v, name in enumerate(book["variables"])
        for suffix, array in (("", values), ("_flag", flags), ("_latency", latency))
    }
    _fill(group, span, chunks, targets, slice(None) if len(nodes) == len(all_nodes) else heard)
    starts, stops = (group[f"chunks/revision_{end}"][span.first : span.last] for end in ("start", "stop"))
    columns = read_revisions(group, starts, stops)
    chunks.check(group, domain, columns, stops - starts)
    records = _revisions(columns, span, heard, len(all_nodes))
    late = _late_steps(group["chunks/known_time"][span.first : span.last], span, as_of)
    for part in late:
        hide_later(axis[part], values[part], flags[part], latency[part], as_of)
    if late:
        show_older(records, axis, values, flags, latency, as_of)
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
        node_known_time_N=known_time[heard],
    )


def _fill(group: Any, span: _Span, chunks: _Chunks, targets: Mapping[str, NDArray[Any]], nodes: slice | NDArray[np.int64]) -> None:
    """Read these nodes of arrays into their targets, some time chunks at a time, which are proved while a processor's cache holds them."""
    opened = {name: group[name] for name in targets}
    size = span.chunk_steps
    count = max(_AT_ONCE // max(size * math.prod(array.shape[1:]) * 4 for array in opened.values()), 1) if opened else 1

    def read(first: int) -> None:
        begin, end = (first * size, min((first + count) * size, span.stored.stop - span.stored.start))
        low, high = max(begin, span.within.start), min(end, span.within.stop)
        found = read_together(list(opened.values()), slice(span.stored.start + begin, span.stored.start + end))
        for whole, target in zip(found, targets.values(), strict=True):
            stored = chunks.seen(first, whole.reshape(len(whole), -1))
            target[low - span.within.start : high - span.within.start] = stored[low - begin : high - begin, nodes]

    with ThreadPoolExecutor(_READERS) as pool:
        list(pool.map(read, range(0, span.last - span.first, count)))


def _span(group: Any, book: Mapping[str, Any], until: int, start: int | None) -> _Span:
    """Which steps lie in [start, until]; an even axis is not read for that."""
    first, step, steps = book["first"], book["even_step"], book["steps"]
    if step is None:
        labels = axis_of(group)[:]
        stop = int(np.searchsorted(labels, until, side="right"))
        begin = 0 if start is None else int(np.searchsorted(labels, start, side="left"))
    else:
        stop = min(max((until - first) // step + 1, 0), steps)
        begin = 0 if start is None else max(-((first - start) // step), 0)
    return _Span(begin=min(begin, stop), stop=stop, chunk_steps=book["chunk_steps"])


def _revisions(columns: Mapping[str, NDArray[Any]], span: _Span, heard: NDArray[np.int64], nodes: int) -> Revisions:
    """Records of the steps asked for, counted from the first of them, of these nodes, counted among them."""
    place = np.full(nodes, -1, np.int32)
    place[heard] = np.arange(len(heard), dtype=np.int32)
    found = {**columns, "node": place[columns["node"]], "step": columns["step"] - np.int32(span.begin)}
    keep = (found["step"] >= 0) & (found["step"] < span.stop - span.begin) & (found["node"] >= 0)
    return take_revisions(Revisions(**found), keep)


def _late_steps(known_time: NDArray[np.int64], span: _Span, as_of: int) -> list[slice]:
    """Stretches (of the steps asked for) whose time chunks hold something that became available after `as_of`."""
    chunks = np.flatnonzero(known_time > as_of) + span.first
    bounds = [(max(int(c) * span.chunk_steps, span.begin), min((int(c) + 1) * span.chunk_steps, span.stop)) for c in chunks]
    return [slice(a - span.begin, b - span.begin) for a, b in bounds if a < b]

"""As-of reading of one domain's group: what was available later is taken away again. T steps, N node, V variable."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.alignment.as_of import hide_later, show_older, take_nodes, take_revisions
from pipeline.contracts.cubes import DomainCube, Revisions
from pipeline.cube.differences import DomainBook
from pipeline.cube.plan import BYTES_PER_CELL
from pipeline.stores.cube_books import read_nodes, read_revisions
from pipeline.stores.cube_format import axis_of
from pipeline.stores.time_chunks import Stored, TimeChunks
from pipeline.stores.together import get_together


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
    targets = [array[..., v] for v in range(shape[2]) for array in (values, flags, latency)]
    _fill(group, TimeChunks.of_book(domain, book), span, targets, heard if len(nodes) < len(all_nodes) else None)
    columns = read_revisions(group, *(group[f"chunks/revision_{end}"][span.first : span.last] for end in ("start", "stop")))
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


def _fill(group: Any, layout: TimeChunks, span: _Span, targets: Sequence[NDArray[Any]], heard: NDArray[np.int64] | None) -> None:
    """Read these nodes of the big arrays into their targets, each time chunk proved before it is unpacked."""
    store, size, nodes = group.store_path.store, layout.steps, group.attrs["cubecast"]["nodes"]
    proofs, held = (group[f"chunks/{name}"][span.first : span.last] for name in ("proof", "nodes"))
    wanted = [layout.keys(chunk, int(there)) for chunk, there in zip(range(span.first, span.last), held, strict=True)]

    def use(number: int, stored: Stored) -> None:
        chunk = span.first + number
        layout.prove(stored, proofs[number].tobytes(), chunk, int(held[number]))
        low, high = max(chunk * size, span.begin), min((chunk + 1) * size, span.stop)
        rows = [target[low - span.begin : high - span.begin] for target in targets]
        layout.decode(stored, rows, slice(low - chunk * size, high - chunk * size), nodes=nodes, heard=heard)

    get_together(store, wanted, use, most=max(BYTES_PER_CELL * size * nodes * len(layout.variables), 1))


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

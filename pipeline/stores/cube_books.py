"""The books of a domain: coordinates, what is kept of each time chunk, superseded versions. An entry costs the same in a long cube.

The attribute `cubecast` of a group holds the totals; `chunks/*` an entry per time chunk; `revisions/*` is a heap in which the
versions of a time chunk lie together. A chunk made again leaves dead rows behind; they go when they outnumber the live ones.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.contracts.cubes import Revisions
from pipeline.contracts.nodes import Link, NodeSet
from pipeline.cube.digests import revisions_digest
from pipeline.stores.cube_format import BOOK_CHUNK, PROOFS, REVISION_CHUNK, REVISION_TYPES, GroupTemplate, axis_digest, content_digest

Columns = dict[str, NDArray[Any]]


@dataclass(frozen=True, kw_only=True, eq=False)
class RegionBook:
    """What the bookkeeping keeps of one written time chunk.

    Attributes:
        digest: sha256 of its values, flags and latencies.
        proof: sha256 of what is stored of them.
        present: (variable,) cells with a good value.
        known_time: Latest availability of any cell.
        revisions: Superseded versions, steps counted on the domain's axis, sorted by step.
    """

    chunk: int
    digest: bytes
    proof: bytes
    present: NDArray[np.int64]
    known_time: int
    revisions: Revisions


def keep_books(
    group: Any, template: GroupTemplate, books: Sequence[RegionBook], heard_N: NDArray[np.int64] | None, consumed: Mapping[str, int]
) -> str:
    """Bring coordinates, chunk books and revisions of a group, of a `ProvedStore`, up to the regions written; returns the domain's digest.

    `heard_N` is when these regions first heard of each node, None where they say nothing of it (grids, runs).
    """
    before = dict(group.attrs.get("cubecast", {}))
    ordered = sorted(books, key=lambda book: book.chunk)
    axis, labels = template.axis_T, axis_digest(template.axis_T)
    _coordinates(group, template, heard_N, before)
    present = _chunk_entries(group, template, ordered, before)
    totals = _keep_revisions(group, ordered, before)
    digest = content_digest(
        template.domain,
        template.chunk_steps,
        [[v.name, v.units, v.aggregate] for v in template.variables],
        template.nodes,
        labels,
        group["chunks/digest"][:],
        group["chunks/revision_digest"][:],
    )
    kept = {
        "recipe": template.recipe,
        "chunk_steps": template.chunk_steps,
        "chunk_nodes": template.chunk_nodes,
        "grid_shape": template.nodes.shape,
        "variables": [v.name for v in template.variables],
        "consumed": dict(sorted(consumed.items())),
        "steps": len(axis),
        "nodes": len(template.nodes),
        "first": int(axis[0]),
        "last": int(axis[-1]),
        "even_step": template.even_step,
        "axis": labels,
        "present": present,
        **totals,
        "digest": digest,
    }
    group.attrs.update({"title": template.title, "cubecast": kept, PROOFS: group.store_path.store.proofs(template.domain)})
    return digest


def read_nodes(group: Any) -> NodeSet:
    """All nodes of a group in their order."""
    shape = group.attrs["cubecast"]["grid_shape"]
    return NodeSet(
        ids=tuple(str(i) for i in group["node_id"][:]),
        latitude=group["latitude"][:],
        longitude=group["longitude"][:],
        shape=None if shape is None else (shape[0], shape[1]),
        ends=group["ends"][:] if "ends" in group else None,
        links=_read_links(group) if "links" in group else (),
    )


def _read_links(group: Any) -> tuple[Link, ...]:
    targets = zip(group["node_id"][:].tolist(), group["links"][:].tolist(), strict=True)
    return tuple((source, str(target), weight) for target, text in targets for source, weight in json.loads(text or "[]"))


def _links_by_target(nodes: NodeSet) -> NDArray[Any]:
    """Per node its sources and their weights as JSON."""
    found: dict[str, list[tuple[str, float]]] = {}
    for source, target, weight in nodes.links:
        found.setdefault(target, []).append((source, weight))
    return np.array([json.dumps(found.get(i, [])) for i in nodes.ids], dtype=object)


def read_revisions(group: Any, starts: NDArray[np.int64], stops: NDArray[np.int64]) -> Columns:
    """The superseded versions of time chunks whose rows begin and end here, in the order of the chunks."""
    held = starts < stops
    low, high = starts[held], stops[held]
    if not len(low):
        return {name: np.zeros(0, dtype) for name, dtype in REVISION_TYPES.items()}
    apart = np.flatnonzero(low[1:] != high[:-1]) + 1
    spans = list(zip(low[np.r_[0, apart]].tolist(), high[np.r_[apart - 1, len(high) - 1]].tolist(), strict=True))
    return {name: np.concatenate([group[f"revisions/{name}"][a:b] for a, b in spans]) for name in REVISION_TYPES}


def write_present(array: Any, place: slice, values: NDArray[Any]) -> None:
    """Write cells; a chunk that equals the fill value is stored too, so that its presence can be proved."""
    if len(values):
        array.with_config({"write_empty_chunks": True})[place] = values


def _coordinates(group: Any, template: GroupTemplate, heard_N: NDArray[np.int64] | None, before: Mapping[str, Any]) -> None:
    nodes, known = template.nodes, int(before.get("nodes", 0))
    write_present(group[template.axis_name], slice(int(before.get("steps", 0)), None), template.axis_T[int(before.get("steps", 0)) :])
    heard = np.full(len(nodes), np.iinfo(np.int64).max)
    heard[:known] = group["node_known_time"][:known]
    newly = heard if heard_N is None else np.minimum(heard, heard_N)
    if known < len(nodes) or (newly != heard).any():
        # The cells of a grid are known before they say anything.
        write_present(group["node_known_time"], slice(None), newly if nodes.shape is None else np.zeros(len(nodes), np.int64))
    if known and read_nodes(group).digest == nodes.digest:
        return
    write_present(group["node_id"], slice(None), np.array(nodes.ids, dtype=object))
    write_present(group["latitude"], slice(None), nodes.latitude)
    write_present(group["longitude"], slice(None), nodes.longitude)
    if nodes.ends is not None:
        write_present(group["ends"], slice(None), nodes.ends)
    if nodes.links:
        write_present(group["links"], slice(None), _links_by_target(nodes))


def _chunk_entries(group: Any, template: GroupTemplate, books: Sequence[RegionBook], before: Mapping[str, Any]) -> list[int]:
    """Enter the chunks written; returns the cells with a good value of each variable, all chunks together."""
    total = np.array(before.get("present", [0] * len(template.variables)), np.int64)
    if not books:
        return [int(n) for n in total]
    chunk = np.array([b.chunk for b in books], np.int64)
    present = np.stack([b.present for b in books])
    total += present.sum(axis=0) - _entries(group, "present", chunk).sum(axis=0)
    _enter(group, "present", chunk, present)
    _enter(group, "known_time", chunk, np.array([b.known_time for b in books], np.int64))
    _enter(group, "nodes", chunk, np.full(len(chunk), len(template.nodes), np.int64))
    _enter(group, "digest", chunk, np.stack([np.frombuffer(b.digest, np.uint8) for b in books]))
    _enter(group, "proof", chunk, np.stack([np.frombuffer(b.proof, np.uint8) for b in books]))
    _enter(group, "revision_digest", chunk, np.stack([np.frombuffer(revisions_digest(b.revisions), np.uint8) for b in books]))
    return [int(n) for n in total]


def _entries(group: Any, name: str, chunk: NDArray[np.int64]) -> NDArray[Any]:
    low, high = int(chunk[0]), int(chunk[-1]) + 1
    found: NDArray[Any] = group[f"chunks/{name}"][low:high][chunk - low]
    return found


def _enter(group: Any, name: str, chunk: NDArray[np.int64], values: NDArray[Any]) -> None:
    array = group[f"chunks/{name}"]
    for block in np.unique(chunk // BOOK_CHUNK):
        low, high = int(block) * BOOK_CHUNK, min((int(block) + 1) * BOOK_CHUNK, array.shape[0])
        page, here = array[low:high], chunk // BOOK_CHUNK == block
        page[chunk[here] - low] = values[here]
        write_present(array, slice(low, high), page)


def _keep_revisions(group: Any, books: Sequence[RegionBook], before: Mapping[str, Any]) -> dict[str, int]:
    """Put the versions of the chunks written behind the others, over dead rows at the end; returns how many live and are dead."""
    live, dead = int(before.get("revisions", 0)), int(before.get("dead_revisions", 0))
    if not books:
        return {"revisions": live, "dead_revisions": dead}
    chunk = np.array([b.chunk for b in books], np.int64)
    starts, stops = _entries(group, "revision_start", chunk), _entries(group, "revision_stop", chunk)
    end = _without_tail(live + dead, starts, stops)
    counts = np.array([len(b.revisions) for b in books], np.int64)
    live += int(counts.sum() - (stops - starts).sum())
    fresh = end + np.cumsum(counts)
    _enter(group, "revision_start", chunk, fresh - counts)
    _enter(group, "revision_stop", chunk, fresh)
    size = end + int(counts.sum())
    columns = {name: np.concatenate([getattr(b.revisions, name) for b in books]).astype(t) for name, t in REVISION_TYPES.items()}
    if size - live > max(live, REVISION_CHUNK):
        size = _compact(group, chunk, columns)
    else:
        _put_rows(group, columns, end, size)
    return {"revisions": live, "dead_revisions": size - live}


def _without_tail(end: int, starts: NDArray[np.int64], stops: NDArray[np.int64]) -> int:
    """The heap's end without the rows of these chunks that lie there."""
    for k in np.argsort(-stops, kind="stable"):
        if starts[k] < stops[k] == end:
            end = int(starts[k])
    return end


def _put_rows(group: Any, columns: Columns, start: int, size: int) -> None:
    for name, column in columns.items():
        array = group[f"revisions/{name}"]
        if array.shape != (size,):
            array.resize((size,))
        write_present(array, slice(start, size), column)


def _compact(group: Any, chunk: NDArray[np.int64], columns: Columns) -> int:
    """Rewrite all revisions in the order of their chunks, those of the chunks named from these columns; returns their count."""
    every = np.arange(group["chunks/revision_start"].shape[0])
    low, high = group["chunks/revision_start"][:], group["chunks/revision_stop"][:]
    others = np.setdiff1d(every, chunk)
    kept = read_revisions(group, low[others], high[others])
    sizes = high - low
    owner = np.concatenate([np.repeat(others, sizes[others]), np.repeat(chunk, sizes[chunk])])
    order = np.argsort(owner, kind="stable")
    merged = {name: np.concatenate([kept[name], columns[name]])[order] for name in REVISION_TYPES}
    fresh = np.cumsum(sizes)
    _enter(group, "revision_start", every, fresh - sizes)
    _enter(group, "revision_stop", every, fresh)
    _put_rows(group, merged, 0, len(order))
    return len(order)

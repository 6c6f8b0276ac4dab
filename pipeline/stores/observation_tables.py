"""Tables of observations in memory: their order, their codes, their row groups; node tables as JSON."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.contracts.nodes import NodeSet, links_among
from pipeline.contracts.provenance import canonical_json
from pipeline.stores.observation_index import DAY

GROUP_ROWS = 16384
_THREADS = min(8, os.cpu_count() or 1)
Span = tuple[int, int, int]
"""A day (start, seconds UTC), its first row and its end row."""


def dictionary_column(codes: NDArray[np.int32], ids: Iterable[str]) -> pa.DictionaryArray:
    """A string column that is stored as codes."""
    return pa.DictionaryArray.from_arrays(pa.array(codes, pa.int32()), pa.array(list(ids), pa.string()))


def dictionary_schema(schema: pa.Schema) -> pa.Schema:
    """The same columns with strings as codes."""
    coded = pa.dictionary(pa.int32(), pa.string())
    return pa.schema([f.with_type(coded) if pa.types.is_string(f.type) else f for f in schema])


def instants(table: pa.Table, name: str) -> NDArray[np.int64]:
    """A column of instants as seconds UTC."""
    found: NDArray[np.int64] = table[name].cast(pa.int64()).to_numpy()
    return found


def within(pieces: list[pa.Table], start: int, end: int) -> pa.Table:
    """The rows with start < valid_time <= end of several tables as one."""
    found = []
    for held in pieces:
        piece, valid = held, instants(held, "valid_time")
        inside = (valid > start) & (valid <= end)
        if not inside.all():
            piece = piece.filter(pa.array(inside)) if inside.any() else piece.slice(0, 0)
        found.append(piece)
    return pa.concat_tables(found)


def node_codes(table: pa.Table) -> tuple[NDArray[np.int32], list[str]]:
    """The node column of a table as codes into sorted identities."""
    column = table["node"].unify_dictionaries() if pa.types.is_dictionary(table["node"].type) else table["node"].dictionary_encode()
    combined = column.combine_chunks()
    if isinstance(combined, pa.ChunkedArray):
        combined = combined.chunk(0) if combined.num_chunks else pa.array([], combined.type)
    ids = combined.dictionary.to_pylist()
    order = sorted(range(len(ids)), key=ids.__getitem__)
    rank = np.empty(len(ids), np.int32)
    rank[order] = np.arange(len(ids), dtype=np.int32)
    codes = combined.indices.to_numpy(zero_copy_only=False)
    return (rank[codes] if len(ids) else codes.astype(np.int32)), [ids[i] for i in order]


def in_order(table: pa.Table) -> pa.Table:
    """The table by valid_time, node, available_time."""
    order = order_of(table)
    return table if order is None else table.take(pa.array(order))


def order_of(table: pa.Table) -> NDArray[np.int64] | None:
    """The rows of a table by valid_time, node, available_time; None where they lie so."""
    if table.num_rows < 2:
        return None
    codes, ids = node_codes(table)
    valid = instants(table, "valid_time")
    key = (valid - valid.min()) * np.int64(max(len(ids), 1)) + codes
    if (key[1:] > key[:-1]).all():
        return None
    order = np.argsort(key, kind="stable")
    ordered = key[order]
    if (ordered[1:] == ordered[:-1]).any():
        order = np.lexsort((instants(table, "available_time"), key))
    return order


@dataclass(frozen=True, kw_only=True, eq=False)
class Stretches:
    """Rows of one node and day with instants that grow, side by side in one of several pieces; all of them by day and node.

    Attributes:
        piece, first, length: Where each lies.
        day, node: What it is of: start (seconds UTC), code.
        apart: Whether no node and day has two.
    """

    piece: NDArray[np.int32]
    first: NDArray[np.int64]
    length: NDArray[np.int64]
    day: NDArray[np.int64]
    node: NDArray[np.int32]
    apart: bool

    @property
    def spans(self) -> list[Span]:
        """Where each day lies, once the rows are in order."""
        end = np.cumsum(self.length)
        opens = np.flatnonzero(np.r_[True, self.day[1:] != self.day[:-1]][: len(end)])
        begin = (end - self.length)[opens].tolist()
        return list(zip(self.day[opens].tolist(), begin, [*begin[1:], *end[-1:].tolist()], strict=True))

    def gather(self, columns: Sequence[Sequence[NDArray[Any]]]) -> list[NDArray[Any]]:
        """Columns in order, each given as its pieces."""
        places = list(zip(self.piece.tolist(), self.first.tolist(), (self.first + self.length).tolist(), strict=True))

        def one(pieces: Sequence[NDArray[Any]]) -> NDArray[Any]:
            return np.concatenate([pieces[piece][first:end] for piece, first, end in places])

        with ThreadPoolExecutor(_THREADS) as pool:
            return list(pool.map(one, columns))


def stretches_of(pieces: Sequence[tuple[NDArray[np.int32], NDArray[np.int64]]], nodes: int) -> Stretches:
    """The stretches of pieces, each codes of nodes below `nodes` and instants."""

    def one(piece: int) -> tuple[NDArray[Any], ...]:
        code, valid = pieces[piece]
        pair = valid // DAY * max(nodes, 1) + code
        opens = np.ones(len(pair), np.bool_)
        np.logical_or(pair[1:] != pair[:-1], valid[1:] <= valid[:-1], out=opens[1:])
        first = np.flatnonzero(opens)
        return np.full(len(first), piece), first, np.diff(np.append(first, len(pair))), pair[first]

    with ThreadPoolExecutor(_THREADS) as pool:
        found = list((pool.map if len(pieces) > 1 else map)(one, range(len(pieces))))
    piece_S, first_S, length_S, pair_S = (np.concatenate(column) for column in zip(*found, strict=True))
    turn = np.argsort(pair_S, kind="stable")
    pair_S = pair_S[turn]
    return Stretches(
        piece=piece_S[turn].astype(np.int32),
        first=first_S[turn],
        length=length_S[turn],
        day=pair_S // max(nodes, 1) * DAY,
        node=(pair_S % max(nodes, 1)).astype(np.int32),
        apart=bool((pair_S[1:] != pair_S[:-1]).all()),
    )


def by_day(table: pa.Table) -> tuple[NDArray[np.int64] | None, list[Span]]:
    """The rows of a table by day, node, valid_time, available_time (None where they lie so), and where each day lies among them."""
    codes, ids = node_codes(table)
    valid = instants(table, "valid_time")
    found = stretches_of([(codes, valid)], len(ids))
    if not found.apart:
        return np.lexsort((instants(table, "available_time"), valid, codes, valid // DAY)), found.spans
    if (np.diff(found.first) > 0).all():
        return None, found.spans
    end = np.cumsum(found.length)
    return np.repeat(found.first - end + found.length, found.length) + np.arange(len(valid)), found.spans


def packed(spans: list[Span]) -> list[list[Span]]:
    """Days (start, first row, end row) in row groups: one each, or several small ones together."""
    groups: list[list[Span]] = []
    for span in spans:
        if groups and span[2] - groups[-1][0][1] <= GROUP_ROWS:
            groups[-1].append(span)
        else:
            groups.append([span])
    return groups


def places_json(places: NodeSet) -> bytes:
    """A node table as canonical JSON; an unknown coordinate is null."""
    known = [[None if np.isnan(v) else float(v) for v in column] for column in (places.latitude, places.longitude)]
    ends = None if places.ends is None else places.ends.tolist()
    content = {"ids": places.ids, "latitude": known[0], "longitude": known[1], "shape": places.shape, "ends": ends}
    return canonical_json(content | ({"links": places.links} if places.links else {}))


def places_from(content: dict[str, Any]) -> NodeSet:
    """The node table that such JSON describes."""
    return NodeSet(
        ids=tuple(content["ids"]),
        latitude=np.array(content["latitude"], np.float64),
        longitude=np.array(content["longitude"], np.float64),
        shape=None if content["shape"] is None else (int(content["shape"][0]), int(content["shape"][1])),
        ends=None if content["ends"] is None else np.array(content["ends"], np.float64),
        links=tuple((source, target, weight) for source, target, weight in content.get("links", ())),
    )


def placed(ids: tuple[str, ...], table: NodeSet) -> NodeSet:
    """The table's places for `ids`, NaN where it does not list one."""
    where = {identity: i for i, identity in enumerate(table.ids)}
    rows = np.array([where.get(identity, len(table)) for identity in ids], np.int64)
    latitude, longitude = (np.append(column, np.nan)[rows] for column in (table.latitude, table.longitude))
    ends = None if table.ends is None else np.vstack([table.ends, np.full((1, 4), np.nan)])[rows]
    return NodeSet(ids=ids, latitude=latitude, longitude=longitude, ends=ends, links=links_among(table.links, ids))

"""Node tables: the places of a source's nodes, listed in a CSV file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.contracts.nodes import NodeSet
from pipeline.contracts.worlds import Source
from pipeline.errors import ContractError
from pipeline.sources.columns import Dialect, Kind
from pipeline.sources.delimited import read_columns
from pipeline.sources.encodings import readable
from pipeline.sources.node_matrices import parse_links
from pipeline.sources.unpacking import unpacked


def east(longitude: NDArray[np.float64]) -> NDArray[np.float64]:
    """Longitudes in [-180, 180) of such in 0 .. 360."""
    return (longitude + 180) % 360 - 180 if (longitude >= 180).any() else longitude


def placed_nodes(latitude: NDArray[np.float64], longitude: NDArray[np.float64]) -> tuple[tuple[str, ...], NDArray[np.int32]]:
    """Nodes named by their place, `56.15644,10.16251`, and the node of each row; -1 where a coordinate is missing."""
    places = np.round(np.stack([latitude, longitude], axis=1), 5) + 0.0
    known = np.isfinite(places).all(axis=1)
    found, node = np.unique(places[known], axis=0, return_inverse=True)
    codes = np.full(len(places), -1, np.int32)
    codes[known] = node.reshape(-1)
    return tuple(f"{y:.5f},{x:.5f}" for y, x in found.tolist()), codes


def parse_places(source: Source, parts: Mapping[str, bytes]) -> NodeSet:
    """The places in a node table, in the order of the file, with the links of the matrix that comes with it.

    Raises:
        ContractError: One of them cannot be read as a whole, or a row of it cannot, or they do not belong together.
    """
    (file, packed), *matrix = parts.items()
    nodes = _table(source, file, packed)
    return replace(nodes, links=parse_links(nodes.ids, *matrix[0])) if matrix else nodes


def _table(source: Source, file: str, packed: bytes) -> NodeSet:
    if source.nodes is None:
        raise ContractError(asked=f"read node table {file}", found="a source without [nodes]", mend="describe its columns in nodes = { … }")
    table = source.nodes
    ends = [c for c in (table.latitude_end, table.longitude_end) if c is not None]
    numbers = [table.latitude, table.longitude, *ends]
    kinds: dict[str, Kind] = {table.id: "text"} if table.id else {}
    kinds.update(dict.fromkeys(numbers, "number"))
    encoding, data = readable(table.encoding, unpacked(packed, file), file)
    found = read_columns(data, kinds, Dialect(separator=table.separator, decimal=table.decimal, encoding=encoding), file)
    if len(found.rejected):
        first = found.rejected
        raise ContractError(asked=f"row {first.row[0]} of node table {file}", found=first.reason[0], mend="mend that row")
    if not table.id:
        ids, row = placed_nodes(*(found.columns[n] for n in numbers[:2]))
        once = np.unique(row, return_index=True)[1]
        where = np.stack([found.columns[n][once] for n in numbers[:2]], axis=1)[row[once] >= 0]
        return NodeSet(ids=ids, latitude=where[:, 0], longitude=east(where[:, 1]))
    ids = tuple(pa.array(found.columns[table.id]).cast(pa.string()).to_pylist())
    places = np.stack([found.columns[n] for n in numbers], axis=1)
    places[:, 1::2] = east(places[:, 1::2])  # before they are halved: a segment may cross the meridian of Greenwich
    if len(set(ids)) < len(ids) or None in ids:
        raise ContractError(asked=f"node table {file}", found="a node without id, or twice", mend="mend the table")
    if len(numbers) == 2:
        return NodeSet(ids=ids, latitude=places[:, 0], longitude=places[:, 1])
    middle = (places[:, :2] + places[:, 2:]) / 2
    return NodeSet(ids=ids, latitude=middle[:, 0], longitude=middle[:, 1], ends=places)

"""NodeSets: stable order, so that a node keeps its index for ever."""

from __future__ import annotations

from collections.abc import Iterable
from functools import reduce
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.contracts.nodes import NodeSet, links_among
from pipeline.errors import ContractError


def observed_nodes(ids: Iterable[str]) -> NodeSet:
    """Nodes whose places are unknown, sorted by identity."""
    names = tuple(sorted(set(ids)))
    return NodeSet(ids=names, latitude=np.full(len(names), np.nan), longitude=np.full(len(names), np.nan))


def extend_nodes(known: NodeSet | None, found: NodeSet) -> NodeSet:
    """Known nodes in their order, then those newly found in theirs; a place or links found now stand over those known before.

    Raises:
        ContractError: The nodes are cells of a grid, and not the same cells.
    """
    if known is None:
        return found
    if known.shape != found.shape or (known.shape is not None and known.ids != found.ids):
        raise ContractError(
            asked=f"a grid of shape {found.shape}",
            found=f"the cube's has shape {known.shape} or other cells",
            mend="give the new grid a domain of its own",
        )
    held = set(known.ids)
    ids = known.ids + tuple(i for i in found.ids if i not in held)
    ends = None if known.ends is None and found.ends is None else _place(ids, known, found, "ends")
    latitude, longitude = _place(ids, known, found, "latitude"), _place(ids, known, found, "longitude")
    links = found.links or known.links
    return NodeSet(ids=ids, latitude=latitude, longitude=longitude, shape=known.shape, ends=ends, links=links)


def merge_nodes(parts: Iterable[NodeSet]) -> NodeSet:
    """The nodes of several sources of one domain, in order of first mention; sources without any say nothing."""
    found = [part for part in parts if len(part)]
    return reduce(extend_nodes, found) if found else observed_nodes(())


def _place(ids: tuple[str, ...], known: NodeSet, found: NodeSet, field: Literal["latitude", "longitude", "ends"]) -> NDArray[np.float64]:
    index = {name: k for k, name in enumerate(ids)}
    place = np.full((len(ids), 4) if field == "ends" else len(ids), np.nan)
    for nodes in (known, found):
        values = getattr(nodes, field)
        if values is not None:
            here = np.array([index[i] for i in nodes.ids], np.int64)
            place[here] = np.where(np.isnan(values), place[here], values)
    return place


def grid_nodes(nodes: NodeSet) -> NodeSet:
    """The same nodes as cells of a grid, rows from north to south and columns from west to east.

    Raises:
        ContractError: The places do not fill a rectangle of latitudes and longitudes.
    """
    if nodes.shape is not None:
        return nodes
    rows, columns = len(np.unique(nodes.latitude)), len(np.unique(nodes.longitude))
    if rows * columns != len(nodes) or np.isnan(nodes.latitude).any():
        raise ContractError(
            asked="a domain of kind 'grid'",
            found=f"{len(nodes)} places on {rows} latitudes x {columns} longitudes",
            mend="list every cell of the rectangle in the source's nodes, or use kind = 'node'",
        )
    order = np.lexsort((nodes.longitude, -nodes.latitude))
    return select_nodes(nodes, order, shape=(rows, columns))


def select_nodes(nodes: NodeSet, index: NDArray[np.int64], *, shape: tuple[int, int] | None = None) -> NodeSet:
    """The nodes at these indices, in this order."""
    return NodeSet(
        ids=tuple(nodes.ids[i] for i in index),
        latitude=nodes.latitude[index],
        longitude=nodes.longitude[index],
        shape=shape,
        ends=None if nodes.ends is None else nodes.ends[index],
        links=links_among(nodes.links, [nodes.ids[i] for i in index]),
    )

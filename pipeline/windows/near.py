"""Which nodes of the other domains lie nearest to each node of a domain. Shape suffixes: N node, J neighbour."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from pipeline.alignment.graph import metres_of, unit_vectors
from pipeline.contracts.nodes import NodeSet

MOST = 4
_LEAST_METRES = 100.0

Neighbours = tuple[NDArray[np.int32], NDArray[np.float32]]


def neighbours(places: Mapping[str, NodeSet], name: str) -> dict[str, Neighbours]:
    """By other domain the (N, J) nearest of its nodes, J at most `MOST`, and weights that add up to 1, by the inverse square of distance.

    A node that lies nowhere has weights of 0; a domain is left out where none of its nodes, or none of this one's, lies anywhere.
    """
    here = _placed(places[name])
    found = {other: _nearest(places[name], here, there, _placed(there)) for other, there in places.items() if other != name and len(here)}
    return {other: pair for other, pair in found.items() if pair is not None}


def _placed(nodes: NodeSet) -> NDArray[np.int64]:
    return np.flatnonzero(np.isfinite(nodes.latitude) & np.isfinite(nodes.longitude))


def _nearest(nodes: NodeSet, here: NDArray[np.int64], others: NodeSet, there: NDArray[np.int64]) -> Neighbours | None:
    from scipy.spatial import cKDTree

    if not len(there):
        return None
    count = min(MOST, len(there))
    tree = cKDTree(unit_vectors(others.latitude[there], others.longitude[there]))
    chord, index = tree.query(unit_vectors(nodes.latitude[here], nodes.longitude[here]), k=range(1, count + 1))
    weight = np.maximum(metres_of(np.asarray(chord)), _LEAST_METRES) ** -2
    place_NJ, weight_NJ = np.zeros((len(nodes.ids), count), np.int32), np.zeros((len(nodes.ids), count), np.float32)
    place_NJ[here], weight_NJ[here] = there[np.asarray(index)], weight / weight.sum(1, keepdims=True)
    return place_NJ, weight_NJ

"""Values at places brought to nodes: by name, by the nearest places, or from the only one."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.alignment.graph import metres_of, unit_vectors
from pipeline.contracts.nodes import NodeSet

_LEAST_METRES = 1.0


def place_weights(nodes: NodeSet, places: NodeSet, present: NDArray[np.bool_], neighbours: int) -> Any:
    """Sparse (node, place) weights, each row by itself; only places that are `present` count.

    A node takes the place of its name where there is one, else its `neighbours` nearest by inverse distance. Where no
    distance is known it takes the only place that is present, or nothing.
    """
    from scipy import sparse

    found = np.flatnonzero(present)
    index = {places.ids[p]: int(p) for p in found}
    named = np.array([index.get(name, -1) for name in nodes.ids], np.int64)
    row, column, weight = [np.flatnonzero(named >= 0)], [named[named >= 0]], [np.ones(int((named >= 0).sum()))]
    placed = found[np.isfinite(places.latitude[found]) & np.isfinite(places.longitude[found])]
    near = np.flatnonzero((named < 0) & np.isfinite(nodes.latitude) & np.isfinite(nodes.longitude))
    if len(placed) and len(near):
        nearest, metres = _nearest(nodes, near, places, placed, neighbours)
        row.append(np.repeat(near, nearest.shape[1]))
        column.append(nearest.reshape(-1))
        weight.append((1 / np.maximum(metres, _LEAST_METRES)).reshape(-1))
    elif len(found) == 1:
        rest = np.flatnonzero(named < 0)
        row.append(rest)
        column.append(np.full(len(rest), found[0]))
        weight.append(np.ones(len(rest)))
    content = (np.concatenate(weight), (np.concatenate(row), np.concatenate(column)))
    return sparse.csr_matrix(content, shape=(len(nodes), len(places)))


def sampled(weights: Any, values_PK: NDArray[np.float32], good_PK: NDArray[np.bool_]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """(node, K) weighted means of the good values, and where there is one; 0 where there is none."""
    total = weights @ np.where(good_PK, values_PK, 0).astype(np.float64)
    share = weights @ good_PK.astype(np.float64)
    good: NDArray[np.bool_] = np.asarray(share > 0)
    return np.divide(total, share, out=np.zeros_like(total), where=good).astype(np.float32), good


def _nearest(
    nodes: NodeSet, rows: NDArray[np.int64], places: NodeSet, placed: NDArray[np.int64], neighbours: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """(row, k) places nearest to each of these nodes, and how far they are."""
    from scipy.spatial import cKDTree

    tree = cKDTree(unit_vectors(places.latitude[placed], places.longitude[placed]))
    points = unit_vectors(nodes.latitude[rows], nodes.longitude[rows])
    chord, found = tree.query(points, k=range(1, min(neighbours, len(placed)) + 1))
    return placed[np.asarray(found)], metres_of(np.asarray(chord))

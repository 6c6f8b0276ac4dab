"""Neighbours: by great-circle distance, or because two segments share an end."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from pipeline.contracts.nodes import NodeSet
from pipeline.contracts.worlds import Graph

EARTH_RADIUS_M = 6_371_008.8
"""Mean radius. Source: IUGG."""

_SAME_END_M = 30.0


@lru_cache(maxsize=32)
def edges(nodes: NodeSet, graph: Graph) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Edges (2, edge) from source to target and weights in (0, 1], sorted by target, then nearness; no self edges.

    Each node with a known place has its `neighbours` nearest as sources, weighted by a Gaussian of the distance whose
    width is the mean distance. With `shared_ends` those that share an end come first, with weight 1. With `matrix` the sources
    are those with the greatest weights that it gives, which are scaled where one is above 1.
    """
    if graph.kind == "matrix":
        return _given(nodes, graph.neighbours)
    placed = np.flatnonzero(~np.isnan(nodes.latitude) & ~np.isnan(nodes.longitude))
    count = min(graph.neighbours, len(placed) - 1)
    if graph.kind == "none" or count < 1:
        return np.zeros((2, 0), np.int32), np.zeros(0, np.float32)
    points = unit_vectors(nodes.latitude[placed], nodes.longitude[placed])
    source, target, metres = _nearest(points, count)
    width = max(float(metres.mean()), 1.0)
    weight = np.maximum(np.exp(-((metres / width) ** 2)), 1e-6)
    if graph.kind == "shared_ends" and nodes.ends is not None:
        source, target, weight = _prefer(_shared(nodes.ends[placed]), source, target, weight, count)
    return np.stack([placed[source], placed[target]]).astype(np.int32), weight.astype(np.float32)


def _given(nodes: NodeSet, count: int) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    place = {name: k for k, name in enumerate(nodes.ids)}
    known = [(place[s], place[t], w) for s, t, w in nodes.links if s != t and s in place and t in place and w > 0]
    if not known:
        return np.zeros((2, 0), np.int32), np.zeros(0, np.float32)
    columns = np.array(known, np.float64)
    source, target, weight = columns[:, 0].astype(np.int64), columns[:, 1].astype(np.int64), columns[:, 2]
    order = np.lexsort((source, -weight, target))
    source, target, weight = source[order], target[order], weight[order] / max(float(weight.max()), 1.0)
    keep = np.arange(len(target)) - np.searchsorted(target, target, side="left") < count
    return np.stack([source[keep], target[keep]]).astype(np.int32), np.maximum(weight[keep], 1e-6).astype(np.float32)


def unit_vectors(latitude: NDArray[np.float64], longitude: NDArray[np.float64]) -> NDArray[np.float64]:
    """(place, 3) points on a sphere of radius 1."""
    phi, lam = np.radians(latitude), np.radians(longitude)
    return np.stack([np.cos(phi) * np.cos(lam), np.cos(phi) * np.sin(lam), np.sin(phi)], axis=1)


def metres_of(chord: NDArray[np.float64]) -> NDArray[np.float64]:
    """Great-circle distances of chords of that sphere."""
    return np.asarray(2 * EARTH_RADIUS_M * np.arcsin(np.clip(chord / 2, 0, 1)))


def _nearest(points: NDArray[np.float64], count: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Triples (source, target, metres), `count` per target; equal distances in order of index."""
    from scipy.spatial import cKDTree

    found = cKDTree(points).query(points, k=min(count + 2, len(points)))
    chord, index = np.asarray(found[0]), np.asarray(found[1])
    target = np.repeat(np.arange(len(points)), index.shape[1])
    flat, far = index.reshape(-1), np.round(metres_of(chord.reshape(-1)), 3)
    other = flat != target
    flat, target, far = flat[other], target[other], far[other]
    order = np.lexsort((flat, far, target))
    flat, target, far = flat[order], target[order], far[order]
    rank = np.arange(len(target)) - np.searchsorted(target, target, side="left")
    keep = rank < count
    return flat[keep], target[keep], far[keep]


def _shared(ends: NDArray[np.float64]) -> NDArray[np.int64]:
    """Pairs (pair, 2) of segments, both directions, of which an end lies within 30 m of an end of the other."""
    from scipy.spatial import cKDTree

    known = np.flatnonzero(~np.isnan(ends).any(axis=1))
    points = unit_vectors(ends[known][:, [0, 2]].reshape(-1), ends[known][:, [1, 3]].reshape(-1))
    pairs = cKDTree(points).query_pairs(_SAME_END_M / EARTH_RADIUS_M, output_type="ndarray")
    segments = known[pairs // 2]
    segments = segments[segments[:, 0] != segments[:, 1]]
    return np.unique(np.concatenate([segments, segments[:, ::-1]]), axis=0)


def _prefer(
    shared: NDArray[np.int64], source: NDArray[np.int64], target: NDArray[np.int64], weight: NDArray[np.float64], count: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Shared ends first (weight 1, all of them), then the nearest others up to `count` per target."""
    size = int(max(target.max(), shared.max(initial=0))) + 1
    fresh = ~np.isin(target * size + source, shared[:, 1] * size + shared[:, 0])
    all_source = np.concatenate([shared[:, 0], source[fresh]])
    all_target = np.concatenate([shared[:, 1], target[fresh]])
    all_weight = np.concatenate([np.ones(len(shared)), weight[fresh]])
    first = np.concatenate([np.zeros(len(shared)), np.ones(int(fresh.sum()))])
    order = np.lexsort((all_source, -all_weight, first, all_target))
    all_source, all_target, all_weight, first = all_source[order], all_target[order], all_weight[order], first[order]
    rank = np.arange(len(all_target)) - np.searchsorted(all_target, all_target, side="left")
    keep = (rank < count) | (first == 0)
    return all_source[keep], all_target[keep], all_weight[keep]

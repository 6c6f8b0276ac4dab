"""Documents as windows see them, and which places speak to which nodes. D document, P place, E link."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.alignment.graph import EARTH_RADIUS_M, metres_of, unit_vectors
from pipeline.contracts.cubes import TextCube
from pipeline.contracts.modalities import TextLink, TextStream
from pipeline.contracts.nodes import NodeSet
from pipeline.contracts.windows import DomainWindows, Texts


def build_texts(
    stream: TextStream,
    cube: TextCube | None,
    nodes: dict[str, NodeSet],
    windows: dict[str, DomainWindows],
    as_of: int,
    since: int | None = None,
) -> Texts:
    """The documents that any window that is asked for may see.

    Args:
        stream: What the world says of them.
        cube: Them, as of the cut-off or later; None where there is none yet.
        nodes: Per domain.
        windows: Per domain.
        as_of: The cut-off, seconds UTC.
        since: Windows issued before it (seconds UTC) are not asked for.
    """
    reach = int(stream.reach.total_seconds())
    first = min((int(d.issue_time_W[0]) for d in windows.values() if len(d.issue_time_W)), default=as_of)
    first = first if since is None else max(first, since)
    known = cube or _no_documents()
    begin = int(np.searchsorted(known.available_time_D, first - reach, side="right"))
    end = int(np.searchsorted(known.available_time_D, as_of, side="right"))
    places, place = _used(known.places, known.place_D[begin:end])
    start = known.token_start_D[begin : end + 1]
    found = {name: _links(nodes[name], places, link) for name, link in stream.links.items() if name in windows}
    return Texts(
        reach=reach,
        buckets=stream.buckets,
        place_ids=places.ids,
        available_time_D=known.available_time_D[begin:end],
        valid_time_D=known.valid_time_D[begin:end],
        place_D=place,
        token_start_D=start - start[0],
        token=known.token[start[0] : start[-1]],
        links=found,
        vector_DW=known.vector_DW[begin:end],
    )


def _no_documents() -> TextCube:
    none = np.zeros(0, np.int64)
    return TextCube(
        stream="",
        as_of=0,
        snapshot="",
        places=NodeSet(ids=(), latitude=np.zeros(0), longitude=np.zeros(0)),
        available_time_D=none,
        valid_time_D=none,
        place_D=none.astype(np.int32),
        token_start_D=np.zeros(1, np.int64),
        token=none.astype(np.int32),
    )


def _used(places: NodeSet, place_D: NDArray[np.int32]) -> tuple[NodeSet, NDArray[np.int32]]:
    """The places that documents are about, and each document's among them."""
    used, place = np.unique(place_D, return_inverse=True)
    kept = NodeSet(ids=tuple(places.ids[p] for p in used.tolist()), latitude=places.latitude[used], longitude=places.longitude[used])
    return kept, place.reshape(-1).astype(np.int32)


def _links(nodes: NodeSet, places: NodeSet, link: TextLink) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Pairs (node, place), sorted, and weights: 1 for a place of the node's name, else exp(-(distance / (metres / 2))^2)."""
    if link.by == "id":
        index = {name: p for p, name in enumerate(places.ids)}
        pairs = np.array([(n, index[name]) for n, name in enumerate(nodes.ids) if name in index], np.int32).reshape(-1, 2)
        return np.ascontiguousarray(pairs.T), np.ones(len(pairs), np.float32)
    node, place, metres = _near(nodes, places, link.metres)
    weight = np.exp(-((metres / (link.metres / 2)) ** 2)).astype(np.float32)
    order = np.lexsort((place, node))
    return np.stack([node[order], place[order]]).astype(np.int32), weight[order]


def _near(nodes: NodeSet, places: NodeSet, metres: float) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """All pairs of a node and a place no more than `metres` apart, and how far they are."""
    from scipy.spatial import cKDTree

    here, there = (np.flatnonzero(np.isfinite(p.latitude) & np.isfinite(p.longitude)) for p in (nodes, places))
    none = np.zeros(0, np.int64)
    if not len(here) or not len(there):
        return none, none, np.zeros(0)
    trees = [cKDTree(unit_vectors(p.latitude[k], p.longitude[k])) for p, k in ((nodes, here), (places, there))]
    chord = 2 * np.sin(min(metres / EARTH_RADIUS_M, np.pi) / 2)
    found = trees[0].sparse_distance_matrix(trees[1], chord, output_type="ndarray")
    return here[found["i"]], there[found["j"]], metres_of(found["v"])

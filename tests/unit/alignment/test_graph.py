import numpy as np

from pipeline.alignment.graph import edges
from pipeline.contracts.nodes import NodeSet
from pipeline.contracts.worlds import Graph


def line(longitudes: list[float], ends: np.ndarray | None = None) -> NodeSet:
    count = len(longitudes)
    return NodeSet(ids=tuple(map(str, range(count))), latitude=np.full(count, 56.0), longitude=np.array(longitudes), ends=ends)


def test_each_node_has_its_nearest_as_sources_and_never_itself() -> None:
    pairs, weight = edges(line([10.0, 10.01, 10.03, 10.07]), Graph(kind="distance", neighbours=2))
    assert [tuple(p) for p in pairs.T] == [(1, 0), (2, 0), (0, 1), (2, 1), (1, 2), (0, 2), (2, 3), (1, 3)]
    assert ((weight > 0) & (weight <= 1)).all()
    assert weight[0] > weight[1]


def test_nodes_without_a_place_have_no_edges() -> None:
    pairs, _ = edges(line([10.0, np.nan, 10.1]), Graph(kind="distance", neighbours=5))
    assert sorted(tuple(p) for p in pairs.T) == [(0, 2), (2, 0)]


def test_a_graph_of_kind_none_or_of_one_node_is_empty() -> None:
    assert edges(line([10.0, 10.1]), Graph(kind="none"))[0].shape == (2, 0)
    assert edges(line([10.0]), Graph())[0].shape == (2, 0)


def test_nodes_at_the_same_place_are_neighbours_not_themselves() -> None:
    pairs, _ = edges(line([10.0, 10.0, 10.0]), Graph(kind="distance", neighbours=2))
    assert (pairs[0] != pairs[1]).all()
    assert pairs.shape == (2, 6)


def test_segments_that_share_an_end_come_first_with_weight_one() -> None:
    ends = np.array([[56, 10.0, 56, 10.1], [56, 10.1001, 56, 10.5], [56, 9.99, 56, 9.999], [56, 10.5, 56, 10.0]])
    pairs, weight = edges(line([10.0, 10.1, 9.99, 10.5], ends), Graph(kind="shared_ends", neighbours=3))
    shared = {tuple(p) for p in pairs.T[weight == 1]}
    assert {(0, 1), (1, 0), (1, 3), (3, 1), (0, 3), (3, 0)} <= shared
    assert (2, 0) in {tuple(p) for p in pairs.T}
    assert (2, 0) not in shared

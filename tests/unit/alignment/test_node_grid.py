import numpy as np
import pytest

from pipeline.alignment.node_grid import extend_nodes, grid_nodes, merge_nodes, observed_nodes
from pipeline.contracts.nodes import NodeSet
from pipeline.errors import ContractError


def placed(ids: str, latitude: list[float], longitude: list[float]) -> NodeSet:
    return NodeSet(ids=tuple(ids), latitude=np.array(latitude), longitude=np.array(longitude))


def test_known_nodes_keep_their_index_and_new_ones_come_last() -> None:
    found = extend_nodes(observed_nodes("bd"), placed("abc", [1, 2, 3], [4, 5, 6]))
    assert found.ids == ("b", "d", "a", "c")
    np.testing.assert_array_equal(found.latitude, [2, np.nan, 1, 3])


def test_a_place_once_known_is_not_forgotten() -> None:
    found = extend_nodes(placed("ab", [1, 2], [3, 4]), observed_nodes("ab"))
    np.testing.assert_array_equal(found.latitude, [1, 2])


def test_sources_of_one_domain_share_their_nodes() -> None:
    assert merge_nodes([observed_nodes("ab"), observed_nodes("bc")]).ids == ("a", "b", "c")
    grid = grid_nodes(placed("abcd", [1, 2, 1, 2], [5, 5, 6, 6]))
    assert merge_nodes([observed_nodes(()), grid, grid]).shape == (2, 2)
    assert len(merge_nodes([observed_nodes(())])) == 0


def test_a_grid_runs_from_north_to_south_and_west_to_east() -> None:
    grid = grid_nodes(placed("abcd", [1, 2, 1, 2], [5, 5, 6, 6]))
    assert (grid.ids, grid.shape) == (("b", "d", "a", "c"), (2, 2))


def test_a_grid_with_a_hole_is_refused() -> None:
    with pytest.raises(ContractError, match="list every cell"):
        grid_nodes(placed("abc", [1, 2, 1], [5, 5, 6]))


def test_a_grid_whose_cells_change_is_refused() -> None:
    grid = grid_nodes(placed("abcd", [1, 2, 1, 2], [5, 5, 6, 6]))
    with pytest.raises(ContractError, match="a domain of its own"):
        extend_nodes(grid, grid_nodes(placed("ab", [1, 2], [5, 5])))

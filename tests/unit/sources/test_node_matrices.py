"""A given matrix as the graph of a domain, from its file to the edges that a model sees."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.alignment.as_of import take_nodes
from pipeline.alignment.graph import edges
from pipeline.alignment.node_grid import extend_nodes, observed_nodes
from pipeline.contracts.nodes import NodeSet
from pipeline.contracts.world_files import load_world, parse_world
from pipeline.contracts.worlds import Graph
from pipeline.errors import ConfigError, ContractError
from pipeline.sources.csv import CsvAdapter
from pipeline.sources.node_matrices import parse_links
from pipeline.stores.observation_tables import places_from, places_json
from tests.unit.sources.made import source

IDS = ("a", "b", "c")
BARE = b"1,0.5,0\n0.25,1,0\n0,2,0\n"
NAMED = b"node,c,b,a\na,0,0.5,1\nc,0,2,0\nb,0,1,0.25\n"
LINKS = {("b", "a", 0.5), ("a", "b", 0.25), ("b", "c", 2.0), ("a", "a", 1.0), ("b", "b", 1.0)}


def nodes(links: bytes = BARE, ids: tuple[str, ...] = IDS) -> NodeSet:
    count = np.zeros(len(ids))
    return NodeSet(ids=ids, latitude=count, longitude=count, links=parse_links(ids, "m.csv", links))


@pytest.mark.parametrize("data", [BARE, NAMED], ids=["in the order of the table", "with identities"])
def test_each_row_holds_the_weights_of_a_nodes_sources(data: bytes) -> None:
    assert set(parse_links(IDS, "m.csv", data)) == LINKS


def test_the_strongest_sources_become_edges_without_self_edges() -> None:
    pairs, weight = edges(nodes(), Graph(kind="matrix", neighbours=8))
    assert pairs.tolist() == [[1, 0, 1], [0, 1, 2]]
    assert weight.tolist() == [0.25, 0.125, 1.0]
    crowded = nodes(b"0,3,1\n0,0,0\n0,0,0\n")
    assert edges(crowded, Graph(kind="matrix", neighbours=1))[0].tolist() == [[1], [0]]
    assert edges(observed_nodes(IDS), Graph(kind="matrix"))[0].shape == (2, 0)


def test_links_follow_their_nodes_and_say_nothing_of_others() -> None:
    few = take_nodes(nodes(), np.array([2, 1]))
    assert set(few.links) == {("b", "c", 2.0), ("b", "b", 1.0)}
    assert edges(few, Graph(kind="matrix"))[0].tolist() == [[1], [0]]
    assert few.digest != take_nodes(nodes(b"1,0.5,0\n0.25,1,0\n0,3,0\n"), np.array([2, 1])).digest
    grown = extend_nodes(observed_nodes(("c",)), nodes())
    assert grown.ids == ("c", "a", "b")
    assert set(grown.links) == LINKS
    assert set(places_from(__import__("json").loads(places_json(nodes()))).links) == LINKS


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"1,0\n0,1\n", "2 x 2 weights"),
        (b"1,0,0\n0,1,0\n", "2 x 3 weights"),
        (b"node,a,b,x\na,0,0,0\nb,0,0,0\nc,0,0,0\n", "of 'x'"),
        (b"node,a,b,b\na,0,0,0\nb,0,0,0\nc,0,0,0\n", "3 x 3"),
        (b"1,0,0\n0,-1,0\n0,0,1\n", "row 2, column 2"),
        (b"1,0,nan\n0,1,0\n0,0,1\n", "row 1, column 3"),
        (b"1,0,0\n0,x,0\n0,0,1\n", "no whole matrix"),
        (b"1,0,0\n0,1\n0,0,1\n", "no whole matrix"),
        (b"", "m.csv: 0 bytes"),
        (b"\xff\xfe\x00", "matrix m.csv"),
    ],
)
def test_a_matrix_that_is_none_or_of_other_nodes_is_refused(data: bytes, words: str) -> None:
    with pytest.raises(ContractError, match=words):
        parse_links(IDS, "m.csv", data)


def test_a_table_and_its_matrix_are_one_delivery_that_gives_places_and_links() -> None:
    made = source("csv", {"time": "t", "node": "x"}, nodes={"location": "data://n.csv", "matrix": "data://m.csv"})
    found = CsvAdapter().parse_places(made, {"n.csv": b"id,latitude,longitude\na,1,2\nb,3,4\nc,5,6\n", "m.csv": BARE})
    assert (found.ids, set(found.links)) == (IDS, LINKS)


def test_a_domain_that_wants_a_matrix_needs_a_source_that_has_one() -> None:
    from pipeline.contracts.world_files import worlds_folder

    text = (worlds_folder() / "los_loop.toml").read_text(encoding="utf-8")
    assert load_world("los_loop").domains["traffic"].graph.kind == "matrix"
    with pytest.raises(ConfigError, match=r"domains\.traffic\.graph\.kind = 'matrix': none of its sources has one"):
        parse_world("\n".join(line for line in text.splitlines() if not line.startswith("matrix")), "los_loop.toml")

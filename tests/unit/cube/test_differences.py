from dataclasses import replace
from typing import Any

import numpy as np

from pipeline.contracts.cubes import Revisions
from pipeline.contracts.nodes import NodeSet
from pipeline.cube.differences import DomainBook, chunk_span, differences


def nodes(*ids: str) -> NodeSet:
    return NodeSet(ids=ids, latitude=np.zeros(len(ids)), longitude=np.zeros(len(ids)))


def revisions(*records: tuple[int, int, float]) -> Revisions:
    count = len(records)
    return Revisions(
        step=np.array([r[0] for r in records], np.int32),
        node=np.array([r[1] for r in records], np.int32),
        variable=np.zeros(count, np.int16),
        value=np.array([r[2] for r in records], np.float32),
        flag=np.zeros(count, np.uint16),
        available_time=np.full(count, 5, np.int64),
        superseded_time=np.full(count, 9, np.int64),
    )


def book(steps: int = 6, **more: Any) -> DomainBook:
    digests = np.arange(-(-steps // 3), dtype=np.uint8)[:, None].repeat(32, axis=1)
    made = DomainBook(
        title="A",
        valid_time=np.arange(steps) * 60,
        nodes=nodes("a", "b"),
        variables=("v",),
        chunk_steps=3,
        recipe="r",
        chunk_digests=digests,
        revisions=revisions((0, 0, np.nan), (4, 1, 2.0)),
        attributes={},
    )
    return replace(made, **more)


def test_a_book_does_not_differ_from_itself() -> None:
    assert differences(book(), book()).is_none


def test_an_append_adds_steps_and_chunks_alone() -> None:
    change = differences(book(), book(8))
    assert (change.steps_added, change.chunks_added, change.chunks_changed) == ((360, 420), (2,), ())
    back = differences(book(8), book())
    assert (back.steps_gone, back.chunks_gone) == ((360, 420), 1)


def test_a_chunk_of_another_digest_is_changed_and_has_a_span() -> None:
    changed = book().chunk_digests.copy()
    changed[1, 31] += 1
    assert differences(book(), book(chunk_digests=changed)).chunks_changed == (1,)
    assert chunk_span(book(8), 2) == (360, 420)


def test_revisions_are_compared_by_what_they_say_not_by_where_they_stand() -> None:
    moved = book(nodes=nodes("b", "a"), revisions=revisions((0, 1, np.nan), (4, 0, 2.0)))
    change = differences(book(), moved)
    assert (change.revisions_added, change.revisions_gone) == (0, 0)
    assert change.chunks_changed == (0, 1)  # other columns
    more = differences(book(), book(revisions=revisions((0, 0, np.nan), (4, 1, 3.0), (5, 1, 3.0))))
    assert (more.revisions_added, more.revisions_gone) == (2, 1)


def test_another_recipe_is_a_rebuild() -> None:
    assert differences(book(), book(recipe="s")).rebuilt
    assert differences(book(), book(variables=("w",))).variables_added == ("w",)

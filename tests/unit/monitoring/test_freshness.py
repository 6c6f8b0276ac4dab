from __future__ import annotations

import numpy as np

from pipeline.contracts.cubes import DomainCube, Revisions
from pipeline.contracts.nodes import NodeSet
from pipeline.monitoring.freshness import freshness, inputs


def _cube(values: list[list[float]], flags: list[list[int]] | None = None) -> DomainCube:
    array = np.array(values, np.float32)[..., None]
    nodes = array.shape[1]
    return DomainCube(
        domain="road",
        as_of=3600,
        snapshot="S",
        valid_time=np.arange(1, len(array) + 1, dtype=np.int64) * 600,
        nodes=NodeSet(ids=tuple(map(str, range(nodes))), latitude=np.zeros(nodes), longitude=np.zeros(nodes)),
        variables=("flow",),
        units=("1",),
        values_TNV=array,
        flags_TNV=np.zeros(array.shape, np.uint16) if flags is None else np.array(flags, np.uint16)[..., None],
        latency_TNV=np.zeros(array.shape, np.int32),
        revisions=Revisions.empty(),
    )


def test_age_counts_from_the_newest_good_value_and_share_over_the_last_steps() -> None:
    nan = float("nan")
    (found,) = freshness(_cube([[1, 1], [1, nan], [1, nan], [nan, nan]]), as_of=2700, steps=3)
    assert (found.newest_time, found.age_seconds) == (1800, 900)
    assert found.share_present == round(2 / 6, 6)
    assert (found.nodes_present, found.nodes) == (1, 2)


def test_a_flagged_value_is_not_good_and_a_value_of_the_future_does_not_count() -> None:
    (found,) = freshness(_cube([[1.0], [2.0], [3.0]], [[0], [4], [0]]), as_of=1200, steps=2)
    assert (found.newest_time, found.share_present) == (600, 0.5)


def test_a_source_that_never_spoke_has_no_age() -> None:
    rows = freshness(_cube([[float("nan")]]), as_of=600, steps=4)
    assert rows[0].age_seconds is None
    assert inputs({"road": rows})["road"]["age_seconds"] is None
    assert inputs({"road": rows})["road"]["share_present"] == 0

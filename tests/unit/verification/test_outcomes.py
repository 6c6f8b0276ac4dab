from __future__ import annotations

from dataclasses import replace

import numpy as np

from pipeline.contracts.cubes import DomainCube
from pipeline.contracts.nodes import NodeSet
from pipeline.verification.outcomes import Counts, pair
from tests.browser.demo import ISSUE_TIME, demo_page

PAGE = demo_page(nodes={"traffic": 4, "weather": 1, "parking": 2, "market": 2})
FORECAST = PAGE.forecast.domains["parking"]


def _cube(shift: int = 0) -> DomainCube:
    """What came: 1, 2, 3 … by step at all nodes, the axis moved by `shift` seconds."""
    cube = PAGE.cubes["parking"]
    times = FORECAST.valid_time_L + shift
    values = np.broadcast_to(np.arange(1, len(times) + 1, dtype=np.float32)[:, None, None], (len(times), 2, 1)).copy()
    return replace(
        cube, valid_time=times, values_TNV=values, flags_TNV=np.zeros(values.shape, np.uint16), latency_TNV=np.zeros(values.shape, np.int32)
    )


def test_values_are_paired_by_equal_valid_time_and_node_name() -> None:
    cube = _cube()
    turned = replace(cube, nodes=NodeSet(ids=cube.nodes.ids[::-1], latitude=cube.nodes.latitude, longitude=cube.nodes.longitude))
    turned.values_TNV[2, 0, 0] = 99
    found = pair(FORECAST, turned, int(FORECAST.valid_time_L[-1]))
    assert found.values_LNV[2, 1, 0] == 99
    assert found.values_LNV[:, 0, 0].tolist() == [1, 2, 3, 4, 5, 6, 7, 8]
    assert found.counts == Counts(expected=16, observed=16, missing=0, pending=0)


def test_what_is_not_due_is_pending_and_what_is_flagged_is_missing() -> None:
    cube = _cube()
    cube.flags_TNV[0, 0, 0] = 4
    found = pair(FORECAST, cube, int(FORECAST.valid_time_L[2]))
    assert found.counts == Counts(expected=16, observed=5, missing=1, pending=10)
    assert np.isnan(found.values_LNV[0, 0, 0])
    assert np.isnan(found.values_LNV[3:]).all()


def test_a_step_that_only_nearly_fits_is_never_taken() -> None:
    found = pair(FORECAST, _cube(shift=60), ISSUE_TIME + 86400)
    assert found.counts.observed == 0
    assert found.counts.missing == found.counts.expected


def test_without_a_cube_everything_due_is_missing() -> None:
    found = pair(FORECAST, None, int(FORECAST.valid_time_L[0]))
    assert found.counts == Counts(expected=16, observed=0, missing=2, pending=14)

from __future__ import annotations

from zoneinfo import ZoneInfo

import numpy as np
import pytest

from pipeline.contracts.judging import Event
from pipeline.contracts.nodes import NodeSet
from pipeline.contracts.world_files import parse_world
from pipeline.contracts.worlds import Domain
from pipeline.verification.grounds import event_label, grounds_of, hour_label, hours_of, regions_of, weights_of
from tests.unit.contracts.test_worlds import EVENT, GOOD


def _domain(more: str = "", kind: str = "node", step: str = "1h") -> Domain:
    text = GOOD.replace('title = "D"', f'title = "D"\nkind = "{kind}"').replace('"1h"', f'"{step}"')
    return parse_world(text + more, "w.toml").domains["d"]


def _nodes(count: int = 9) -> NodeSet:
    return NodeSet(
        ids=tuple(f"n{i}" for i in range(count)), latitude=np.repeat([1.0, 2, 3], 3)[:count], longitude=np.tile([1.0, 2, 3], 3)[:count]
    )


def test_declared_groups_take_nodes_by_id_and_pattern_the_first_that_fits_and_the_rest() -> None:
    groups = '[domains.d.groups]\nharbour = ["n1", "n2"]\nlow = ["n[0-4]"]\nnone = ["x*"]\n'
    names, code = regions_of(_domain(groups), _nodes())
    assert names == ("harbour", "low", "rest")
    assert [names[c] for c in code] == ["low", "harbour", "harbour", "low", "low", "rest", "rest", "rest", "rest"]


def test_without_declared_groups_the_quadrants_about_the_median_place_are_the_groups() -> None:
    names, code = regions_of(_domain(), _nodes())
    assert names == ("south west", "south east", "north west", "north east")
    assert [names[c] for c in code[[0, 2, 6, 8]]] == list(names)
    placeless = NodeSet(ids=_nodes().ids, latitude=np.array([*_nodes().latitude[:8], np.nan]), longitude=_nodes().longitude)
    assert regions_of(_domain(), placeless)[0][-1] == "unplaced"
    assert regions_of(_domain(), _nodes(5)) == (("all",), pytest.approx(np.zeros(5)))


def test_hours_are_local_across_the_end_of_summer_time_and_absent_where_a_step_is_a_day() -> None:
    zone = ZoneInfo("Europe/Copenhagen")
    night = np.array([[1761433200, 1761440400]])  # 25 October 23:00 and 26 October 01:00 UTC: 01:00 and, set back, 02:00
    assert hours_of(_domain(), night, zone).tolist() == [[0, 0]]
    assert hours_of(_domain(), night + 7200, zone).tolist() == [[0, 1]]
    assert hour_label(1) == "03-06"
    assert hours_of(_domain(step="1d"), night, zone) is None


def test_grids_are_weighted_by_latitude_and_nothing_else_is() -> None:
    weight = weights_of(_domain(kind="grid"), NodeSet(ids=("a", "b"), latitude=np.array([0.0, 60.0]), longitude=np.zeros(2)))
    assert weight is not None
    assert weight == pytest.approx([4 / 3, 2 / 3])
    assert weights_of(_domain(), _nodes()) is None


def test_another_threshold_is_another_event() -> None:
    assert event_label("hot", Event(variable="v", above=30.0), "degC") == "hot above 30 degC"
    found = grounds_of(
        _domain(EVENT),
        _nodes(),
        variables=("v",),
        units=("degC",),
        valid_time_WL=np.zeros((1, 1), np.int64),
        zone=ZoneInfo("UTC"),
        regimes={"availability": np.zeros((1, 9), np.int8)},
        probabilities={"hot": np.ones((1, 1, 9), np.float32)},
    )
    assert list(found.events) == ["hot above 30 degC"]
    assert found.events["hot above 30 degC"].probability_WLN is not None
    assert found.regimes["availability"][0] == ("present", "gappy", "absent")

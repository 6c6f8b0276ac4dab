import math

import numpy as np
import pytest

from pipeline.alignment.aggregate import Cells, Method, Readings, aggregate
from pipeline.contracts.cubes import NEVER

AXIS = np.array([600, 1200, 1800], np.int64)


def cells(
    rows: list[tuple[int, int, int, float, int]], method: Method = "mean", *, latency: int = 0, max_age: int | None = None, nodes: int = 2
) -> Cells:
    """Rows are (node, valid_time, available_time, value, flag)."""
    columns = list(zip(*rows, strict=True)) if rows else [[], [], [], [], []]
    readings = Readings(
        node=np.array(columns[0], np.int32),
        valid_time=np.array(columns[1], np.int64),
        available_time=np.array(columns[2], np.int64),
        value=np.array(columns[3], np.float32),
        flag=np.array(columns[4], np.uint16),
    )
    return aggregate(readings, axis_T=AXIS, edge=0, nodes=nodes, method=method, latency=latency, max_age=max_age)


def test_a_cell_takes_the_readings_after_the_step_before_up_to_its_own_label() -> None:
    found = cells([(0, 600, 600, 1.0, 0), (0, 601, 601, 5.0, 0), (0, 1200, 1200, 7.0, 0), (0, 0, 0, 99.0, 0), (0, 1801, 1801, 99.0, 0)])
    np.testing.assert_array_equal(found.values_TN[:, 0], np.array([1, 6, np.nan], np.float32))
    assert list(found.flags_TN[:, 0]) == [0, 0, 1]
    assert list(found.latency_TN[:, 0]) == [0, 0, NEVER]
    assert len(found.step) == 0


@pytest.mark.parametrize(("method", "value"), [("mean", 3.0), ("sum", 9.0), ("last", 2.0), ("max", 6.0), ("min", 1.0)])
def test_each_aggregate_of_three_readings(method: Method, value: float) -> None:
    rows = [(1, 100, 100, 1.0, 0), (1, 300, 300, 6.0, 0), (1, 500, 500, 2.0, 0)]
    assert cells(rows, method).values_TN[0, 1] == value
    assert cells(rows[::-1], method).values_TN[0, 1] == value


def test_the_first_version_counts_as_known_from_the_declared_latency_on() -> None:
    found = cells([(0, 600, 500, 1.0, 0), (0, 590, 630, 3.0, 0)], latency=60)
    assert found.values_TN[0, 0] == 2.0
    assert found.latency_TN[0, 0] == 60


def test_a_late_reading_makes_a_new_version_that_supersedes_the_first() -> None:
    found = cells([(0, 600, 600, 1.0, 0), (0, 590, 900, 3.0, 0)], latency=60)
    assert (found.values_TN[0, 0], found.latency_TN[0, 0]) == (2.0, 300)
    assert (found.value[0], found.available_time[0], found.superseded_time[0]) == (1.0, 660, 900)


def test_a_revision_replaces_its_reading_inside_the_aggregate() -> None:
    found = cells([(0, 600, 600, 1.0, 0), (0, 590, 600, 3.0, 0), (0, 600, 5000, 5.0, 0)])
    assert found.values_TN[0, 0] == 4.0
    assert list(found.value) == [2.0]


def test_a_revision_to_a_bad_value_takes_the_good_one_away() -> None:
    found = cells([(0, 600, 600, 1.0, 0), (0, 600, 5000, 1.0, 4)])
    assert math.isnan(found.values_TN[0, 0])
    assert (found.flags_TN[0, 0], found.latency_TN[0, 0]) == (4, 4400)
    assert list(found.value) == [1.0]


def test_bad_readings_count_only_where_no_good_one_is_left_and_their_flags_add_up() -> None:
    found = cells([(0, 600, 600, 9.0, 2), (0, 590, 600, 1.0, 0), (1, 600, 600, 9.0, 2), (1, 590, 600, 9.0, 128)])
    assert (found.values_TN[0, 0], found.flags_TN[0, 0]) == (1.0, 0)
    assert math.isnan(found.values_TN[0, 1])
    assert found.flags_TN[0, 1] == 130


def test_a_row_that_delivers_nothing_leaves_the_cell_missing_and_revises_nothing() -> None:
    found = cells([(0, 600, 600, math.nan, 1), (1, 600, 600, 2.0, 0), (1, 600, 900, math.nan, 1)])
    assert list(found.flags_TN[0]) == [1, 0]
    assert found.values_TN[0, 1] == 2.0
    assert len(found.value) == 0


def test_a_version_equal_to_the_one_before_is_no_revision() -> None:
    found = cells([(0, 600, 600, 2.0, 0), (0, 600, 900, 2.0, 0)])
    assert len(found.value) == 0
    assert found.latency_TN[0, 0] == 0


def test_the_last_reading_serves_later_cells_up_to_its_greatest_age() -> None:
    found = cells([(0, 550, 550, 3.0, 0)], "last", max_age=1200)
    np.testing.assert_array_equal(found.values_TN[:, 0], np.array([3, 3, np.nan], np.float32))
    assert list(found.latency_TN[:, 0]) == [0, 0, NEVER]


def test_a_reading_exactly_as_old_as_allowed_no_longer_serves() -> None:
    found = cells([(0, 600, 600, 3.0, 0)], "last", max_age=600)
    np.testing.assert_array_equal(found.values_TN[:, 0], np.array([3, np.nan, np.nan], np.float32))


def test_no_readings_at_all_give_missing_cells() -> None:
    found = cells([])
    assert np.isnan(found.values_TN).all()
    assert (found.flags_TN == 1).all()
    assert (found.latency_TN == NEVER).all()


def test_a_million_single_readings_take_the_fast_way_and_keep_their_values() -> None:
    steps, nodes = 2000, 500
    rng = np.random.default_rng(0)
    values = rng.normal(size=(steps, nodes)).astype(np.float32)
    axis = np.arange(1, steps + 1, dtype=np.int64) * 300
    node = np.tile(np.arange(nodes, dtype=np.int32), steps)
    valid = np.repeat(axis, nodes)
    readings = Readings(
        node=node, valid_time=valid, available_time=valid, value=values.reshape(-1), flag=np.zeros(steps * nodes, np.uint16)
    )
    found = aggregate(readings, axis_T=axis, edge=0, nodes=nodes, method="mean", latency=0)
    np.testing.assert_array_equal(found.values_TN, values)

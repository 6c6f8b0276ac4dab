import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.alignment.node_grid import observed_nodes
from pipeline.cube.plan import DomainPlan, check_plan, choose_chunk_steps, fit_plan, measure_plan, plan_regions, touched_chunks
from pipeline.errors import ConfigError

DAY = 86400


@given(steps=st.integers(1, 5000), chunk=st.integers(1, 400))
def test_every_step_lies_in_exactly_one_region(steps: int, chunk: int) -> None:
    regions = plan_regions("d", steps, chunk, np.arange(-(-steps // chunk)))
    covered = np.concatenate([np.arange(r.start, r.stop) for r in regions])
    np.testing.assert_array_equal(covered, np.arange(steps))
    assert all(r.start % chunk == 0 for r in regions)


@pytest.mark.parametrize(
    ("step", "nodes", "chunk"), [(300, 449, 288), (3600, 1, 768), (1800, 8, 1536), (86400, 489, 256), (300, 1_000_000, 1)]
)
def test_a_chunk_is_about_half_a_mebibyte_in_whole_days_and_a_month_at_most(step: int, nodes: int, chunk: int) -> None:
    assert choose_chunk_steps(step, nodes) == chunk


def test_a_world_may_set_its_own_chunk() -> None:
    assert choose_chunk_steps(300, 449, 12) == 12


@given(stored=st.integers(0, 60), grown=st.integers(0, 20), days=st.sets(st.integers(0, 8)), reach=st.sampled_from([0, 7200, 100000]))
def test_touched_chunks_are_those_of_new_steps_and_of_cells_that_take_readings_of_these_days(
    stored: int, grown: int, days: set[int], reach: int
) -> None:
    axis = np.arange(1, stored + grown + 1) * 10800
    found = touched_chunks(axis, 0, 7, stored_steps=stored, days=[d * DAY for d in days], reach=reach)
    want = set()
    for i, label in enumerate(axis):
        first, last = (label - 10800 + 1 - reach) // DAY, label // DAY
        if (grown and i >= stored // 7 * 7 and i // 7 >= stored // 7) or any(first <= d <= last for d in days):
            want.add(i // 7)
    assert set(found) == want


def plan_of(chunk: int) -> DomainPlan:
    regions = plan_regions("d", 1000, chunk, np.arange(-(-1000 // chunk)))
    nodes = observed_nodes(map(str, range(100)))
    axis = np.arange(1000)
    return DomainPlan(
        domain="d", axis_T=axis, edge=-1, nodes=nodes, variables=("a", "b"), chunk_steps=chunk, chunk_nodes=100, regions=regions
    )


def test_a_plan_above_the_memory_limit_is_refused_with_its_numbers() -> None:
    plan = plan_of(500)
    regions = plan.regions
    size = measure_plan([plan], {regions[0]: 7, regions[1]: 5}, threads=2)
    assert (size.tasks, size.cells, size.rows, size.written_bytes) == (2, 200_000, 12, 2_000_000)
    assert size.peak_bytes > measure_plan([plan], {regions[0]: 7, regions[1]: 5}, threads=1).peak_bytes > 0
    check_plan(size, limit_bytes=size.peak_bytes)
    said = r"2 regions, 200,000 cells from 12 rows, 2 MiB; at its peak \d+ MiB in a process that works on 2 at once: 10 MiB are allowed"
    with pytest.raises(ConfigError, match=said):
        check_plan(size, limit_bytes=10 * 2**20)


def test_one_region_more_than_asked_for_is_begun_where_it_fits_and_no_fewer_where_nothing_does() -> None:
    plan = plan_of(100)
    rows = dict.fromkeys(plan.regions, 5)
    two, three = (measure_plan([plan], rows, threads=n) for n in (2, 3))
    limits = (three.peak_bytes, three.peak_bytes - 1, two.peak_bytes - 1)
    assert [fit_plan([plan], rows, threads=2, spare=1, limit_bytes=limit) for limit in limits] == [three, two, two]
    assert fit_plan([plan], rows, threads=2, spare=0, limit_bytes=three.peak_bytes) == two

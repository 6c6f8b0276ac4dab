"""The status grid: every receipt and every unfinished task in its cell, the most urgent on top."""

import subprocess
import sys

from hypothesis import given
from hypothesis import strategies as st

from pipeline.cockpit.grid import OUTCOMES, STATES, Unfinished, grid, width_for
from pipeline.settings import project_folder
from pipeline.stores.receipts import Summary

HOUR = 3600


def test_neither_the_cockpit_nor_the_command_line_needs_arrays_to_start():
    said = "import sys, pipeline.cockpit.panels, pipeline.__main__; print(sorted({'numpy', 'pandas', 'zarr', 'torch'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", said], capture_output=True, text=True, check=True, cwd=project_folder(), timeout=60)
    assert done.stdout.strip() == "[]"


def done(as_of, step="predict", outcome="done", **more):
    fields = {"key": f"{step}-{as_of}", "source": None, "seconds": 1.0, "recorded_time": "2026-01-01T00:00:00Z", "degraded": False}
    return Summary(**(fields | {"step": step, "as_of": as_of, "outcome": outcome, "attempt": "r:1"} | more))


def task(as_of, state="failed", since="2026-01-02T00:00:00Z", step="predict"):
    return Unfinished(step=step, source=None, as_of=as_of, state=state, since=since, run="r", link="/dags/x")


def outcomes(found, step="predict"):
    return [cell["outcome"] for cell in found["steps"].get(step, [])]


def test_a_cell_shows_the_most_urgent_of_what_it_holds():
    rows = [done(10, outcome="unchanged"), done(20), done(30, degraded=True)]
    found = grid(rows, [], first=0, last=100 * HOUR)
    assert outcomes(found) == ["degraded"]
    assert found["steps"]["predict"][0]["count"] == 3
    assert found["steps"]["predict"][0]["as_of"] == 30


def test_a_failure_is_shown_until_a_later_receipt_makes_it_good():
    failed = task(10)
    assert outcomes(grid([], [failed], first=0, last=100)) == ["failed"]
    assert outcomes(grid([done(10)], [failed], first=0, last=100)) == ["failed"]
    assert outcomes(grid([done(10, recorded_time="2026-01-03T00:00:00Z")], [failed], first=0, last=100)) == ["done"]


def test_every_state_of_a_scheduler_has_its_meaning():
    for state, outcome in STATES.items():
        assert outcomes(grid([], [task(1, state)], first=0, last=100)) == [outcome]
    assert set(STATES.values()) < set(OUTCOMES)


@given(st.lists(st.integers(0, 400 * 24), max_size=50, unique=True), st.integers(1, 400), st.integers(10, 500))
def test_nothing_in_the_span_is_lost_and_nothing_outside_is_shown(hours, days, columns):
    last = days * 24 * HOUR
    found = grid([done(hour * HOUR) for hour in hours], [], first=0, last=last, columns=columns)
    assert sum(cell["count"] for cell in found["steps"].get("predict", [])) == sum(hour * HOUR < last for hour in hours)
    assert all(cell["at"] % found["width"] == 0 for cell in found["steps"].get("predict", []))


def test_columns_are_as_narrow_as_they_fit():
    assert [width_for(days * 86400, 120) for days in (1, 5, 30, 366)] == [900, HOUR, 6 * HOUR, 7 * 86400]

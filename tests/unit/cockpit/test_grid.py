"""The status grid: every receipt and every unfinished task in its cell, the most urgent on top."""

import json
import re
import subprocess
import sys

from hypothesis import given
from hypothesis import strategies as st

from pipeline.api import load_world
from pipeline.cockpit.due import due_in
from pipeline.cockpit.grid import OUTCOMES, ROWS, STATES, Due, Unfinished, grid, most_urgent, width_for
from pipeline.contracts.schedules import Schedule
from pipeline.contracts.times import from_seconds
from pipeline.settings import project_folder
from pipeline.stores.receipts import Summary

HOUR = 3600


def test_neither_the_cockpit_nor_the_command_line_needs_arrays_to_start():
    said = (
        "import sys, pipeline.cockpit.panels, pipeline.command_line; print(sorted({'numpy', 'pandas', 'zarr', 'torch'} & set(sys.modules)))"
    )
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
    assert width_for(3660 * 86400, 120) == 35 * 86400, "ten years"


def test_what_was_done_late_and_what_came_of_old_inputs_are_told_apart():
    within = Due(within={"predict": HOUR})
    on_time, late = done(0, recorded_time="1970-01-01T00:59:00Z"), done(0, recorded_time="1970-01-01T01:00:01Z")
    assert outcomes(grid([on_time], [], first=0, last=100, due=within)) == ["done"]
    assert outcomes(grid([late], [], first=0, last=100, due=within)) == ["late"]
    assert grid([late], [], first=0, last=100, due=within)["steps"]["predict"][0]["after"] == HOUR + 1
    assert outcomes(grid([late], [], first=0, last=100)) == ["done"], "a world that runs when it is asked is never late"
    assert outcomes(grid([done(0, old=True)], [], first=0, last=100)) == ["old"]


def test_a_forecast_that_is_due_and_not_there_has_a_cell_and_one_that_waited_is_there():
    due = Due(issue_times=(0, HOUR, 2 * HOUR))
    found = grid([done(0), done(2 * HOUR + 900)], [], first=0, last=4 * HOUR, due=due)
    assert [(cell["as_of"], cell["outcome"]) for cell in found["steps"]["predict"]] == [
        (0, "done"),
        (HOUR, "absent"),
        (2 * HOUR + 900, "done"),
    ]
    assert outcomes(found, "publish") == ["absent"] * 3


def test_only_what_a_run_did_is_marked_as_its():
    found = grid([done(10, attempt="mine:2"), done(8 * HOUR, attempt="other:1")], [], first=0, last=9 * HOUR, run="mine")
    assert [cell.get("marked", False) for cell in found["steps"]["predict"]] == [True, False]


def test_a_world_is_held_to_its_schedule_from_when_it_began_until_what_may_still_come():
    schedule = Schedule(ingest="*/15 * * * *", issue="0 * * * *", train="0 2 * * *")
    recorded = load_world("synthetic").model_copy(update={"schedule": schedule})
    live = recorded.model_copy(update={"recorded": None})
    found = due_in(live, first=5 * HOUR, last=20 * HOUR, now=from_seconds(10 * HOUR))
    assert found.issue_times == (5 * HOUR, 6 * HOUR, 7 * HOUR), "an hour of patience and two of grace"
    assert found.within["publish"] == 3 * HOUR
    assert due_in(recorded, first=0, last=20 * HOUR, now=from_seconds(10 * HOUR)) == Due()


def test_of_all_steps_the_most_urgent_stands_for_the_world():
    found = grid([done(0), done(0, step="land", degraded=True), done(9 * HOUR)], [], first=0, last=10 * HOUR)
    assert [(cell["step"], cell["outcome"], cell["as_of"]) for cell in most_urgent(found)] == [
        ("land", "degraded", 0),
        ("predict", "done", 9 * HOUR),
    ]


def test_a_task_without_a_row_of_its_own_does_not_colour_the_world():
    around = [task(0, "skipped", step=step) for step in ("approval", "approve", "reject")] + [task(0, step="announce")]
    assert most_urgent(grid([], around, first=0, last=10 * HOUR)) == []
    found = most_urgent(grid([done(0, step="train")], [*around, task(9 * HOUR, step="promote")], first=0, last=10 * HOUR))
    assert [(cell["step"], cell["outcome"]) for cell in found] == [("train", "done"), ("promote", "failed")]


def test_the_page_has_the_rows_that_stand_for_the_world():
    [shown] = re.findall(r"^const STEPS = (\[.*\]);$", (project_folder() / "plugins/cockpit/cockpit.js").read_text(), re.MULTILINE)
    assert tuple(json.loads(shown)) == ROWS

"""The status grid in a terminal."""

from datetime import UTC, datetime, timedelta

from pipeline.api import load_world
from pipeline.cockpit.grid import Unfinished
from pipeline.contracts.times import to_seconds
from pipeline.status_grid import grid_lines, grid_of, pending
from pipeline.stores.objects import ObjectStore
from pipeline.stores.receipts import Receipts

NOON = datetime(2025, 11, 1, 12, tzinfo=UTC)


WORLD = load_world("london")


def save(receipts, step, hours, outcome="done"):
    as_of = NOON + timedelta(hours=hours)
    receipt = {"step": step, "world": "london", "as_of": as_of.isoformat(), "outcome": outcome, "details": {}}
    receipts.save(receipt, as_of=as_of, source=None, recorded_time=as_of, seconds=1.0)


def lines(receipts, **asked):
    return [line.plain for line in grid_lines(grid_of(WORLD.model_copy(update={"schedule": None}), receipts, now=NOON, **asked))]


def test_every_step_is_a_line_over_the_newest_days_that_hold_anything_across_months(tmp_path):
    receipts = Receipts(ObjectStore(str(tmp_path)))
    for hours in (-24, 0, 1, 2):
        save(receipts, "publish", hours)
    save(receipts, "land", 2, "unchanged")
    save(receipts, "land", -24 * 60)
    head, land, publish, legend = lines(receipts, days=2, columns=60)
    assert head == "2025-10-30T14:00:00Z to 2025-11-01T14:00:00Z, a column is 1h"
    assert land.split() == ["land", "·" * 48 + "▒"]
    assert publish.split() == ["publish", "·" * 22 + "█" + "·" * 23 + "███"]
    assert legend.split() == ["█", "done", "▒", "nothing", "to", "do"]


def test_earlier_days_are_shown_up_to_any_instant(tmp_path):
    receipts = Receipts(ObjectStore(str(tmp_path)))
    for hours in (-24 * 500, 0):
        save(receipts, "publish", hours)
    head, publish, _ = lines(receipts, days=1, columns=60, until=NOON - timedelta(days=500) + timedelta(hours=1))
    assert head.startswith("2024-06-19T12:00:00Z to 2024-06-19T12")
    assert "█" in publish


def test_a_world_in_which_nothing_ran_shows_nothing(tmp_path):
    assert lines(Receipts(ObjectStore(str(tmp_path))), days=7) == []


def task(step, hours, state, since="2026-11-01T00:00:00Z"):
    as_of = to_seconds(NOON) + hours * 3600
    return Unfinished(step=step, source=None, as_of=as_of, state=state, since=since, run="r", link=f"/{step}/{hours}")


def test_what_runs_waits_or_failed_is_shown_unless_it_was_made_good_and_the_most_urgent_is_named_first(tmp_path):
    receipts = Receipts(ObjectStore(str(tmp_path)))
    for hours in (0, 1, 2, 3):
        save(receipts, "land", hours)
    save(receipts, "publish", 0)
    tasks = [task("publish", 0, "failed", "2025-01-01T00:00:00Z"), task("publish", 1, "failed"), task("train", 2, "running")]
    tasks += [task("predict", 3, "up_for_retry"), task("publish", 2, "failed")]
    found = grid_of(WORLD.model_copy(update={"schedule": None}), receipts, now=NOON, days=1, columns=60, unfinished=tasks)
    _, _, train, predict, publish, legend = [line.plain for line in grid_lines(found)]
    assert (train.split()[1].strip("·"), predict.split()[1].strip("·"), publish.split()[1].strip("·")) == ("▶", "◌", "█···✖···✖")
    assert "✖ failed" in legend
    assert [cell["link"] for cell in pending(found)] == ["/publish/2", "/publish/1", "/train/2", "/predict/3"]


def test_the_grid_of_a_world_with_a_schedule_ends_now_however_long_ago_anything_came_of_it(tmp_path):
    receipts = Receipts(ObjectStore(str(tmp_path)))
    save(receipts, "publish", 0)
    now = NOON + timedelta(days=5)
    found = grid_of(WORLD, receipts, now=now, days=2)
    assert found["last"] == to_seconds(now) + 1
    assert {cell["outcome"] for cell in found["steps"]["publish"]} == {"absent"}
    failed = task("land", 24 * 5 - 1, "failed")
    assert grid_of(WORLD, receipts, now=now, days=2, unfinished=[failed])["steps"]["land"][0]["outcome"] == "failed"

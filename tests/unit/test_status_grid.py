"""The status grid in a terminal."""

from datetime import UTC, datetime, timedelta

from pipeline.api import load_world
from pipeline.status_grid import grid_lines, grid_of
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

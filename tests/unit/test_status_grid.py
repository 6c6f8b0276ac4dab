"""The status grid in a terminal."""

import io
from datetime import UTC, datetime, timedelta

from pipeline.status_grid import grid_of, show_grid
from pipeline.stores.objects import ObjectStore
from pipeline.stores.receipts import Receipts

NOON = datetime(2025, 11, 1, 12, tzinfo=UTC)


def save(receipts, step, hours, outcome="done"):
    as_of = NOON + timedelta(hours=hours)
    receipt = {"step": step, "world": "tiny", "as_of": as_of.isoformat(), "outcome": outcome, "details": {}}
    receipts.save(receipt, as_of=as_of, source=None, recorded_time=as_of, seconds=1.0)


def test_every_step_is_a_line_over_the_newest_days_that_hold_anything_across_months(tmp_path):
    receipts = Receipts(ObjectStore(str(tmp_path)))
    for hours in (-24, 0, 1, 2):
        save(receipts, "publish", hours)
    save(receipts, "land", 2, "unchanged")
    save(receipts, "land", -24 * 60)
    stream = io.StringIO()
    show_grid(grid_of("tiny", str(tmp_path), days=2, columns=60), stream)
    head, land, publish = stream.getvalue().splitlines()
    assert head.startswith("2025-10-30T14:00:00Z .. 2025-11-01T14:00:00Z, a column is 1h:")
    assert land.split() == ["land", "·" * 48 + "▒"]
    assert publish.split() == ["publish", "·" * 22 + "█" + "·" * 23 + "███"]


def test_a_world_in_which_nothing_ran_shows_nothing(tmp_path):
    stream = io.StringIO()
    show_grid(grid_of("tiny", str(tmp_path), days=7), stream)
    assert stream.getvalue() == ""

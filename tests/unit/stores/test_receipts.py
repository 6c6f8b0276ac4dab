"""Receipts at rest."""

from datetime import timedelta

import pytest

from pipeline.contracts.times import format_instant, parse_instant
from pipeline.stores.objects import ObjectStore
from pipeline.stores.receipts import Receipts

T1, T2, LATER = (parse_instant(f"2025-11-0{day}T00:00Z") for day in (1, 2, 3))


def receipt(step="observe", outcome="done", rows=71):
    return {"step": step, "world": "tiny", "outcome": outcome, "counts": {"rows": rows}, "paths": {}}


@pytest.fixture
def receipts(tmp_path):
    return Receipts(ObjectStore(str(tmp_path)))


def test_a_receipt_lies_under_its_world_its_instant_and_its_step(receipts):
    key = receipts.save(receipt(), as_of=T1, source="roads", recorded_time=LATER, seconds=1.23456)
    assert key == "receipts/tiny/2025-11/20251101T000000Z/observe.roads.json"
    found = receipts.find("tiny", T1, "observe", "roads")
    assert found["receipt"] == receipt()
    assert (found["source"], found["recorded_time"], found["seconds"]) == ("roads", "2025-11-03T00:00:00Z", 1.235)
    assert receipts.find("tiny", T1, "observe") is None


def test_a_path_is_kept_as_it_lies_below_the_store_so_that_it_holds_where_the_store_is_moved(receipts, tmp_path):
    paths = {"page": f"{tmp_path}/forecasts/tiny/page.html", "lane": "/elsewhere/lane"}
    receipts.save(receipt() | {"paths": paths}, as_of=T1, source=None, recorded_time=LATER, seconds=1)
    assert receipts.find("tiny", T1, "observe")["receipt"]["paths"] == {"page": "forecasts/tiny/page.html", "lane": "/elsewhere/lane"}


def test_a_run_that_changed_nothing_confirms_what_was_done_and_does_not_hide_it(receipts):
    receipts.save(receipt(), as_of=T1, source=None, recorded_time=T1, seconds=9)
    receipts.save(receipt(outcome="unchanged", rows=0), as_of=T1, source=None, recorded_time=LATER, seconds=1)
    found = receipts.find("tiny", T1, "observe")
    assert found["receipt"]["counts"] == {"rows": 71}
    assert (found["recorded_time"], found["confirmed_time"]) == ("2025-11-01T00:00:00Z", "2025-11-03T00:00:00Z")


def test_the_newest_of_each_step_and_source_is_found(receipts):
    for as_of, rows in ((T2, 2), (T1, 1)):
        receipts.save(receipt(rows=rows), as_of=as_of, source="roads", recorded_time=LATER, seconds=1)
    receipts.save(receipt(step="land"), as_of=T1, source=None, recorded_time=LATER, seconds=1)
    newest = receipts.newest("tiny")
    assert set(newest) == {("observe", "roads"), ("land", None)}
    assert newest[("observe", "roads")]["receipt"]["counts"] == {"rows": 2}


def fill(receipts, days=40):
    first = parse_instant("2025-09-20T06:00:00Z")
    for day in range(days):
        as_of = first + timedelta(days=day)
        details = {"inputs": {"roads": {"share_present": 0.5 if day == 3 else 1.0}}, "late": ["roads count"] if day == 4 else []}
        receipt = {"world": "tiny", "step": "predict", "as_of": format_instant(as_of), "outcome": "done", "notes": [], "details": details}
        receipts.save(receipt, as_of=as_of, source=None, recorded_time=as_of, seconds=1.0, attempt=f"run-{day}:1")


def test_a_month_that_is_over_is_read_from_its_summary_and_says_the_same(tmp_path):
    objects = ObjectStore(str(tmp_path))
    fill(Receipts(objects))
    before = [Receipts(objects).summaries("tiny", month) for month in ("2025-09", "2025-10")]
    assert [len(rows) for rows in before] == [11, 29]
    assert [row.degraded for row in before[0]].index(True) == 3
    assert [row.old for row in before[0]].index(True) == 4
    assert before[1][0].attempt == "run-11:1"
    assert Receipts(objects).close_months("tiny", parse_instant("2025-10-09T00:00:00Z")) == ["2025-09"]
    assert Receipts(objects).close_months("tiny", parse_instant("2025-10-09T00:00:00Z")) == []
    for key in objects.list("receipts/tiny/2025-09"):
        (tmp_path / key).write_text("no longer read")
    assert [Receipts(objects).summaries("tiny", month) for month in ("2025-09", "2025-10")] == before
    assert Receipts(objects).newest("tiny")["predict", None]["receipt"]["as_of"] == "2025-10-29T06:00:00Z"


def test_a_receipt_of_a_month_that_was_closed_opens_it_again(tmp_path):
    receipts = Receipts(ObjectStore(str(tmp_path)))
    fill(receipts, days=2)
    receipts.close_months("tiny", LATER)
    late = parse_instant("2025-09-25T00:00:00Z")
    receipts.save(receipt() | {"as_of": format_instant(late)}, as_of=late, source=None, recorded_time=LATER, seconds=1.0)
    assert [row.step for row in Receipts(receipts._objects).summaries("tiny", "2025-09")] == ["predict", "predict", "observe"]


def test_a_record_is_read_once_for_its_summary(tmp_path):
    receipts = Receipts(ObjectStore(str(tmp_path)))
    fill(receipts, days=2)
    found = receipts.summaries("tiny", "2025-09")
    for row in found:
        (tmp_path / row.key).write_text("no longer read")
    assert receipts.summaries("tiny", "2025-09") == found

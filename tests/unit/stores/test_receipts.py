"""Receipts at rest."""

import pytest

from pipeline.contracts.times import parse_instant
from pipeline.stores.objects import ObjectStore
from pipeline.stores.receipts import Receipts

T1, T2, LATER = (parse_instant(f"2025-11-0{day}T00:00Z") for day in (1, 2, 3))


def receipt(step="observe", outcome="done", rows=71):
    return {"step": step, "world": "tiny", "outcome": outcome, "counts": {"rows": rows}}


@pytest.fixture
def receipts(tmp_path):
    return Receipts(ObjectStore(str(tmp_path)))


def test_a_receipt_lies_under_its_world_its_instant_and_its_step(receipts):
    key = receipts.save(receipt(), as_of=T1, source="roads", recorded_time=LATER, seconds=1.23456)
    assert key == "receipts/tiny/20251101T000000Z/observe.roads.json"
    found = receipts.find("tiny", T1, "observe", "roads")
    assert found["receipt"] == receipt()
    assert (found["source"], found["recorded_time"], found["seconds"]) == ("roads", "2025-11-03T00:00:00Z", 1.235)
    assert receipts.find("tiny", T1, "observe") is None


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

"""Scores over any period equal the sum of their records, from few objects, whatever was looked at again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.stores.objects import ObjectStore
from pipeline.stores.scores import ScoreStore
from pipeline.verification.scoring import score_windows
from pipeline.verification.statistics import Axis, Statistics

HOUR, DAY = 3600, 86400
FIRST = 1412035200 - 2 * DAY  # 28 September 2014: the period ends in October
AXIS = Axis(variables=("count",), units=("1",), lead_times=(300, 600))


def _record(issue_time: int, *, final: bool = True, error: float = 1.0, axis: Axis = AXIS) -> dict[str, Any]:
    truth = np.full((1, len(axis.lead_times), 3, 1), 20, np.float32)
    scored = score_windows(
        domain="road",
        axis=axis,
        model="joint",
        issue_time_W=np.array([issue_time]),
        truth_WLNV=truth,
        good_WLNV=np.ones(truth.shape, bool),
        quantiles_WLNVQ=(truth + error + issue_time % 7 / 10)[..., None] + np.linspace(-1, 1, 7, dtype=np.float32),
    )
    return {"final": final, "counts": {"all": {"observed": 6}}, "statistics": scored.to_json()}


class Counting(ObjectStore):
    """Counts what is read."""

    reads = 0

    def get(self, key: str) -> bytes:
        self.reads += 1
        return super().get(key)


@pytest.fixture
def objects(tmp_path: Path) -> Counting:
    return Counting(str(tmp_path))


def _fill(store: ScoreStore, hours: int) -> dict[int, dict[str, Any]]:
    records = {FIRST + h * HOUR: _record(FIRST + h * HOUR, final=h < hours - 2) for h in range(hours)}
    for issue_time, record in records.items():
        store.add(issue_time, record)
    store.renew(records)
    return records


def _sum(records: dict[int, dict[str, Any]], first: int, last: int) -> Statistics:
    return Statistics.added(Statistics.from_json(r["statistics"]) for t, r in records.items() if first <= t <= last)


@pytest.mark.parametrize(("first", "last"), [(0, 95), (0, 23), (5, 60), (48, 95), (94, 95), (95, 200)])
def test_any_period_is_the_sum_of_its_records_exactly(objects: Counting, first: int, last: int) -> None:
    store = ScoreStore(objects, "w")
    records = _fill(store, 96)
    found = store.period(FIRST + first * HOUR, FIRST + last * HOUR)
    assert found.statistics == _sum(records, FIRST + first * HOUR, FIRST + last * HOUR)
    assert found.issue_times == found.observed == min(last, 95) - first + 1
    assert found.left_out == 0


def test_a_long_period_is_read_in_as_many_objects_as_it_has_months_and_odd_ones(objects: Counting) -> None:
    store = ScoreStore(objects, "w")
    _fill(store, 96)
    objects.reads = 0
    store.period(FIRST, FIRST + 95 * HOUR)
    assert objects.reads <= 2 + 2  # two months, and the two records that are not final
    objects.reads = 0
    assert len(store.final(range(FIRST, FIRST + 96 * HOUR, HOUR))) == 94
    assert objects.reads <= 2


def test_a_record_looked_at_again_after_it_was_added_up_counts_once_and_as_it_is_now(objects: Counting) -> None:
    store = ScoreStore(objects, "w")
    records = _fill(store, 48)
    again = FIRST + 3 * HOUR
    records[again] = _record(again, error=5.0)
    store.add(again, records[again])
    for renewed in (False, True):
        if renewed:
            store.renew([again])
        assert store.period(FIRST, FIRST + 47 * HOUR).statistics == _sum(records, FIRST, FIRST + 47 * HOUR)


def test_a_damaged_sum_is_not_believed(objects: Counting) -> None:
    store = ScoreStore(objects, "w")
    records = _fill(store, 30)
    for path in Path(objects.root).rglob("sums/**/*.json"):
        path.write_bytes(path.read_bytes().replace(b"5", b"6", 3))
    assert store.period(FIRST, FIRST + 29 * HOUR).statistics == _sum(records, FIRST, FIRST + 29 * HOUR)
    assert store.final(records) == {t for t, r in records.items() if r["final"]}


def test_records_of_other_leads_are_counted_and_left_out_not_mixed(objects: Counting) -> None:
    store = ScoreStore(objects, "w")
    records = _fill(store, 24)
    later = FIRST + 30 * HOUR
    store.add(later, _record(later, axis=Axis(variables=("count",), units=("1",), lead_times=(300, 600, 900))))
    store.renew([later])
    found = store.period(FIRST, later)
    assert found.statistics.axes["road"].lead_times == (300, 600, 900)
    assert (found.issue_times, found.left_out) == (25, 24)
    assert store.period(FIRST, FIRST + 23 * HOUR).statistics == _sum(records, FIRST, FIRST + 23 * HOUR)


def test_what_was_scored_in_another_format_is_not_final_any_more(objects: Counting) -> None:
    store = ScoreStore(objects, "w")
    old = _record(FIRST)
    store.add(FIRST, {**old, "statistics": {"unit": "2^-40", "statistics": [], "axes": {}, "sums": []}})
    assert store.final([FIRST]) == set()

"""What stands beside the grid comes from what is at rest."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from pipeline.api import load_world
from pipeline.cockpit.panels import DAY, cost, skill, storage
from pipeline.contracts.times import format_instant
from pipeline.stores.monitoring import MonitoringStore
from pipeline.stores.objects import ObjectStore
from pipeline.stores.receipts import Receipts
from pipeline.stores.scores import ScoreStore
from pipeline.verification.scoring import score_windows
from pipeline.verification.statistics import Axis

NEWEST = 1412035200
AXIS = Axis(variables=("count",), units=("1",), lead_times=(300, 600))


def record(issue_time, errors):
    """The scores of one forecast whose models erred by so much."""
    truth = np.full((1, 2, 3, 1), 20, np.float32)
    found = [
        score_windows(
            domain="road",
            axis=AXIS,
            model=model,
            issue_time_W=np.array([issue_time]),
            truth_WLNV=truth,
            good_WLNV=np.ones(truth.shape, bool),
            quantiles_WLNVQ=(truth + error)[..., None] + np.linspace(-1, 1, 7, dtype=np.float32),
        )
        for model, error in errors.items()
    ]
    return {"final": True, "counts": {"all": {"observed": 6}}, "statistics": sum(found[1:], found[0]).to_json()}


def test_skill_is_told_day_by_day_against_the_best_baseline_of_that_day(tmp_path):
    objects = ObjectStore(str(tmp_path))
    scores = ScoreStore(objects, "w")
    for day, published in ((0, 1.0), (1, 2.0), (3, 1.0)):
        for hour in range(3):
            issue_time = NEWEST - day * DAY + hour * 3600
            scores.add(issue_time, record(issue_time, {"published": published, "persistence": 8.0, "historical_average": 4.0}))
    [row] = skill(objects, "w", days=3)
    assert (row["domain"], row["variable"]) == ("road", "count")
    assert [(day["day"], day["mae"]) for day in row["days"]] == [("2014-09-29", 2.0), ("2014-09-30", 1.0)], "an older day is left out"
    assert [day["skill"] for day in row["days"]] == pytest.approx([0.5, 0.75])
    assert [day["coverage"] for day in row["days"]] == [0.0, 0.0], "an error beyond the interval"


def test_nothing_verified_is_nothing_shown(tmp_path):
    assert skill(ObjectStore(str(tmp_path)), "w") == []


def test_the_days_of_a_month_that_is_summed_up_are_told_like_those_read_one_by_one(tmp_path):
    objects = ObjectStore(str(tmp_path))
    scores, times = ScoreStore(objects, "w"), [NEWEST - day * DAY for day in (40, 1, 0)]
    for issue_time in times:
        scores.add(issue_time, record(issue_time, {"published": 1.0, "persistence": 4.0}))
    one_by_one = skill(objects, "w")
    scores.renew(times)
    assert len(one_by_one[0]["days"]) == 3
    assert skill(objects, "w") == one_by_one


def test_the_time_spent_is_told_by_the_day_on_which_it_was_spent(tmp_path):
    receipts, now = Receipts(ObjectStore(str(tmp_path))), datetime(2026, 11, 2, tzinfo=UTC)
    for back, seconds in ((0, 5.0), (1, 6.0), (500, 9.0)):
        receipt = {"step": "train", "world": "london", "as_of": format_instant(now - timedelta(days=back)), "outcome": "done"}
        receipts.save(receipt, as_of=now - timedelta(days=back), source=None, recorded_time=now, seconds=seconds)
    assert cost(receipts, load_world("london"), now) == {"2026-11-02": {"train": 11.0}}, "what is asked as of long ago is left out"


def test_storage_is_what_the_newest_look_counted_or_counted_now(tmp_path):
    objects = ObjectStore(str(tmp_path))
    objects.put_addressed("landing/w", b"12345", ".csv")
    assert storage(objects, "w")["landing"] == 5
    MonitoringStore(objects, "w").add_report(NEWEST, {"cost": {"stored_bytes": {"landing": 71}}, "alerts": []})
    assert storage(objects, "w") == {"landing": 71}

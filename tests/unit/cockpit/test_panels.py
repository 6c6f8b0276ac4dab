"""What stands beside the grid comes from what is at rest."""

import numpy as np
import pytest

from pipeline.cockpit.panels import DAY, skill
from pipeline.stores.objects import ObjectStore
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
    assert [(day["day"], day["mae"]) for day in row["days"]] == [(NEWEST - DAY, 2.0), (NEWEST, 1.0)], "an older day is left out"
    assert [day["skill"] for day in row["days"]] == pytest.approx([0.5, 0.75])
    assert [day["coverage"] for day in row["days"]] == [0.0, 0.0], "an error beyond the interval"


def test_nothing_verified_is_nothing_shown(tmp_path):
    assert skill(ObjectStore(str(tmp_path)), "w") == []

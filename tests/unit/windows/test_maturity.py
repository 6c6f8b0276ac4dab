from datetime import timedelta

from pipeline.api import ReplayRequest
from pipeline.contracts.times import parse_instant, to_seconds
from pipeline.contracts.world_files import load_world
from pipeline.steps.walk import plan_walk
from pipeline.windows.maturity import label_maturity, may_forecast

FIRST = parse_instant("2014-09-16T00:00Z")


def ask(**more):
    return ReplayRequest(world="aarhus", as_of=FIRST + timedelta(days=30), first=FIRST, last=FIRST + timedelta(days=14), **more)


def test_labels_are_mature_after_the_longest_latency_of_their_sources():
    aarhus = load_world("aarhus")
    assert {d: label_maturity(aarhus, d) for d in ("traffic", "weather", "parking", "market")} == {
        "traffic": 0,
        "weather": 600,
        "parking": 300,
        "market": 900,
    }
    assert label_maturity(aarhus) == 900


def test_a_model_may_forecast_from_its_cut_off_plus_maturity_on():
    assert [may_forecast(1000, 900, t) for t in (1000, 1899, 1900, 5000)] == [False, False, True, True]


def test_a_walk_trains_once_a_day_or_week_each_model_in_force_when_its_labels_are_mature():
    aarhus = load_world("aarhus")
    daily, weekly = (plan_walk(aarhus, ask(retrain=how)) for how in ("daily", "weekly"))
    assert [t.in_force for t in daily] == [FIRST + timedelta(days=k) for k in range(14)]
    assert [t.in_force for t in weekly] == [FIRST, FIRST + timedelta(days=7)]
    for training in (*daily, *weekly):
        assert training.cut_off == training.in_force - timedelta(seconds=900)
        assert may_forecast(to_seconds(training.cut_off), 900, to_seconds(training.in_force))
    assert plan_walk(aarhus, ask()) == ()


def test_slices_of_one_lane_share_its_trainings_and_make_none_after_their_end():
    aarhus = load_world("aarhus")
    since = FIRST - timedelta(days=2)
    part = plan_walk(aarhus, ask(retrain="daily", since=since).model_copy(update={"last": FIRST + timedelta(hours=6)}))
    assert [t.in_force for t in part] == [since, since + timedelta(days=1), FIRST]

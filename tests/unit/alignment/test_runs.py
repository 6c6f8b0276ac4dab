from datetime import timedelta

import numpy as np

from pipeline.alignment.runs import first_steps, run_length, run_nodes, run_places, steps_after
from pipeline.alignment.sampling import place_weights, sampled
from pipeline.alignment.time_grid import axis
from pipeline.contracts.nodes import NodeSet
from pipeline.contracts.times import parse_instant, to_seconds
from pipeline.contracts.worlds import Clock


def at(text: str) -> int:
    return to_seconds(parse_instant(f"{text}Z"))


def times(*texts: str) -> np.ndarray:
    return np.array([at(t) for t in texts], np.int64)


def nodes(**places: tuple[float, float]) -> NodeSet:
    latitude, longitude = zip(*places.values(), strict=True)
    return NodeSet(ids=tuple(places), latitude=np.array(latitude), longitude=np.array(longitude))


def test_a_step_takes_what_is_valid_after_the_label_before_it() -> None:
    clock, start = Clock(step=timedelta(minutes=30)), at("2025-01-01T00:10")
    valid = times("2025-01-02T06:00", "2025-01-02T06:10", "2025-01-02T06:11", "2025-01-02T06:40", "2025-01-02T07:00")
    init = np.full(5, at("2025-01-02T06:00"))
    assert steps_after(clock, start, init, valid).tolist() == [0, 0, 1, 1, 2]
    assert first_steps(clock, start, init[:1], at("2025-01-02T06:40")).tolist() == [-1]


def test_the_steps_of_a_run_are_sessions_where_the_clock_is_a_calendar() -> None:
    clock, start = Clock(calendar="XNYS"), at("2025-06-02T00:00")
    init = np.full(3, at("2025-06-06T12:00"))  # a Friday before the close at 20:00
    assert steps_after(clock, start, init, times("2025-06-06T20:00", "2025-06-08T00:00", "2025-06-09T20:01")).tolist() == [0, 1, 2]
    labels = axis(clock, start, at("2025-06-30T00:00"))
    assert labels[first_steps(clock, start, init[:1], int(labels[0]))] == at("2025-06-06T20:00")


def test_places_and_steps_of_a_run_are_told_apart_again() -> None:
    places = nodes(a=(56.0, 10.0), b=(57.0, 11.0))
    run = run_nodes(places, run_length(Clock(step=timedelta(hours=1)), 9000))
    assert run.shape == (3, 2)
    assert run.ids == ("a+1", "b+1", "a+2", "b+2", "a+3", "b+3")
    assert run_places(run).ids == places.ids
    assert run_places(run).latitude.tolist() == [56.0, 57.0]


def test_a_node_takes_its_own_place_else_the_nearest_ones_else_the_only_one() -> None:
    places, asked = nodes(a=(56.0, 10.0), b=(56.1, 10.0), c=(57.0, 10.0)), nodes(b=(0.0, 0.0), x=(56.05, 10.0), y=(np.nan, np.nan))
    every = np.ones(3, np.bool_)
    weights = place_weights(asked, places, every, 2).toarray()
    assert (weights > 0).tolist() == [[False, True, False], [True, True, False], [False, False, False]]
    np.testing.assert_allclose(weights[1, 0], weights[1, 1], rtol=1e-3)
    only = place_weights(asked, nodes(a=(np.nan, np.nan)), np.ones(1, np.bool_), 2).toarray()
    assert only.tolist() == [[1.0], [1.0], [1.0]]
    absent = place_weights(asked, places, np.array([True, False, True]), 1).toarray()
    assert np.argmax(absent[1]) == 0


def test_what_is_bad_at_one_place_is_taken_from_the_others() -> None:
    places = nodes(a=(56.0, 10.0), b=(56.1, 10.0))
    weights = place_weights(nodes(x=(56.05, 10.0)), places, np.ones(2, np.bool_), 2)
    values, good = sampled(weights, np.array([[1.0, 1.0, 1.0], [3.0, 3.0, 3.0]], np.float32), np.array([[1, 0, 0], [1, 1, 0]], np.bool_))
    np.testing.assert_allclose(values, [[2.0, 3.0, 0.0]], rtol=1e-3)
    assert good.tolist() == [[True, True, False]]

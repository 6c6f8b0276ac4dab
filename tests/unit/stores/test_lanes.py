from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.contracts.replays import LaneRecord
from pipeline.contracts.times import parse_instant
from pipeline.errors import ConflictError, NotYetAvailable, StoreError
from pipeline.settings import Settings
from pipeline.stores.lanes import LaneStore

RECORD = LaneRecord(world="tiny", world_digest="w", code_version="c", mode="replay", retrain="daily", since="2025-10-28T00:00:00Z")
MOMENT = parse_instant("2025-10-28T12:00Z")


@pytest.fixture
def settings(tmp_path):
    return Settings(store=str(tmp_path / "store"), data=None, dask=None)


def test_equal_questions_are_one_lane_and_any_difference_is_another():
    assert RECORD.lane_id == LaneRecord.model_validate_json(RECORD.model_dump_json()).lane_id
    others = [
        {"code_version": "d"},
        {"world_digest": "v"},
        {"seed": 1},
        {"options": {"epochs": 3}},
        {"since": "2025-10-29T00:00:00Z"},
        {"mode": "reforecast"},
    ]
    assert len({RECORD.lane_id, *(RECORD.model_copy(update=other).lane_id for other in others)}) == 1 + len(others)


def test_a_lane_has_a_store_of_its_own_and_the_live_cubes(settings):
    lanes = LaneStore(settings, "tiny")
    assert lanes.enter(RECORD)
    assert not lanes.enter(RECORD)
    assert lanes.lane_ids() == [RECORD.lane_id]
    assert lanes.record(RECORD.lane_id) == RECORD
    own = lanes.settings(RECORD.lane_id)
    assert own == replace(settings, store=f"{settings.store}/replays/tiny/{RECORD.lane_id}", cubes=settings.store)


def test_a_lane_that_is_not_there_or_damaged_is_named(settings):
    lanes = LaneStore(settings, "tiny")
    with pytest.raises(NotYetAvailable, match="none yet"):
        lanes.record("abc")
    lanes.enter(RECORD)
    with pytest.raises(NotYetAvailable, match=RECORD.lane_id):
        lanes.record("abc")
    path = Path(settings.store) / f"replays/tiny/lanes/{RECORD.lane_id}.json"
    whole = path.read_bytes()
    for damaged in (whole[:-9], whole.replace(b'"c"', b'"d"')):
        path.write_bytes(damaged)
        with pytest.raises(StoreError, match="run cubecast replay again"):
            lanes.record(RECORD.lane_id)


def test_a_training_that_is_done_is_noted_once(settings):
    lanes = LaneStore(settings, "tiny")
    assert lanes.walked("lane") == {}
    lanes.keep_walked("lane", MOMENT, "m1")
    lanes.keep_walked("lane", MOMENT, "m1")
    assert lanes.walked("lane") == {MOMENT: "m1"}
    with pytest.raises(ConflictError):
        lanes.keep_walked("lane", MOMENT, "m2")


def test_a_scorecard_that_says_the_same_is_not_written_again(settings):
    lanes = LaneStore(settings, "tiny")
    assert lanes.scorecard("lane") is None
    assert [lanes.keep_scorecard("lane", {"n": n}) for n in (1, 1, 2)] == [True, False, True]


def test_who_waits_for_a_turn_is_told_so_and_gets_it(settings, monkeypatch):
    from pipeline.stores import lanes as module

    monkeypatch.setattr(module, "_POLL_SECONDS", 0.05)
    first, second, told = LaneStore(settings, "tiny"), LaneStore(settings, "tiny"), []
    held = first.turn("lane", lambda: None)
    held.__enter__()

    def waiting():
        told.append("waiting")
        if len(told) == 2:
            held.__exit__(None, None, None)

    with second.turn("lane", waiting):
        assert told == ["waiting", "waiting"]

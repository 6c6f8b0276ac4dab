"""What a replay is asked: what it will take, what it refuses and why, and the command."""

import json
import os
import shutil
import subprocess
import sys
from datetime import timedelta

import pytest

from pipeline.contracts.times import format_instant, parse_instant, to_seconds
from pipeline.errors import ConfigError, LookaheadError, NotYetAvailable
from pipeline.steps import issue, replay
from pipeline.stores.lanes import LaneStore
from pipeline.stores.objects import ObjectStore
from pipeline.stores.registry import Registry
from tests.flow.chain import settings_for
from tests.flow.replays import LIVED, ROOT, asked, files, run


def test_a_dry_run_says_what_there_is_to_do_and_does_nothing(fed):
    world_file, settings = fed
    before = files(settings.store, without="")
    receipt = run(asked(world_file, LIVED[0], LIVED[1], retrain="daily", dry_run=True), settings)
    assert receipt.outcome == "unchanged"
    plan = receipt.details["plan"]
    assert (plan["issue_times"], plan["trainings"]) == (24, 1)
    assert plan["seconds"] > 0
    assert plan["stored_bytes"] > 0
    assert files(settings.store, without="") == before


def test_a_dry_run_does_not_promise_what_would_be_refused_for_want_of_a_model(fed):
    world_file, settings = fed
    with pytest.raises(NotYetAvailable, match="no champion yet at 24 of 24 issue times: the world was never trained"):
        run(asked(world_file, LIVED[0], LIVED[1], dry_run=True), settings)


def test_other_code_or_another_world_file_gets_a_lane_of_its_own_and_says_so(walked, monkeypatch):
    _, settings, _, first, request = walked
    monkeypatch.setattr(replay, "code_version", lambda: "0.1.0+other")
    receipt = run(request.model_copy(update={"dry_run": True}), settings)
    assert receipt.ids["lane"] != first.ids["lane"]
    assert any(first.ids["lane"] in note and "another code version" in note and "new lane" in note for note in receipt.notes)


BAD = {
    "an empty range": (LIVED[1], LIVED[0], {}),
    "outside the world's time": (LIVED[1], LIVED[1] + timedelta(days=9), {}),
    "outside the world's time, 2025": (parse_instant("2025-10-01T00:00Z"), LIVED[0], {}),
    "no time between": (LIVED[0], LIVED[1], {"every": timedelta(0)}),
    "a first training after": (LIVED[0], LIVED[1], {"retrain": "daily", "since": LIVED[1]}),
    "a reforecast that trains": (LIVED[0], LIVED[1], {"retrain": "daily", "mode": "reforecast"}),
}


@pytest.mark.parametrize("found", BAD)
def test_a_question_that_makes_no_sense_is_refused_before_anything_is_made(fed, found):
    world_file, settings = fed
    first, last, more = BAD[found]
    with pytest.raises(ConfigError, match=found):
        run(asked(world_file, first, last, **more), settings)
    assert LaneStore(settings, "tiny").lane_ids() == []


def test_a_world_never_trained_and_a_range_before_the_first_champion_say_how_to_go_on(fed, lived, tmp_path):
    with pytest.raises(NotYetAvailable, match="never trained") as never:
        run(asked(fed[0], LIVED[0], LIVED[1]), fed[1])
    assert "--retrain daily" in never.value.mend
    lone = asked(lived[0], LIVED[0] - timedelta(hours=5), LIVED[0])
    with pytest.raises(NotYetAvailable, match=f"at 5 of 5 issue times; the first is in force from {format_instant(LIVED[0])}"):
        run(lone, lived[1])
    with pytest.raises(NotYetAvailable, match="no promotion by then"):
        run(asked(fed[0], LIVED[0], LIVED[1], mode="reforecast"), fed[1])
    with pytest.raises(NotYetAvailable, match="nothing there"):
        run(asked(fed[0], LIVED[0], LIVED[1]), settings_for(tmp_path / "nothing"))
    assert LaneStore(fed[1], "tiny").lane_ids() == []


def test_issue_times_without_data_are_refused_by_name_and_the_others_made(lived, tmp_path, monkeypatch):
    world_file, settings = lived
    first, original = LIVED[0] + timedelta(minutes=30), issue.make_forecast

    def hollow(*given):
        if given[4] == to_seconds(first) + 3600:
            raise NotYetAvailable(asked="forecast", found="no domain has a value", mend="wait")
        return original(*given)

    monkeypatch.setattr(issue, "make_forecast", hollow)
    shutil.copytree(settings.store, tmp_path / "store")
    other = settings_for(tmp_path / "store")
    receipt = run(asked(world_file, first, first + timedelta(hours=3)), other)
    assert (receipt.counts["issued"], receipt.counts["refused"]) == (2, 1)
    assert receipt.details["missing_share"] == {"issue_times": 1 / 3}
    assert "2025-10-28T13:30:00Z: no domain has a value" in receipt.notes[0]
    with pytest.raises(NotYetAvailable, match="no domain has a value"):
        run(asked(world_file, first + timedelta(hours=1), first + timedelta(hours=2)), other)


def test_a_model_that_has_seen_the_issue_time_is_refused_in_a_replay(lived, tmp_path):
    world_file, settings = lived
    shutil.copytree(settings.store, tmp_path / "store")
    other = settings_for(tmp_path / "store")
    registry = Registry(ObjectStore(other.store), "tiny")
    champion = registry.champion(LIVED[-1])
    registry.promote(champion.model_copy(update={"as_of": format_instant(LIVED[0] - timedelta(days=2)), "reason": "by mistake"}))
    with pytest.raises(LookaheadError, match="trained on data until"):
        run(asked(world_file, LIVED[0] - timedelta(days=1), LIVED[0] - timedelta(hours=23)), other)


def test_the_command_prints_the_receipt_and_lists_its_lane(lived, tmp_path):
    world_file, settings = lived
    shutil.copytree(settings.store, tmp_path / "store")
    environment = {**os.environ, "CUBECAST_STORE": str(tmp_path / "store"), "OMP_NUM_THREADS": "1", "CUBECAST_DASK": ""}

    def ask(*words):
        words = (sys.executable, "-m", "pipeline", *words, "--world", str(world_file), "--json")
        done = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=100)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    receipt = ask("replay", "--from", "2025-10-28T12:00Z", "--to", "2025-10-28T14:00Z", "--every", "1h", "--workers", "1")
    assert receipt["counts"]["issue_times"] == 2
    lanes = {lane["lane"]: lane for lane in ask("lanes", "list")["lanes"]}
    assert lanes[receipt["ids"]["lane"]]["of_this_code"] is True
    shown = ask("lanes", "show", receipt["ids"]["lane"])
    assert {row["model"] for row in shown["rows"]} >= {"published", "joint", "persistence", "historical_average", "ridge"}

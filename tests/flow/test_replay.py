"""Replay on the tiny world: what was run live comes again bit for bit, models of the past see the past only, nothing live is touched."""

import json
import os
import shutil
import subprocess
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from pipeline.api import Receipt, ReplayRequest, command
from pipeline.contracts.times import format_instant, from_seconds, parse_instant, to_seconds
from pipeline.contracts.world_files import load_world
from pipeline.sources.synthetic import SyntheticAdapter
from pipeline.steps import issue, promote, replay, replayed
from pipeline.steps.store_verify import verify_store
from pipeline.stores.cubes import CubeStore
from pipeline.stores.forecasts import ForecastStore
from pipeline.stores.lanes import LaneStore
from pipeline.stores.objects import ObjectStore
from pipeline.stores.registry import Registry
from pipeline.telemetry import QUIET
from pipeline.windows.maturity import label_maturity, may_forecast
from tests.flow.chain import settings_for
from tests.flow.replays import LIVED, ROOT, asked, digests, files, ingest, run


@pytest.mark.parametrize("retrain", ["none", "daily"])
def test_dates_that_were_run_live_replay_bit_for_bit_and_differ_in_the_lane_only(lived, retrain):
    world_file, settings = lived
    live, before = digests(settings.store), files(settings.store)
    receipt = run(asked(world_file, LIVED[0], LIVED[-1] + timedelta(hours=1), every="8h", retrain=retrain), settings)
    lane = LaneStore(settings, "tiny").url(receipt.ids["lane"])
    again = digests(lane)
    assert len(again) == 4
    assert {t: again[t] for t in live} == live
    for t in live:
        then, now = (ForecastStore(ObjectStore(str(root)), "tiny").read(t) for root in (settings.store, lane))
        known = {name: content for name, content in then.provenance.items() if name != "explanation"}
        assert now.provenance == known | {"lane": receipt.ids["lane"]}
    assert files(settings.store) == before, "the live store was touched"


def test_a_forecast_says_which_run_of_others_it_was_told_and_how_many_documents(lived):
    _, settings = lived
    cubes = CubeStore(settings.store, "tiny")
    for moment in LIVED:
        made = ForecastStore(ObjectStore(settings.store), "tiny").read(to_seconds(moment)).provenance
        runs, texts = cubes.open_runs(moment, "traffic"), cubes.open_texts(moment, "notices")
        known = runs.valid_time[(runs.flags_TNV == 0).any(axis=(1, 2))]
        run = made["future"]["traffic"]
        assert run["init_time"] == format_instant(from_seconds(int(known.max())))
        assert run["init_time"] <= run["known_time"] <= format_instant(moment)
        assert run["age_seconds"] == to_seconds(moment) - known.max()
        assert 0 < run["share_present"] <= 1
        due = texts.available_time_D[texts.available_time_D > to_seconds(moment) - 3 * 3600]
        assert made["texts"] == {"notices": {"documents": len(due), "age_seconds": to_seconds(moment) - due.max() if len(due) else None}}


def test_where_a_forecast_was_issued_live_the_champion_that_was_live_is_replayed_whatever_the_lane_trained_since():
    class Live:
        def champion(self, moment):
            return f"live at {format_instant(moment)}"

    request = ReplayRequest(world="tiny", as_of=LIVED[1], first=LIVED[0], last=LIVED[1], retrain="daily")
    times = [to_seconds(moment) for moment in LIVED]
    found = replay.as_issued(request, frozenset(times[:1]), Live(), times, ["own", "own"])
    assert found == [(times[0], "live at 2025-10-28T12:00:00Z"), (times[1], "own")]
    again = request.model_copy(update={"mode": "reforecast"})
    assert replay.as_issued(again, frozenset(times), Live(), times, ["now", "now"]) == [(t, "now") for t in times]


def test_every_model_of_a_walk_was_trained_before_its_labels_were_mature_at_the_issue_time(walked):
    world_file, _, lane, receipt, _ = walked
    maturity = label_maturity(load_world(str(world_file)))
    assert maturity == 600
    store, own = ForecastStore(ObjectStore(lane), "tiny"), Registry(ObjectStore(lane), "tiny")
    assert receipt.counts == {"issue_times": 6, "issued": 6, "scored": 6, "refused": 0, "trained": 2}
    for t in store.issue_times():
        made = store.read(t).provenance
        cut_off = to_seconds(parse_instant(made["model_as_of"]))
        assert may_forecast(cut_off, maturity, t)
        assert made["model_id"] == own.champion(from_seconds(t)).model_id, "another model than the lane's champion of then"
    first, second = own.candidates()
    assert (first.card["initial"], second.card["initial"]) == (None, first.model_id)
    assert second.card["epochs"] < first.card["epochs"]
    assert second.as_of == LIVED[1] - timedelta(seconds=maturity)
    assert {parse_instant(p.as_of) for p in own.promotions()} <= set(LIVED)


def test_a_store_with_a_lane_is_whole_and_damage_in_the_lane_is_named_with_its_place(walked, tmp_path):
    world_file, settings, lane, *_ = walked
    world, copy = load_world(str(world_file)), tmp_path / "store"
    assert verify_store(world, settings, QUIET).faults == ()
    shutil.copytree(settings.store, copy)
    kept = sorted((copy / Path(lane).relative_to(settings.store) / "registry/tiny/calibrations").rglob("*.safetensors"))
    kept[0].write_bytes(kept[0].read_bytes()[:-1])
    (fault,) = verify_store(world, settings_for(copy), QUIET).faults
    assert fault == f"{kept[0].relative_to(copy)}: content that does not fit its seal"


def test_a_second_replay_changes_nothing(walked):
    _, settings, _, first, request = walked
    before = files(settings.store, without="")
    second = run(request, settings)
    assert second.outcome == "unchanged"
    assert second.ids == first.ids
    assert (second.counts["issued"], second.counts["scored"], second.counts["trained"]) == (0, 0, 0)
    assert files(settings.store, without="") == before


def test_a_replay_interrupted_while_training_and_while_issuing_goes_on_to_the_same_forecasts(walked, fed, tmp_path, monkeypatch):
    _, _, lane, first, request = walked
    shutil.copytree(fed[1].store, tmp_path / "store")
    other, calls = settings_for(tmp_path / "store"), []

    def dying(original, at):
        def call(*given, **named):
            calls.append(original)
            if len(calls) == at:
                raise KeyboardInterrupt
            return original(*given, **named)

        return call

    for owner, name, at in ((promote, "promote_on_evidence", 2), (issue, "mature_scores", 4)):
        calls.clear()
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, dying(getattr(owner, name), at))
            with pytest.raises(KeyboardInterrupt):
                run(request, other)
    again = run(request, other)
    assert (again.counts["issued"], again.counts["scored"]) == (2, 3), "what was issued is not issued again"
    assert digests(LaneStore(other, "tiny").url(again.ids["lane"])) == digests(lane)
    assert again.ids == first.ids


def test_processes_side_by_side_on_the_same_and_on_other_issue_times_give_the_forecasts_of_one(walked, fed, tmp_path):
    _, _, lane, first, request = walked
    shutil.copytree(fed[1].store, tmp_path / "store")
    parts = [(0, 32), (16, 48)]
    slices = [
        request.model_copy(
            update={
                "first": request.first + timedelta(hours=a),
                "last": request.first + timedelta(hours=b),
                "since": request.first,
                "workers": workers,
            }
        )
        for (a, b), workers in zip(parts, (1, 2), strict=True)
    ]
    environment = {**os.environ, "CUBECAST_STORE": str(tmp_path / "store"), "OMP_NUM_THREADS": "1", "CUBECAST_DASK": ""}
    running = [
        subprocess.Popen(command(s), cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for s in slices
    ]
    ended = [process.communicate(timeout=200) for process in running]
    assert [process.returncode for process in running] == [0, 0], [err[-2000:] for _, err in ended]
    receipts = [Receipt.model_validate_json(out.splitlines()[-1]) for out, _ in ended]
    assert {r.ids["lane"] for r in receipts} == {first.ids["lane"]}
    assert sum(r.counts["trained"] for r in receipts) == 2, "a training was done twice"
    ours = LaneStore(settings_for(tmp_path / "store"), "tiny").url(first.ids["lane"])
    assert digests(ours) == digests(lane)
    store = ForecastStore(ObjectStore(ours), "tiny")
    assert {store.newest(t).revision for t in store.issue_times()} == {0}
    cards = [json.loads(LaneStore(settings_for(r), "tiny").scorecard(first.ids["lane"])) for r in (tmp_path / "store", walked[1].store)]
    assert cards[0] == cards[1]


def test_what_became_known_after_an_issue_time_changes_no_byte_of_its_replay(walked, tmp_path, monkeypatch):
    world_file, _, lane, _, request = walked
    cut, parse = to_seconds(LIVED[1]), SyntheticAdapter.parse

    def poisoned(self, source, parts):
        readings = parse(self, source, parts)
        late = readings.valid_time > cut - 600
        return replace(readings, values={n: column + 7 * late for n, column in readings.values.items()})

    monkeypatch.setattr(SyntheticAdapter, "parse", poisoned)
    other = settings_for(tmp_path / "store")
    ingest(world_file, other)
    receipt = run(request, other)
    ours, clean = digests(LaneStore(other, "tiny").url(receipt.ids["lane"])), digests(lane)
    before = {t for t in clean if t < cut}
    assert len(before) == 3
    assert {t: ours[t] for t in before} == {t: clean[t] for t in before}
    assert ours[max(ours)] != clean[max(clean)], "the poison reached nothing at all"


def test_a_reforecast_applies_the_champion_of_now_and_says_so(lived):
    world_file, settings = lived
    first = LIVED[0] - timedelta(days=1)
    receipt = run(asked(world_file, first, first + timedelta(hours=2), mode="reforecast"), settings)
    lanes = LaneStore(settings, "tiny")
    store = ForecastStore(ObjectStore(lanes.url(receipt.ids["lane"])), "tiny")
    made = store.read(to_seconds(first)).provenance
    assert made["mode"] == "reforecast"
    assert made["model_id"] == Registry(ObjectStore(settings.store), "tiny").champion(LIVED[-1]).model_id
    assert parse_instant(made["model_as_of"]) > first
    assert lanes.record(receipt.ids["lane"]).model_id == made["model_id"]
    world = load_world(str(world_file))
    evidence = replayed.replay_evidence(settings, world, world.recorded.end).replay
    assert evidence is None or evidence.record.mode == "replay", "a model that has seen the future is no evidence"

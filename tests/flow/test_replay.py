"""Replay on the tiny world: what was run live comes again bit for bit, models of the past see the past only, nothing live is touched."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from pipeline.api import BuildCubeRequest, LandRequest, ObserveRequest, Receipt, ReplayRequest, command, flow
from pipeline.contracts.times import format_instant, from_seconds, parse_instant, to_seconds
from pipeline.contracts.world_files import load_world
from pipeline.errors import ConfigError, LookaheadError, NotYetAvailable
from pipeline.sources.synthetic import SyntheticAdapter
from pipeline.steps import issue, promote, replay, replayed
from pipeline.stores.forecasts import ForecastStore
from pipeline.stores.lanes import LaneStore
from pipeline.stores.objects import ObjectStore
from pipeline.stores.published import PublishedStore
from pipeline.stores.registry import Registry
from pipeline.stores.scores import ScoreStore
from pipeline.telemetry import QUIET
from pipeline.windows.maturity import label_maturity, may_forecast
from tests.flow.chain import run_step, settings_for
from tests.world import tiny_world

ROOT = Path(__file__).resolve().parents[2]
QUICK = 'recipe = "tiny"\nrecipe_options = { epochs = 2, patience = 2, steps = 12 }\n'
LIVED = [parse_instant(f"2025-10-{day}T12:00Z") for day in (28, 29)]


def asked(world_file, first, last, **more):
    world = load_world(str(world_file))
    return ReplayRequest(world=str(world_file), as_of=world.recorded.end, first=first, last=last, **({"workers": 1} | more))


def run(request, settings) -> Receipt:
    return replay.run(request, settings, QUIET)


def make_world(folder):
    file = tiny_world(folder)
    file.write_text(file.read_text().replace('recipe = "tiny"\n', QUICK))
    return file


def ingest(world_file, settings):
    end = load_world(str(world_file)).recorded.end
    for kind, more in ((LandRequest, {"received_time": end}), (ObserveRequest, {}), (BuildCubeRequest, {})):
        run_step(kind(world=str(world_file), as_of=end, **more), settings)


def digests(root) -> dict[int, str]:
    store = ForecastStore(ObjectStore(str(root)), "tiny")
    return {t: store.newest(t).digest for t in store.issue_times()}


def files(root, without="replays") -> dict[str, str]:
    found = [p for p in Path(root).rglob("*") if p.is_file() and without not in p.relative_to(root).parts[:2]]
    return {str(p.relative_to(root)): hashlib.sha256(p.read_bytes()).hexdigest() for p in found}


@pytest.fixture(scope="module")
def fed(tmp_path_factory):
    """A world with a cube, never trained."""
    folder = tmp_path_factory.mktemp("fed")
    world_file, settings = make_world(folder), settings_for(folder / "store")
    ingest(world_file, settings)
    return world_file, settings


@pytest.fixture(scope="module")
def lived(fed, tmp_path_factory):
    """The same, run live on two days."""
    world_file, settings = fed
    store = tmp_path_factory.mktemp("lived") / "store"
    shutil.copytree(settings.store, store)
    settings = settings_for(store)
    for as_of in LIVED:
        for request in flow(str(world_file), issue_time=as_of, now=as_of)[3:7]:
            run_step(request, settings)
    return world_file, settings


@pytest.fixture(scope="module")
def walked(fed, tmp_path_factory):
    """A world that was never live, replayed with daily training: its settings, lane and receipt."""
    world_file, settings = fed
    store = tmp_path_factory.mktemp("walked") / "store"
    shutil.copytree(settings.store, store)
    settings = settings_for(store)
    request = asked(world_file, LIVED[0], LIVED[0] + timedelta(days=2), every="8h", retrain="daily")
    receipt = run(request, settings)
    return world_file, settings, LaneStore(settings, "tiny").url(receipt.ids["lane"]), receipt, request


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
    evidence = replayed.replay_evidence(settings, world, world.recorded.end)
    assert evidence is None or evidence.record.mode == "replay", "a model that has seen the future is no evidence"


def test_the_scorecard_counts_every_cell_and_evidence_as_of_an_instant_holds_only_what_was_mature(walked):
    world_file, settings, lane, receipt, _ = walked
    world = load_world(str(world_file))
    content = json.loads(LaneStore(settings, "tiny").scorecard(receipt.ids["lane"]))
    overall = [row for row in content["scorecard"]["rows"] if row["lead"] == 0 and row["model"] == "published"]
    forecast = ForecastStore(ObjectStore(lane), "tiny").read(to_seconds(LIVED[0]))
    for row in overall:
        domain = forecast.domains[row["domain"]]
        assert row["expected"] == 6 * len(domain.valid_time_L) * len(domain.node_ids)
    assert {row["variable"] for row in overall} == {"temperature", "rain", "speed", "count", "price"}
    assert content["counts"]["pending"] == 0
    second = from_seconds(sorted(digests(lane))[1])
    traffic = second + timedelta(hours=1, seconds=300)
    for moment, whole in ((traffic, 2), (traffic - timedelta(seconds=1), 1)):
        found = replayed.replay_evidence(settings, world, moment)
        assert len(found.issue_times["traffic"]) == whole
        assert len(found.issue_times["weather"]) == 1
        assert parse_instant(found.as_of) <= moment
        assert {row.windows.get("traffic") for row in [found.scorecard()]} == {whole}


def test_scores_are_those_of_their_maturity_whenever_the_replay_is_run(walked, tmp_path):
    _, settings, lane, receipt, request = walked
    shutil.copytree(settings.store, tmp_path / "store")
    other = settings_for(tmp_path / "store")
    early = request.model_copy(update={"as_of": LIVED[1] + timedelta(hours=8, minutes=30), "last": LIVED[1] + timedelta(hours=9)})
    shutil.rmtree(Path(LaneStore(other, "tiny").url(receipt.ids["lane"])) / "scores")
    run(early, other)
    ours = ScoreStore(ObjectStore(LaneStore(other, "tiny").url(receipt.ids["lane"])), "tiny")
    theirs = ScoreStore(ObjectStore(lane), "tiny")
    times = ours.issue_times()
    assert [ours.newest(t)["final"] for t in times] == [True] * 4 + [False]
    assert ours.newest(times[-1])["counts"]["all"]["pending"] > 0
    run(request, other)
    assert all(ours.newest(t) == theirs.newest(t) for t in theirs.issue_times())


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


def test_published_parquet_opens_as_a_user_would(walked):
    import pandas as pd

    _, _, lane, _, _ = walked
    published = PublishedStore(ObjectStore(lane), "tiny")
    table = pd.read_parquet(published.url("parquet"))
    assert table["cutoff"].nunique() == 6
    assert table.groupby("domain", observed=True).size().to_dict() == {
        d: 6 * n for d, n in {"market": 8, "traffic": 48, "weather": 128}.items()
    }


def test_the_command_prints_the_receipt_and_lists_its_lane(lived):
    world_file, settings = lived
    environment = {**os.environ, "CUBECAST_STORE": settings.store, "OMP_NUM_THREADS": "1", "CUBECAST_DASK": ""}

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

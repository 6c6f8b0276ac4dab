"""A promotion reads what a replay has shown by its instant, of models of the candidate's kind, and nothing that came later."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from models.api import continued, resolve_config
from pipeline.api import EvaluateRequest, PromoteRequest, Receipt
from pipeline.contracts.replays import LaneRecord
from pipeline.contracts.times import format_instant, to_seconds
from pipeline.contracts.world_files import load_world
from pipeline.settings import code_version
from pipeline.steps import evaluate, promote
from pipeline.stores.lanes import LaneStore
from pipeline.stores.objects import ObjectStore
from pipeline.stores.registry import Registry
from pipeline.stores.scores import ScoreStore
from pipeline.telemetry import QUIET
from tests.unit.steps.evidence_world import CUTOFF, ISSUE, LATER, Town, make_town

RIVALS = {"persistence": 3.0, "historical_average": 2.0, "ridge": 1.5}
ALL_BEATEN = {"flow": "joint", "speed": "joint"}


@pytest.fixture
def town(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Town:
    """A town whose candidate `m1` is of the world's own recipe, and `walked`, whose scores a lane can have."""
    made = make_town(tmp_path, monkeypatch)
    file = Path(made.file)
    file.write_text(file.read_text().replace("[promotion]", "[promotion]\nreplayed_days = 2"))
    made.world = load_world(made.file)
    registry = Registry(ObjectStore(made.settings.store), "tiny")
    first, config = registry.candidate("m1"), resolve_config(made.world.recipe, made.world.recipe_options)
    card = first.card | {"world_digest": made.world.digest, "recipe": config.recipe, "config_digest": config.digest}
    files = {name: first.read(name) for name in first.file_names}
    registry.add_candidate("own", files, card)
    registry.add_candidate("later", files, card | {"config_digest": continued(config).digest})
    registry.add_candidate("walked", files, card)
    made.errors(monkeypatch, "walked", joint=2.5, **RIVALS)
    evaluate.run(EvaluateRequest(world=made.file, as_of=CUTOFF, model_id="walked"), made.settings, QUIET)
    return made


def record(town: Town, **more: object) -> LaneRecord:
    known = {"world": "tiny", "world_digest": town.world.digest, "code_version": code_version(), "mode": "replay", "retrain": "daily"}
    return LaneRecord.model_validate(known | more)


def let_replay(town: Town, lane: LaneRecord, mature: datetime) -> str:
    """A lane in which the joint model errs by 2.5, worse than ridge, as known from an instant on."""
    lanes = LaneStore(town.settings, "tiny")
    lanes.enter(lane)
    evidence = Registry(ObjectStore(town.settings.store), "tiny").evidence("walked")
    counts = {"expected": 0, "observed": 0, "missing": 0, "pending": 0}
    ScoreStore(ObjectStore(lanes.url(lane.lane_id)), "tiny").add(
        to_seconds(CUTOFF - timedelta(hours=6)),
        {
            "as_of": format_instant(mature),
            "final": True,
            "mature_time": {"road": format_instant(mature)},
            "counts": {"road": counts, "all": counts},
            "statistics": json.loads(evidence.read("statistics.json") or b""),
        },
    )
    return lane.lane_id


def decided(town: Town, model_id: str = "own", as_of: datetime = ISSUE) -> Receipt:
    evaluate.run(EvaluateRequest(world=town.file, as_of=as_of, model_id=model_id), town.settings, QUIET)
    return promote.run(PromoteRequest(world=town.file, as_of=as_of, model_id=model_id), town.settings, QUIET)


def published(receipt: Receipt) -> dict[str, str]:
    return {v["variable"]: v["published"] for v in receipt.details["verdicts"]}


@pytest.mark.parametrize("model_id", ["own", "later"])
def test_the_replay_of_a_walk_of_the_same_kind_decides_over_the_baselines_and_is_named(town: Town, model_id: str) -> None:
    lane_id = let_replay(town, record(town), ISSUE)
    receipt = decided(town, model_id)
    assert published(receipt) == {"flow": "ridge", "speed": "ridge"}
    assert any(f"in replay {lane_id}, joint does not beat ridge" in reason for reason in receipt.details["verdicts"][0]["reasons"])
    assert f"held against it in replay {lane_id}, 1 issue times from" in receipt.notes[0]
    assert decided(town, model_id).outcome == "unchanged"


def test_what_a_replay_scored_after_the_instant_of_a_promotion_changes_no_byte_of_it(town: Town) -> None:
    let_replay(town, record(town), LATER)
    before = decided(town)
    assert published(before) == ALL_BEATEN
    assert "replay" not in "".join(before.notes)
    assert any("in replay" in reason for reason in decided(town, "later", LATER).details["verdicts"][0]["reasons"])


@pytest.mark.parametrize(
    "other",
    [
        {"retrain": "none"},
        {"mode": "reforecast", "retrain": "none", "model_id": "own"},
        {"world_digest": "0" * 64},
        {"options": {"epochs": 1}},
    ],
)
def test_replays_of_other_models_or_worlds_and_reforecasts_are_no_evidence(town: Town, other: dict[str, object]) -> None:
    let_replay(town, record(town, **other), ISSUE)
    assert published(decided(town)) == ALL_BEATEN


def test_a_world_may_ask_for_held_out_windows_only(town: Town) -> None:
    let_replay(town, record(town), ISSUE)
    file = Path(town.file)
    file.write_text(file.read_text().replace("[promotion]", '[promotion]\nevidence = "held-out"'))
    assert published(decided(town)) == ALL_BEATEN


@pytest.mark.parametrize("harmed", ["scores", "record"])
def test_a_replay_that_is_damaged_is_left_out_of_the_evidence_by_name_and_hinders_no_decision(town: Town, harmed: str) -> None:
    lane_id = let_replay(town, record(town), ISSUE)
    lanes = Path(town.settings.store) / "replays" / "tiny"
    [file] = lanes.glob(f"{lane_id}/scores/tiny/issues/*/*/*.json" if harmed == "scores" else f"lanes/{lane_id}.json")
    file.write_bytes(file.read_bytes()[:-20])
    receipt = decided(town)
    assert published(receipt) == ALL_BEATEN
    [note] = [note for note in receipt.notes if f"replay {lane_id} is left out" in note]
    assert str(file) in note
    assert "run cubecast replay again" in note

"""Backtests on rolling origins, on made cubes and stand-ins for the models: counts, purge, embargo, additivity, resumption."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.api import BacktestRequest, Receipt, TrainRequest
from pipeline.contracts.times import format_instant, to_seconds
from pipeline.errors import ConfigError, ContractError, NotYetAvailable
from pipeline.score_lines import WAYS, score_tables
from pipeline.steps import backtest, reading, replay_plan
from pipeline.steps.backtested import list_backtests, show_backtest
from pipeline.stores.backtests import BacktestStore
from pipeline.stores.objects import ObjectStore
from pipeline.stores.registry import Registry
from pipeline.telemetry import QUIET
from pipeline.verification.statistics import Statistics
from pipeline.windows.reader import build_windows
from pipeline.windows.scaling import dump_scalers
from tests.unit.steps.evidence_world import Town, make_town

FIRST, LAST, NOW = datetime(2024, 3, 7, tzinfo=UTC), datetime(2024, 3, 9, 12, tzinfo=UTC), datetime(2024, 3, 10, tzinfo=UTC)
LEARNED: list[tuple[Any, int]] = []


def fake_training(world, request: TrainRequest, settings, progress) -> Receipt:
    """A candidate whose scalers are those of its windows, as of its cut-off; what it learned from is noted."""
    cubes = reading.open_cubes(world, settings, request.as_of)
    windows = build_windows(world, cubes, as_of=to_seconds(request.as_of), scalers=None, live=False)
    LEARNED.append((windows.domains["road"], to_seconds(request.as_of)))
    scalers = dump_scalers({"road": windows.domains["road"].scaler})
    model_id = f"m{format_instant(request.as_of)}"
    Registry(ObjectStore(settings.store), world.name).add_candidate(
        model_id, {"scalers.safetensors": scalers}, {"as_of": format_instant(request.as_of)}
    )
    return Receipt(step="train", world=world.name, as_of=request.as_of, outcome="done", ids={"model_id": model_id})


@pytest.fixture
def town(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Town:
    LEARNED.clear()
    made = make_town(tmp_path, monkeypatch)
    monkeypatch.setattr(backtest, "train_in", fake_training)
    monkeypatch.setattr(backtest, "seconds_of_training", lambda *a: 1.0)
    return made


def asked(town: Town, **more: Any) -> BacktestRequest:
    return BacktestRequest(world=town.file, **{"as_of": NOW, "first": FIRST, "last": LAST, "origins": 3, "workers": 1, **more})


def run(town: Town, **more: Any) -> Receipt:
    return backtest.run(asked(town, **more), town.settings, QUIET)


def test_every_window_of_every_block_is_scored_by_a_model_that_learned_before_the_gap(town: Town) -> None:
    receipt = run(town, embargo=timedelta(hours=6))
    found = show_backtest(town.settings, town.world, receipt.ids["backtest"])
    windows = (LAST - FIRST) // timedelta(minutes=15)
    assert receipt.counts["windows"] == windows
    assert receipt.counts["expected"] == windows * 4 * 5 * 2 == receipt.counts["scored"] + receipt.counts["missing"]
    assert 0 < receipt.counts["missing"] < 0.1 * receipt.counts["expected"]
    assert len(LEARNED) == 3
    for (view, cut_off), origin in zip(LEARNED, found["origins"], strict=True):
        assert origin["cut_off"] == format_instant(datetime.fromtimestamp(cut_off, UTC))
        begin = to_seconds(datetime.fromisoformat(origin["begin"]))
        used = np.concatenate([view.windows_of("train"), view.windows_of("validation")])
        assert len(view.windows_of("validation")) > 0
        assert view.valid_time_T[view.end_W[used] + view.horizon].max() <= begin - 6 * 3600


def test_pooled_scores_are_the_exact_sum_of_the_origins_and_the_differences_are_adjusted(town: Town) -> None:
    receipt = run(town)
    store = BacktestStore(town.settings, "tiny")
    parts = [Statistics.from_json(o["statistics"]) for o in store.found(receipt.ids["backtest"]).values()]
    pooled = Statistics.added(reversed(parts))
    found = show_backtest(town.settings, town.world, receipt.ids["backtest"])
    flow = next(r for r in found["scorecard"]["rows"] if (r["variable"], r["model"], r["lead"]) == ("flow", "joint", 0))
    assert flow["mae"] == pytest.approx(1.0, rel=1e-5)
    assert flow["n"] == pooled.total("road", "joint", over_leads=True)[0, 1]
    differences = found["scorecard"]["differences"]
    assert {d["rival"] for d in differences} >= {"persistence", "seasonal_persistence", "historical_average", "ridge"}
    ridge = next(d for d in differences if (d["variable"], d["rival"]) == ("flow", "ridge"))
    assert ridge["value"] == pytest.approx(-0.5, rel=1e-4)
    assert ridge["p_holm"] >= ridge["p"]


def test_the_same_question_changes_nothing_and_an_origin_that_is_lost_is_done_again_alike(town: Town) -> None:
    receipt = run(town)
    root = Path(town.settings.store)
    before = {p: p.read_bytes() for p in root.rglob("*.json")}
    again = run(town)
    assert (again.outcome, again.ids) == ("unchanged", receipt.ids)
    assert len(LEARNED) == 3
    lost = next(iter((root / "backtests/tiny/origins").rglob("0002.json")))
    lost.unlink()
    assert run(town).outcome == "done"
    assert len(LEARNED) == 4
    assert {p: p.read_bytes() for p in root.rglob("*.json")} == before
    assert [b["done"] for b in list_backtests(town.settings, town.world)] == [3]


def test_a_block_that_misses_a_window_is_refused(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    def hole(learning, domain, issue_time_W, last_target_W, origin):
        codes = block_codes(learning, domain, issue_time_W, last_target_W, origin)
        codes[np.flatnonzero(codes == 2)[5]] = -1
        return codes

    block_codes = backtest.block_codes
    monkeypatch.setattr(backtest, "block_codes", hole)
    with pytest.raises(ContractError, match="by its clock"):
        run(town)


def test_what_comes_after_the_cut_off_cannot_reach_the_model(town: Town) -> None:
    run(town, origins=1)
    cut_off = LEARNED[0][1]
    late = town.cube.valid_time > cut_off
    town.cube = replace(town.cube, values_TNV=np.where(late[:, None, None], np.float32(1e4), town.cube.values_TNV))
    run(town, origins=1, seed=1)
    first, second = LEARNED[0][0], LEARNED[1][0]
    assert first.values_TNV.tobytes() == second.values_TNV.tobytes()
    assert first.scaler.scale_NV.tobytes() == second.scaler.scale_NV.tobytes()


def test_a_dry_run_says_how_long_it_takes_and_does_nothing(town: Town) -> None:
    receipt = run(town, dry_run=True)
    assert receipt.details["estimated_seconds"] == 3.0
    assert LEARNED == []
    assert list_backtests(town.settings, town.world) == []


@pytest.mark.parametrize(
    ("more", "error", "found"),
    [
        ({"first": LAST}, ConfigError, "empty range"),
        ({"embargo": timedelta(days=3)}, ConfigError, "nothing to learn from"),
        ({"as_of": LAST}, NotYetAvailable, "known at 2024-03-09T13:00:00Z only"),
    ],
)
def test_a_question_without_an_answer_is_refused_with_the_reason(town: Town, more, error, found) -> None:
    with pytest.raises(error) as caught:
        run(town, **more)
    assert found in caught.value.found


def test_every_way_of_telling_scores_apart_has_tables(town: Town) -> None:
    found = show_backtest(town.settings, town.world, run(town).ids["backtest"])
    for way in WAYS:
        said = "\n".join(score_tables(found["scorecard"], way))
        assert (
            "no " if way in ("region", "regime", "event", "warning", "warning_lead") else "95 % of all" if way == "rival" else "CRPS"
        ) in said, way
    assert json.dumps(found)


def test_the_estimate_counts_cells_and_epochs(monkeypatch: pytest.MonkeyPatch, town: Town) -> None:
    from types import SimpleNamespace

    monkeypatch.setattr(replay_plan, "_held", lambda world, settings: {"road": SimpleNamespace(steps=1000, nodes=5)})
    once, twice = (replay_plan.seconds_of_training(town.world, town.settings, "tiny", {"epochs": epochs, "steps": 10}) for epochs in (1, 2))
    assert 0 < once < twice < 2 * once
    all_windows, few = (replay_plan.seconds_of_training(town.world, town.settings, "small", {"steps": steps}) for steps in (1600, 560))
    assert all_windows == few  # a domain of few windows takes no more steps than it has windows for
    assert replay_plan.describe_work("3 origins", 120.0, 2) == "3 origins, about 2min with 2 worker(s)"

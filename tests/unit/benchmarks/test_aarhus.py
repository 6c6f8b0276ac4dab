"""How forecasts of Aarhus's road traffic are counted, and what the benchmark keeps and says of them."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks.aarhus_rivals import PLAIN, read, units, wanted
from benchmarks.aarhus_table import Key, missing, table
from benchmarks.aarhus_traffic import FOLDS, TARGETS, TRAFFIC, arrays, one_variable, scores
from benchmarks.aarhus_units import Place, baselines, ours, trees
from benchmarks.arrays import DOMAIN, cube_of, made_world, windows_from
from benchmarks.stid import train_stid
from models.gather import Gatherer, usual_values
from pipeline.contracts.windows import DomainWindows, WindowSet


def _windows() -> WindowSet:
    """Two variables at two nodes, count n at step t being t + n, and one reading of the test part missing."""
    steps = np.arange(300, dtype=np.float32)
    values = np.stack([steps[:, None] + np.arange(2), np.ones((300, 2))], -1).astype(np.float32)
    values[280, 0, 0] = np.nan
    domain = {"context": 24, "horizon": 12, "seasons": ["1d"], "coarse": {"steps": 3, "count": 2}}
    world = made_world(rows=300, step=timedelta(hours=1), cuts=(200, 240), domain=domain, variables=TARGETS)
    made = windows_from(world, cube_of(world, values))
    return replace(made, domains={TRAFFIC: replace(made.domains[DOMAIN], domain=TRAFFIC)})


def _view() -> DomainWindows:
    return _windows().domains[TRAFFIC]


def test_every_reading_of_every_window_is_scored_and_what_is_missing_is_not() -> None:
    view = _view()
    index = view.windows_of("test")
    target = view.end_W[index][:, None] + np.arange(1, 13)
    said = (target[..., None] + np.arange(2) + np.arange(12)[None, :, None]).astype(np.float32)
    found: dict[str, Any] = scores(said, view, "vehicle_count", "test")
    np.testing.assert_allclose(found["mae"], np.arange(12), atol=1e-4)
    assert found["scored"] == said.size - int((target == 280).sum())
    assert found["windows"] == len(index)
    assert scores(said + np.float32(0.4), view, "vehicle_count", "test")["whole"] == found["mean"]


def test_a_forecaster_of_one_series_sees_the_same_windows_and_nothing_else() -> None:
    view = replace(_view(), units=("count", "km/h"), weight_V=np.array([1, 3], np.float32))
    one = one_variable(view, "average_speed", context=6)
    index = view.windows_of("test")
    whole, alone = (Gatherer(v, usual_values(v)).batch(index) for v in (view, one))
    np.testing.assert_array_equal(alone.y_BLNV[..., 0], whole.y_BLNV[..., 1])
    np.testing.assert_array_equal(alone.context.x_BCNV[..., 0], whole.context.x_BCNV[:, -6:, :, 1])
    assert alone.history_BLNVK.numel() == alone.coarse_BJNV.numel() == 0
    assert (one.units, one.weight_V.tolist()) == (("km/h",), [3.0])


def test_the_arrays_of_peers_end_with_the_last_target_and_name_where_the_folds_begin() -> None:
    view, made = _view(), arrays(_view(), "vehicle_count")
    first = view.end_W[view.windows_of("test")[0]] + 1
    assert made["test"] == first
    assert len(made["y_TN"]) - made["test"] - made["horizon"] + 1 == len(view.windows_of("test"))
    assert np.isnan(made["y_TN"][280, 0])
    assert np.isfinite(made["y_TN"]).sum() == made["y_TN"].size - 1


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(keep=tmp_path, given=_windows(), threads=1, python="")


def test_persistence_errs_by_what_a_straight_line_rises_and_an_untrained_model_of_ours_says_the_same(place: Place) -> None:
    plain = {target: record for _, target, record in baselines(place, {"persistence": "persistence"})}
    own = ours(place, 0, {"epochs": 0})
    for fold in FOLDS:
        assert plain["vehicle_count"][fold]["windows"] == len(place.given.domains[TRAFFIC].windows_of(fold))
        np.testing.assert_allclose(plain["average_speed"][fold]["mae"], 0, atol=1e-5)
        for target in TARGETS:
            np.testing.assert_allclose(own[target][fold]["mae"], plain[target][fold]["mae"], atol=1e-4)
    np.testing.assert_allclose(plain["vehicle_count"]["validation"]["mae"], np.arange(1, 13), atol=1e-4)
    assert own["vehicle_count"]["curve"] == []


def test_trees_learn_how_a_straight_line_rises_lead_by_lead(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("lightgbm")
    monkeypatch.setattr("benchmarks.aarhus_trees.ROUNDS", 2)
    found = trees(place, "vehicle_count", 0, {"min_data_in_leaf": 1, "learning_rate": 1.0})
    assert len(found["rounds"]) == 12
    assert max(found["validation"]["mae"]) < 0.01


def test_a_forecaster_of_another_environment_is_wanted_where_there_is_one() -> None:
    assert wanted("STID", "", "")
    assert wanted("STID", "ours;STID", "")
    assert not wanted("ours", "ours, 2 epochs;STID", "")
    assert [wanted("NHITS", "", peers) for peers in ("", "python")] == [False, True]


def test_what_is_begun_of_a_seed_covers_every_name_and_target_and_plain_ones_once(place: Place) -> None:
    keys = [[key for _, made, _ in units(place, seed) for key in made] for seed in (0, 1)]
    assert len(set(keys[0])) == len(keys[0]) == 26
    assert {(name, target) for name, target, _ in keys[0]} - {(name, target) for name, target, _ in keys[1]} == {
        (name, target) for name in PLAIN.values() for target in TARGETS
    }


def _record(mean: float, processor: float) -> dict[str, Any]:
    return {
        "test": {"mae": [mean + lead / 100 for lead in range(1, 13)], "mean": mean, "whole": mean - 0.5, "scored": 10},
        "processor": processor,
        "wall": 9.0,
        "load": [1.0, 2.0],
    }


def test_a_later_line_of_a_unit_stands_for_an_earlier_one(tmp_path: Path) -> None:
    lines = [{"model": "ours", "target": "average_speed", "seed": 1, "n": n} for n in (1, 2)]
    (tmp_path / "a").write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    assert read(tmp_path / "a", tmp_path / "none") == {("ours", "average_speed", 1): lines[1]}


def test_the_table_names_the_best_rival_how_soon_ours_is_as_good_and_what_is_not_done() -> None:
    done: dict[Key, dict[str, Any]] = {("STID", "vehicle_count", seed): _record(1.5 + seed / 10, 100) for seed in range(3)}
    done |= {("NHITS", "vehicle_count", 0): _record(2.0, 10), ("ours", "vehicle_count", 0): _record(1.2, 40)}
    done |= {("ours, 2 epochs", "vehicle_count", 0): _record(1.55, 20)}
    names = ["NHITS", "STID", "ours", "ours, 2 epochs"]
    said = table(done, names)
    assert "the best of the others is STID; ours is 0.4000 below, spread of the seeds 0.1000" in said
    assert "As good in 20 processor seconds (ours, 2 epochs, both targets at once), STID in 100: 0.20." in said
    row = (
        "| STID | 3 | 1.6300 ± 0.1000 | 1.6600 ± 0.1000 | 1.7200 ± 0.1000 | 1.6000 ± 0.1000 | 1.1000 ± 0.1000 | 10 | 100 ± 0 | 9 ± 0 | 2 |"
    )
    assert row in said
    worse = table(done | {("ours", "vehicle_count", 0): _record(1.7, 40), ("ours, 2 epochs", "vehicle_count", 0): _record(1.8, 20)}, names)
    assert "ours is -0.1000 ABOVE, spread of the seeds 0.1000. No training of ours is as good." in worse
    assert "- NHITS: seeds of vehicle_count 1 2, of average_speed 0 1 2\n- STID: seeds of average_speed" in missing(done, names, ())
    assert "- NHITS: seeds of average_speed 0\n" in missing(done, names, ("NHITS",))


def test_an_interrupted_training_of_stid_goes_on_bit_for_bit(tmp_path: Path) -> None:
    view = one_variable(_view(), "vehicle_count", context=6)
    gatherer, train, held = Gatherer(view, usual_values(view)), view.windows_of("train"), view.windows_of("validation")
    whole = train_stid(gatherer, train, held, seed=1, epochs=4)
    for epochs in (1, 3, 4):
        parts = train_stid(gatherer, train, held, seed=1, epochs=epochs, kept=tmp_path / "kept")
    assert parts.curve == whole.curve
    assert parts.epoch == whole.epoch
    assert all(torch.equal(a, b) for a, b in zip(parts.model.parameters(), whole.model.parameters(), strict=True))
    ended = train_stid(gatherer, train, held, seed=1, epochs=50, patience=1, kept=tmp_path / "other")
    assert len(ended.curve) == ended.epoch + 1 or len(ended.curve) == 50

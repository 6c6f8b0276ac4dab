from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from models import api
from models.training.checkpoint import write_checkpoint
from models.training.folds import folds_of
from pipeline.contracts.windows import WindowSet
from pipeline.errors import ConfigError, ContractError, NotYetAvailable, StoreError
from pipeline.telemetry import QUIET
from tests.unit.models.conftest import road
from tests.unit.models.planted import altered, together

QUICK = api.resolve_config("tiny", {"epochs": 3, "dropout": 0.1, "steps": 8, "least_steps": 4})


class Killed(BaseException):
    pass


class KillingProgress:
    """Dies after so many steps, as a kill would: no handler runs."""

    def __init__(self, after: int) -> None:
        self.left = after

    @contextmanager
    def stage(self, name: str, total: float | None, unit: str = "") -> Iterator[KillingProgress]:
        yield self

    def advance(self, amount: float = 1, note: str = "") -> None:
        self.left -= 1
        if self.left == 0:
            raise Killed


def test_the_same_windows_config_and_seed_give_the_same_bytes(city: WindowSet) -> None:
    first, second = (api.fit(city, QUICK, seed=5, progress=QUIET) for _ in range(2))
    assert first.state == second.state
    assert first.meta == second.meta
    assert api.fit(city, QUICK, seed=6, progress=QUIET).state != first.state


def test_bfloat16_training_is_reproducible_as_well(city: WindowSet) -> None:
    config = replace(QUICK, precision="bfloat16", epochs=1, steps=4)
    assert api.fit(city, config, seed=5, progress=QUIET).state == api.fit(city, config, seed=5, progress=QUIET).state


def test_random_numbers_and_threads_of_the_caller_are_left_alone(city: WindowSet) -> None:
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    threads = torch.get_num_threads()
    api.fit(city, replace(QUICK, epochs=1), seed=5, progress=QUIET)
    assert torch.equal(torch.rand(3), expected)
    assert torch.get_num_threads() == threads
    assert not torch.are_deterministic_algorithms_enabled()


@pytest.mark.parametrize("after", [3, 17, 30])
def test_a_killed_training_goes_on_to_the_same_bytes(city: WindowSet, tmp_path: Path, after: int) -> None:
    whole = api.fit(city, QUICK, seed=5, progress=QUIET)
    path = tmp_path / "checkpoint.safetensors"
    with pytest.raises(Killed):
        api.fit(city, QUICK, seed=5, progress=KillingProgress(after), checkpoint=path)
    assert path.exists() == (after > 12)
    again = api.fit(city, QUICK, seed=5, progress=QUIET, checkpoint=path)
    assert again.state == whole.state
    assert again.meta == whole.meta


def test_a_checkpoint_of_another_training_is_refused_and_kept(city: WindowSet, tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.safetensors"
    api.fit(city, replace(QUICK, epochs=1), seed=5, progress=QUIET, checkpoint=path)
    before = path.read_bytes()
    with pytest.raises(ContractError, match="seed 6"):
        api.fit(city, replace(QUICK, epochs=1), seed=6, progress=QUIET, checkpoint=path)
    assert path.read_bytes() == before
    path.write_bytes(before[:1000])
    with pytest.raises(ContractError, match="unreadable"):
        api.fit(city, replace(QUICK, epochs=1), seed=5, progress=QUIET, checkpoint=path)


def test_a_checkpoint_of_another_version_is_refused_and_kept(city: WindowSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, once = tmp_path / "checkpoint.safetensors", replace(QUICK, epochs=1)
    with monkeypatch.context() as older:
        older.setattr(api, "SCHEMA", 1)
        api.fit(city, once, seed=5, progress=QUIET, checkpoint=path)
    before = path.read_bytes()
    with pytest.raises(ContractError, match="schema 1"):
        api.fit(city, once, seed=5, progress=QUIET, checkpoint=path)
    assert path.read_bytes() == before


def test_a_checkpoint_of_another_world_or_of_nobody_knows_which_is_refused_and_kept(city: WindowSet, tmp_path: Path) -> None:
    path, once = tmp_path / "checkpoint.safetensors", replace(QUICK, epochs=1)
    elsewhere = together(road(seed=8), city.domains["shop"])
    api.fit(elsewhere, once, seed=5, progress=QUIET, checkpoint=path)
    before = path.read_bytes()
    with pytest.raises(ContractError, match=f"window_digest {elsewhere.digest}"):
        api.fit(city, once, seed=5, progress=QUIET, checkpoint=path)
    assert path.read_bytes() == before
    for record in ({"epoch": 1}, {"identity": "road"}, []):
        write_checkpoint(path, {"model/x": torch.ones(1)}, record)
        before = path.read_bytes()
        with pytest.raises(ContractError, match="does not say of which training"):
            api.fit(city, once, seed=5, progress=QUIET, checkpoint=path)
        assert path.read_bytes() == before


@pytest.mark.parametrize("recipe", ["base", "accurate"])
def test_the_recipes_for_a_gpu_train_and_forecast(city: WindowSet, recipe: str) -> None:
    brief = {"epochs": 1, "steps": 2, "least_steps": 2, "batch": 8, "validation_windows": 4, "least_gain": 0.0, "precision": "float32"}
    config = api.resolve_config(recipe, brief)
    fitted = api.fit(city, config, seed=5, progress=QUIET)
    assert (fitted.meta["config"]["recipe"], fitted.meta["config"]["members"]) == (recipe, 3 if recipe == "accurate" else 1)
    predictor = api.load(fitted.state, fitted.meta)
    for domain in predictor.leading:
        said = predictor.predict(city, domain, city.domains[domain].windows_of("live"))
        assert np.isfinite(said.quantiles_BLNVQ).all()
        assert said.parts[:3] == ("anchor", "series", "space")


def test_progress_says_how_fast_it_goes_and_how_long_it_takes(city: WindowSet) -> None:
    notes: list[str] = []

    class Listening:
        @contextmanager
        def stage(self, name: str, total: float | None, unit: str = "") -> Iterator[Listening]:
            yield self

        def advance(self, amount: float = 1, note: str = "") -> None:
            notes.append(note)

    api.fit(city, replace(QUICK, epochs=2), seed=5, progress=Listening())
    assert all(re.fullmatch(r"(road|sky|shop) loss \d+\.\d+, [\d,]+ windows/s, waiting [\d.]+%, (\d+:)?\d+:\d\d left", n) for n in notes), (
        notes[:3]
    )
    assert notes[-1].endswith(" 0:00 left")


def test_a_checkpoint_that_cannot_be_written_says_where(city: WindowSet, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreError, match="checkpoint"):
        api.fit(city, replace(QUICK, epochs=1), seed=5, progress=QUIET, checkpoint=tmp_path / "file" / "checkpoint")


def test_the_test_fold_is_never_touched(city: WindowSet) -> None:
    d = city.domains["road"]
    first = int(d.end_W[d.windows_of("test")[0]]) + 1
    alone = together(d)
    values, history = d.values_TNV.copy(), d.history_TNVK.copy()
    values[first:] += 50
    history[first:] += 50
    changed = altered(alone, "road", values_TNV=values, history_TNVK=history)
    assert api.fit(alone, QUICK, seed=5, progress=QUIET).state == api.fit(changed, QUICK, seed=5, progress=QUIET).state
    assert api.fit_baselines(alone).state == api.fit_baselines(changed).state


def test_the_epoch_is_chosen_with_modalities_switched_off_too(city: WindowSet) -> None:
    fitted = api.fit(city, QUICK, seed=5, progress=QUIET)
    last = fitted.meta["history"][-1]["validation"]
    assert set(last["road"]["without"]) == {"shop", "sky"}
    assert last["road"]["without"]["sky"] != last["road"]["relative_to_anchor"]
    alone = api.fit(city, replace(QUICK, outage_share=0.0), seed=5, progress=QUIET).meta["history"]
    assert [h["loss"] for h in alone] == [h["loss"] for h in fitted.meta["history"]]
    assert all(not v["without"] for h in alone for v in h["validation"].values())

    best = fitted.meta["best"]["road"]["epoch"]
    judged = [
        (v["relative_to_anchor"] + np.mean(list(v["without"].values()))) / 2
        for h in fitted.meta["history"]
        if (v := h["validation"]["road"])
    ]
    assert best == 1 + int(np.argmin(judged))


def test_meta_is_json_and_tells_the_history(city: WindowSet) -> None:
    meta = api.fit(city, QUICK, seed=5, progress=QUIET).meta
    assert json.loads(json.dumps(meta, allow_nan=False)) == meta
    assert [h["epoch"] for h in meta["history"]] == [1, 2, 3]
    assert set(meta["history"][0]["loss"]) == {"road", "shop", "sky"}
    assert meta["config_digest"] == QUICK.digest
    assert meta["domains"]["road"]["variables"] == ["count", "speed"]


def test_a_loss_that_is_no_number_names_epoch_and_domain(city: WindowSet) -> None:
    values = city.domains["sky"].values_TNV.copy()
    values[20] = np.nan
    with pytest.raises(ContractError, match="epoch 1, domain 'sky'"):
        api.fit(altered(city, "sky", values_TNV=values), QUICK, seed=5, progress=QUIET)


def test_a_domain_without_windows_is_seen_but_not_forecast(city: WindowSet) -> None:
    no_fold = altered(city, "sky", fold_W=np.full_like(city.domains["sky"].fold_W, -1))
    fitted = api.fit(no_fold, QUICK, seed=5, progress=QUIET)
    assert fitted.meta["leading"] == ["road", "shop"]
    assert any("'sky' is not forecast" in note for note in fitted.meta["notes"])
    empty = altered(city, "sky", good_TNV=np.zeros_like(city.domains["sky"].good_TNV))
    fitted = api.fit(empty, QUICK, seed=5, progress=QUIET)
    assert any("'sky' holds no value" in note for note in fitted.meta["notes"])
    assert np.isfinite(api.load(fitted.state, fitted.meta).predict(empty, "road", np.array([0])).quantiles_BLNVQ).all()


def test_without_a_validation_fold_the_end_of_training_chooses_the_epoch(city: WindowSet) -> None:
    d = city.domains["road"]
    windows = together(replace(d, fold_W=np.where(d.fold_W == 1, -1, d.fold_W).astype(np.int8)))
    folds = folds_of(windows.domains["road"])
    assert len(folds.validation) == len(d.windows_of("train")) // 8
    assert d.end_W[folds.train[-1]] + d.horizon <= d.end_W[folds.validation[0]]
    meta = api.fit(windows, QUICK, seed=5, progress=QUIET).meta
    assert meta["leading"] == ["road"]
    assert any("chose the epoch" in note for note in meta["notes"])


def test_a_gain_over_the_anchor_that_may_be_chance_is_not_taken(city: WindowSet) -> None:
    greedy = api.fit(city, QUICK, seed=5, progress=QUIET)
    careful = api.fit(city, replace(QUICK, least_gain=0.99), seed=5, progress=QUIET)
    assert greedy.meta["best"]["road"]["epoch"] > 0
    assert careful.meta["best"]["road"] == {"epoch": 0, "relative_to_anchor": 1.0}


def test_a_world_without_any_training_window_is_refused() -> None:
    d = road()
    with pytest.raises(NotYetAvailable, match="'road' is not forecast"):
        api.fit(together(replace(d, fold_W=np.full_like(d.fold_W, 2))), QUICK, seed=0, progress=QUIET)


def test_a_node_that_never_speaks_is_forecast_without_harm(city: WindowSet) -> None:
    d = city.domains["road"]
    good, latency = d.good_TNV.copy(), d.latency_TNV.copy()
    good[:, 2], latency[:, 2] = False, 2**31 - 1
    windows = together(replace(d, good_TNV=good, latency_TNV=latency))
    fitted = api.fit(windows, QUICK, seed=5, progress=QUIET)
    assert np.isfinite(api.load(fitted.state, fitted.meta).predict(windows, "road", d.windows_of("test")).quantiles_BLNVQ).all()


def test_an_unknown_option_names_the_nearest_and_all_allowed() -> None:
    with pytest.raises(ConfigError, match=r"did you mean 'learning_rate'.*hidden"):
        api.resolve_config("small", {"learning_rat": 0.1})
    with pytest.raises(ConfigError, match="did you mean 'small'"):
        api.resolve_config("smal", {})


@pytest.mark.parametrize(
    ("option", "value", "allowed"),
    [
        ("epochs", "many", "a whole number"),
        ("dropout", 1.5, "below 1"),
        ("temporal", "cnn", "lstm"),
        ("modalities", "maybe", "true or false"),
        ("rows", 0, "at least 1"),
        ("learning_rate", "nan", "above 0"),
    ],
)
def test_a_wrong_value_says_what_is_allowed(option: str, value: object, allowed: str) -> None:
    with pytest.raises(ConfigError, match=allowed):
        api.resolve_config("small", {option: value})


def test_texts_are_read_as_the_options_own_type_and_change_the_digest() -> None:
    config = api.resolve_config("small", {"epochs": "3", "modalities": "False", "learning_rate": "1e-3", "temporal": "gru"})
    assert (config.epochs, config.modalities, config.learning_rate, config.temporal) == (3, False, 1e-3, "gru")
    assert config.digest != api.resolve_config("small", {}).digest
    assert (
        config.digest == api.resolve_config("small", {"epochs": 3, "modalities": False, "learning_rate": 0.001, "temporal": "gru"}).digest
    )

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from models import api, search
from models.search import SPACE, Budget
from pipeline.contracts.windows import WindowSet
from pipeline.errors import ConfigError, ContractError
from pipeline.telemetry import QUIET
from tests.unit.models.conftest import shop
from tests.unit.models.planted import together

BRIEF = api.resolve_config("tiny", {"epochs": 1, "steps": 2, "least_steps": 2})


@pytest.fixture(scope="module")
def windows() -> WindowSet:
    return together(shop())


def run(windows: WindowSet, folder: Path, trials: int, **changes: object) -> dict[str, object]:
    return search.search(windows, replace(BRIEF, **changes), seed=3, budget=Budget(trials=trials), folder=folder, progress=QUIET)


def test_a_search_in_two_parts_is_the_search_in_one(windows: WindowSet, tmp_path: Path) -> None:
    run(windows, tmp_path / "parts", 2)
    parts, whole = run(windows, tmp_path / "parts", 5), run(windows, tmp_path / "whole", 5)
    assert parts == whole
    assert len(whole["trials"]) == 5
    assert whole["error"] == min(t["error"] for t in whole["trials"])
    assert set(whole["options"]) == set(SPACE)
    assert api.resolve_config("tiny", whole["options"]).learning_rate == whole["options"]["learning_rate"]


def test_a_trial_that_was_killed_is_tried_again(windows: WindowSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(*args: object, **kwargs: object) -> None:
        raise KeyboardInterrupt

    whole = run(windows, tmp_path / "whole", 3)
    run(windows, tmp_path / "killed", 1)
    monkeypatch.setattr("models.api.fit", killed)
    with pytest.raises(KeyboardInterrupt):
        run(windows, tmp_path / "killed", 3)
    monkeypatch.undo()
    assert run(windows, tmp_path / "killed", 3) == whole
    assert sorted(p.name for p in (tmp_path / "killed").iterdir()) == ["journal.jsonl"]


def test_a_trial_that_cannot_be_trained_keeps_its_reason_and_the_search_goes_on(
    windows: WindowSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit, calls = api.fit, []

    def sometimes(*args: object, **kwargs: object) -> api.Fitted:
        calls.append(kwargs["checkpoint"])
        if len(calls) == 2:
            Path(str(kwargs["checkpoint"])).write_bytes(b"half a training")
            raise ContractError(asked="training epoch 1", found="loss nan", mend="lower learning_rate")
        return fit(*args, **kwargs)

    monkeypatch.setattr("models.api.fit", sometimes)
    found = run(windows, tmp_path, 3)
    assert (len(found["trials"]), len(found["failed"]), len(set(calls))) == (2, 1, 3)
    assert "loss nan" in found["failed"][0]["reason"]
    assert set(found["failed"][0]["options"]) == set(SPACE)
    assert run(windows, tmp_path, 3) == found
    assert len(calls) == 3
    assert sorted(p.name for p in tmp_path.iterdir()) == ["journal.jsonl"]


def test_where_no_trial_can_be_trained_the_options_and_the_reason_are_named(windows: WindowSet, tmp_path: Path) -> None:
    def asked(trials: int) -> None:
        search.search(windows, BRIEF, seed=3, budget=Budget(trials=trials), folder=tmp_path, progress=QUIET, memory=1000)

    with pytest.raises(ConfigError, match=r"hidden=\d+.*none of 2 trials could be trained; ConfigError: train on world.*may be used"):
        asked(2)
    with pytest.raises(ConfigError, match="none of 3 trials"):
        asked(3)
    assert search.search(windows, BRIEF, seed=3, budget=Budget(trials=4), folder=tmp_path, progress=QUIET)["error"] is not None


def test_a_search_ends_with_its_time_and_keeps_to_its_own_windows(windows: WindowSet, tmp_path: Path) -> None:
    found = search.search(windows, BRIEF, seed=3, budget=Budget(trials=9, seconds=0.0), folder=tmp_path, progress=QUIET)
    assert found == {"options": {}, "error": None, "trials": [], "failed": []}
    with pytest.raises(ContractError, match="another config_digest"):
        run(windows, tmp_path, 1, epochs=2)


def test_without_optuna_the_mend_is_named(windows: WindowSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ConfigError, match=r"cubecast\[search\]"):
        run(windows, tmp_path, 1)


@pytest.mark.parametrize("recipe", ["small", "base", "accurate", "tiny"])
def test_every_recipe_is_a_whole_configuration_of_its_own(recipe: str) -> None:
    config = api.resolve_config(recipe, {})
    assert config.recipe == recipe
    assert config.hidden % config.heads == config.temporal_hidden % config.heads == config.summary_hidden % config.heads == 0
    assert api.resolve_config(recipe, {"epochs": 1}).digest != config.digest

"""Models of the tiny world through the command line: searched, exported, and known by their recipe everywhere."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from models.api import Prediction
from models.migration import SCHEMA
from models.training.checkpoint import write_checkpoint
from pipeline.contracts.times import to_seconds
from pipeline.contracts.world_files import load_world
from pipeline.steps import reading
from pipeline.stores.forecast_arrays import ForecastArrays
from pipeline.stores.forecasts import ForecastStore
from pipeline.stores.objects import ObjectStore
from pipeline.stores.registry import Candidate, Registry
from tests.flow.chain import settings_for

BRIEF = ("models", "search", "--set", "epochs=1", "--set", "steps=2", "--set", "least_steps=2")


def said(place, *words: str) -> dict:
    code, out, err = place.do(*words, "--json")
    assert code == 0, err
    return json.loads(out)


def test_a_search_that_is_interrupted_goes_on_and_ends_as_if_it_had_not_been(tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*args: object, **kwargs: object) -> None:
        raise KeyboardInterrupt

    place = tiny("train")
    first = said(place, *BRIEF, "--trials", "1")
    with monkeypatch.context() as broken:
        broken.setattr("models.api.fit", interrupted)
        assert place.do(*BRIEF, "--trials", "2")[0] == 130
    found = said(place, *BRIEF, "--trials", "2")
    assert found["trials"][0] == first["trials"][0]
    assert (len(found["trials"]), found["failed"], found["folder"]) == (2, [], first["folder"])
    assert said(place, *BRIEF, "--trials", "2") == found
    text = place.do(*BRIEF, "--trials", "2")[1]
    assert "recipe_options = {" in text
    assert f"hidden = {found['options']['hidden']}" in text


def test_a_search_without_enough_memory_names_the_options_and_the_sizes_and_tries_others(tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tiny("train")
    monkeypatch.setenv("CUBECAST_MEMORY", "2MiB")
    code, _, err = place.do(*BRIEF, "--trials", "1")
    assert code == 78
    assert "hidden=" in err
    assert "may be used" in err
    monkeypatch.delenv("CUBECAST_MEMORY")
    found = said(place, *BRIEF, "--set", "memory=streamed", "--trials", "1")
    assert len(found["trials"]) == 1


def test_every_artefact_of_a_model_names_its_recipes_digest_and_its_programs_forecast_what_was_published(tiny, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    place = tiny("done")
    objects, out = ObjectStore(str(place.store)), tmp_path / "programs"
    registry = Registry(objects, "tiny")
    candidate = registry.candidates()[0]
    digest = candidate.card["config_digest"]
    exported = said(place, "models", "export", "--out", str(out))
    evidence = registry.evidence(candidate.model_id)
    explained = said(place, "models", "explain")
    issue = ForecastStore(objects, "tiny").read(max(ForecastStore(objects, "tiny").issue_times()))
    named = {
        "card": candidate.card["config_digest"],
        **{name: json.loads(candidate.read(name))["config_digest"] for name in ("joint.json", "baselines.json")},
        "scorecard": evidence.scorecard.config_digest,
        **{f"explanation of {k}": v["config_digest"] for k, v in json.loads(evidence.read("explanation.json") or b"").items()},
        "explain": explained["config_digest"],
        "forecast": issue.provenance["config_digest"],
        **{
            f"{k} as Zarr": json.loads(ForecastArrays(str(place.store), "tiny").open(k)["provenance"].values[-1])["config_digest"]
            for k in issue.domains
        },
        **{f"{k}.json": json.loads((out / f"{k}.json").read_text())["config_digest"] for k in exported["domains"]},
        "receipt": json.loads(place.do("receipts", "show", "train", "--json")[1])["ids"]["config_digest"],
    }
    assert set(exported["domains"]) == {"weather", "traffic", "market"}
    assert named == dict.fromkeys(named, digest)
    assert all(digest in (out / f"{k}.txt").read_text() for k in exported["domains"])
    assert digest in place.do("models", "explain")[1]
    for name, live in _live(place, candidate).items():
        program, example = torch.export.load(out / f"{name}.pt2").module(), load_file(out / f"{name}.example.safetensors")
        told = program({k.removeprefix("in/"): v for k, v in example.items() if k.startswith("in/")})
        found = dict(zip(("quantiles", "split"), (t.numpy() for t in told), strict=True))
        for part, mine in (("quantiles", live.quantiles_BLNVQ), ("split", live.split_BLNVP)):
            np.testing.assert_allclose(found[part], mine, rtol=1e-5, atol=1e-5 * float(np.abs(mine).max()))


def test_a_card_says_where_a_model_comes_from(tiny) -> None:
    place = tiny("done")
    world = load_world(str(place.world))
    shown = said(place, "models", "show", tiny.ids["train"]["model_id"])
    card = shown["card"]
    receipt = said(place, "receipts", "show", "train")
    assert (card["world"], card["world_digest"], card["recipe"], card["seed"]) == ("tiny", world.digest, "tiny", 0)
    assert card["as_of"] == receipt["as_of"]
    assert {k: card[k] for k in ("snapshot", "window_digest", "config_digest")} == {
        k: v for k, v in receipt["ids"].items() if k != "model_id"
    }
    assert card["code_version"]
    assert card["config"]["epochs"] == 1
    assert (card["device"], card["precision"], card["processes"]) == ("cpu", "float32", 1)
    assert set(card["libraries"]) == {"torch", "numpy"}
    assert card["sizes"]["nodes"] == {"market": 2, "traffic": 6, "weather": 16}
    assert card["sizes"]["joint_bytes"] > 4 * sum(card["sizes"]["parameters"].values()) > 0
    assert set(card["licences"]) == set(world.sources)
    assert {row["model"] for row in shown["scorecard"]["rows"]} >= {"joint", "persistence", "ridge"}
    assert set(shown["outages"]["traffic"]) == {"future", "market", "weather", "text_notices"}


def test_bad_trainings_are_told_and_overwrite_nothing(tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tiny("done")
    model_id = tiny.ids["train"]["model_id"]

    def kept() -> dict[str, bytes]:
        return {str(p): p.read_bytes() for area in ("registry", "work") for p in (place.store / area).rglob("*") if p.is_file()}

    before = kept()
    assert "did you mean 'epochs'" in place.fails(78, "train", "--set", "epoch=2")
    assert "did you mean 'tiny'" in place.fails(78, "train", "--recipe", "tinny")
    assert "loss" in place.fails(65, "train", "--set", "learning_rate=1e8", "--set", "clip=1e8", "--set", "epochs=1")
    monkeypatch.setenv("CUBECAST_MEMORY", "64KiB")
    with monkeypatch.context() as unread:
        unread.setattr("pipeline.steps.reading.open_inputs", lambda *_, **__: pytest.fail("windows were read"))
        found = place.fails(78, "train", "--set", "memory=resident", "--set", "epochs=2")
    assert "memory=resident; windows of" in found
    assert "may be used" in found
    monkeypatch.delenv("CUBECAST_MEMORY")
    assert kept() == before

    shutil.rmtree(place.store / "registry")
    checkpoint = place.store / "work" / "tiny" / f"{model_id}.safetensors"
    write_checkpoint(
        checkpoint, {"model/x": torch.ones(1)}, {"epoch": 1, "history": [], "identity": {"schema": SCHEMA, "window_digest": "another"}}
    )
    before = kept()
    assert "window_digest another" in place.fails(65, "train")
    assert kept() == before


def _live(place, candidate: Candidate) -> dict[str, Prediction]:
    """The joint model's own forecasts at its cut-off."""
    world, settings = load_world(str(place.world)), settings_for(place.store)
    inputs = reading.open_inputs(world, settings, candidate.as_of, live=True)
    windows = reading.windows_of(world, candidate, inputs, as_of=to_seconds(candidate.as_of), live=True)
    joint = reading.load_models(candidate).predictors["joint"]
    live = {name: view.windows_of("live") for name, view in windows.domains.items()}
    return {name: joint.predict(windows, name, index) for name, index in live.items()}

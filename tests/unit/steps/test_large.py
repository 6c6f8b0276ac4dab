"""Trainings on windows that lie in files: the same windows, and a model, where memory does not hold them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.api import BuildCubeRequest, EvaluateRequest, LandRequest, ObserveRequest, TrainRequest
from pipeline.contracts.times import parse_instant, to_seconds
from pipeline.contracts.world_files import load_world
from pipeline.settings import Settings
from pipeline.steps import build_cube, evaluate, land, large, observe, reading, train
from pipeline.stores.objects import ObjectStore
from pipeline.stores.registry import Registry
from pipeline.telemetry import QUIET
from tests.world import tiny_world

QUICK = {"epochs": "1", "steps": "4", "least_steps": "4", "stream_chunks": "6", "stream_together": "2"}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Settings]:
    folder = tmp_path_factory.mktemp("large")
    world = str(tiny_world(folder))
    settings = Settings(store=str(folder / "store"), data=None, dask=None)
    end = load_world(world).recorded
    assert end is not None
    land.run(LandRequest(world=world, as_of=end.end, received_time=end.end), settings, QUIET)
    observe.run(ObserveRequest(world=world, as_of=end.end), settings, QUIET)
    build_cube.run(BuildCubeRequest(world=world, as_of=end.end), settings, QUIET)
    return world, settings


def test_windows_in_files_are_the_windows_in_memory_bit_for_bit(built: tuple[str, Settings], tmp_path: Path) -> None:
    world, settings = load_world(built[0]), built[1]
    as_of = parse_instant("2025-10-29T12:00Z")
    cells = large.cells_of(world, settings, as_of)
    inputs = large.inputs_in(tmp_path, world, settings, as_of, cells, memory=2_000_000)
    found = reading.built(world, inputs, to_seconds(as_of), None)
    assert isinstance(found.domains["traffic"].values_TNV, np.memmap)
    assert found.domains["traffic"].future is not None
    assert found.digest == train.windows_at(world, settings, as_of).digest


def test_a_training_that_memory_does_not_hold_is_streamed(built: tuple[str, Settings], monkeypatch: pytest.MonkeyPatch) -> None:
    world, settings = built
    as_of = parse_instant("2025-10-29T12:00Z")
    request = TrainRequest(world=world, as_of=as_of, recipe="tiny", options=QUICK)
    needed = large.window_bytes(load_world(world), large.cells_of(load_world(world), settings, as_of))
    monkeypatch.setattr(large, "machine_bytes", lambda: 3 * needed)
    streamed = train.run(request, settings, QUIET)
    card = Registry(ObjectStore(settings.store), "tiny").candidate(streamed.ids["model_id"]).card
    assert card["config"]["memory"] == "streamed"
    assert train.run(request, settings, QUIET).outcome == "unchanged"
    roomy = replace(settings, memory=2**33)
    resident = train.run(request, roomy, QUIET)
    assert resident.ids["model_id"] != streamed.ids["model_id"]
    assert resident.ids["window_digest"] == streamed.ids["window_digest"]
    asked = train.run(request.model_copy(update={"options": QUICK | {"memory": "streamed"}}), roomy, QUIET)
    assert asked.ids["model_id"] == streamed.ids["model_id"]


def test_an_evaluation_that_memory_does_not_hold_gives_the_same_scorecard(
    built: tuple[str, Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    world, settings = built
    as_of = parse_instant("2025-10-29T12:00Z")
    trained = train.run(TrainRequest(world=world, as_of=as_of, recipe="tiny", options=QUICK), replace(settings, memory=2**33), QUIET)
    registry = Registry(ObjectStore(settings.store), "tiny")
    request = EvaluateRequest(world=world, as_of=as_of, model_id=trained.ids["model_id"])
    whole = evaluate.run(request, replace(settings, memory=2**33), QUIET)
    opened: list[bool] = []
    inputs_for = large.inputs_for
    needed = large.window_bytes(load_world(world), large.cells_of(load_world(world), settings, as_of))

    def watched(*given: Any) -> reading.Inputs:
        inputs = inputs_for(*given)
        opened.append(inputs.room is not None)
        return inputs

    monkeypatch.setattr(large, "inputs_for", watched)
    monkeypatch.setattr(Registry, "evidences", lambda *_: [])
    cards: list[Any] = []
    monkeypatch.setattr(Registry, "add_scorecard", lambda _self, card, _files: (cards.append(card), True)[1])
    mapped = evaluate.run(request, replace(settings, memory=needed), QUIET)
    assert opened == [True]
    assert mapped.counts == whole.counts
    monkeypatch.undo()
    assert cards[0].rows == registry.evidences(trained.ids["model_id"])[-1].scorecard.rows

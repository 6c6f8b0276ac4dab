from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from models.api import load, load_baselines
from pipeline.api import TrainRequest
from pipeline.contracts.forecasts import BASELINES, EXTRA_BASELINES
from pipeline.errors import ConfigError, NotYetAvailable
from pipeline.steps import reading, train
from pipeline.stores.objects import ObjectStore
from pipeline.stores.registry import Registry
from pipeline.telemetry import QUIET
from tests.unit.steps.evidence_world import CUTOFF, Town, make_town

OPTIONS = {"epochs": "2", "steps": "4", "least_steps": "2"}


@pytest.fixture
def town(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Town:
    return make_town(tmp_path, monkeypatch)


def request(town: Town, seed: int = 0, **options: str) -> TrainRequest:
    return TrainRequest(world=town.file, as_of=CUTOFF, recipe="tiny", options=OPTIONS | options, seed=seed)


def test_training_registers_a_candidate_that_can_be_read_back(town: Town) -> None:
    receipt = train.run(request(town), town.settings, QUIET)
    assert receipt.outcome == "done"
    candidate = Registry(ObjectStore(town.settings.store), "tiny").candidate(receipt.ids["model_id"])
    assert candidate.as_of == CUTOFF
    assert candidate.card["config"]["epochs"] == 2
    assert len(candidate.card["history"]) == 2
    meta = json.loads(candidate.read("joint.json"))
    windows = reading.windows_of(
        town.world, candidate, reading.open_inputs(town.world, town.settings, CUTOFF), as_of=int(CUTOFF.timestamp()), live=False
    )
    index_W = windows.domains["road"].windows_of("test")
    said = load(candidate.read("joint.safetensors"), meta).predict(windows, "road", index_W)
    assert said.quantiles_BLNVQ.shape == (len(index_W), 4, 5, 2, 7)
    rivals = load_baselines(candidate.read("baselines.safetensors"), json.loads(candidate.read("baselines.json")))
    assert tuple(rivals) == tuple(k for k in BASELINES if k not in EXTRA_BASELINES)


def test_the_same_request_again_trains_nothing(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    first = train.run(request(town), town.settings, QUIET)
    monkeypatch.setattr("models.api.fit", None)
    again = train.run(request(town), town.settings, QUIET)
    assert again.outcome == "unchanged"
    assert again.model_copy(update={"outcome": "done"}) == first


def test_another_seed_or_option_is_another_candidate(town: Town) -> None:
    ids = {train.run(r, town.settings, QUIET).ids["model_id"] for r in (request(town), request(town, seed=1), request(town, hidden="8"))}
    assert len(ids) == 3


def test_a_models_id_tells_apart_all_that_its_bytes_depend_on(monkeypatch: pytest.MonkeyPatch) -> None:
    machine: dict[str, Any] = {"device": "cpu", "precision": "float32", "processes": 1}
    asked: tuple[Any, ...] = ("windows", "config", machine, 0, None)
    changed = [("other", *asked[1:]), (asked[0], "other", *asked[2:]), (*asked[:3], 1, None), (*asked[:4], "m1")]
    changed += [(*asked[:2], machine | part, *asked[3:]) for part in ({"device": "cuda"}, {"precision": "bfloat16"}, {"processes": 2})]
    first = train.model_id_of(*asked)
    assert first == train.model_id_of(*asked)
    ids = {first, *(train.model_id_of(*each) for each in changed)}
    monkeypatch.setattr(train, "code_version", lambda: "another")
    assert len(ids | {train.model_id_of(*asked)}) == len(changed) + 2


def test_a_killed_training_goes_on_and_leaves_no_checkpoint(town: Town) -> None:
    class Killed(BaseException):
        pass

    class Kills:
        @contextmanager
        def stage(self, name: str, total: float | None, unit: str = "") -> Iterator[Kills]:
            if name.startswith("epoch 2"):
                raise Killed
            yield self

        def advance(self, amount: float = 1, note: str = "") -> None:
            return None

    with pytest.raises(Killed):
        train.run(request(town), town.settings, Kills())
    work = Path(town.settings.store) / "work" / "tiny"
    (checkpoint,) = work.iterdir()
    left = checkpoint.read_bytes()
    assert train.run(request(town), town.settings, QUIET).outcome == "done"
    assert not list(work.iterdir())
    checkpoint.write_bytes(left)  # as by a kill right after the candidate was registered
    assert train.run(request(town), town.settings, QUIET).outcome == "unchanged"
    assert not list(work.iterdir())


def test_an_unknown_option_is_told_before_anything_is_read(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "open_cubes", None)
    with pytest.raises(ConfigError, match="did you mean 'hidden'"):
        train.run(request(town, hiden="8"), town.settings, QUIET)


def test_without_a_cube_it_says_which_step_comes_first(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "open_cubes", lambda *args, **options: {})
    with pytest.raises(NotYetAvailable, match="cubecast build-cube"):
        train.run(request(town), town.settings, QUIET)


def test_a_horizon_longer_than_the_data_is_told_with_its_mend_and_leaves_nothing(town: Town) -> None:
    file = Path(town.file)
    file.write_text(file.read_text().replace("horizon = 4", "horizon = 2000"))
    with pytest.raises(NotYetAvailable, match="shorten context and horizon") as told:
        train.run(request(town), town.settings, QUIET)
    assert "0 training windows" in str(told.value)
    assert [c.model_id for c in Registry(ObjectStore(town.settings.store), "tiny").candidates()] == ["m1"]

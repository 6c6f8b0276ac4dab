"""What a training plans, refuses, writes down, and survives."""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import pytest
import torch

from models import api
from models.batch import mapped
from models.training import memory
from models.training.graphs import tensors_in
from models.training.runtime import training_device
from pipeline.contracts.windows import WindowSet
from pipeline.errors import ConfigError
from pipeline.telemetry import QUIET
from tests.unit.models.conftest import road
from tests.unit.models.planted import together

KILLS = int(os.environ.get("CUBECAST_KILLS", "3"))
SLOW = api.resolve_config("tiny", {"epochs": 10, "patience": 10, "steps": 6, "least_steps": 6, "dropout": 0.1})


def test_a_training_that_does_not_fit_is_refused_with_every_size(city: WindowSet, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = r"it needs \d+\.\d+ .iB of memory \(arrays \d+\.\d .iB, parameters .*, 1\.0 MiB may be used"
    with pytest.raises(ConfigError, match=sizes):
        api.fit(city, SLOW, seed=0, progress=QUIET, memory=2**20)
    monkeypatch.setattr(memory, "free_memory", lambda: 2**20)
    with pytest.raises(ConfigError, match=sizes):
        api.fit(city, SLOW, seed=0, progress=QUIET)


@pytest.mark.parametrize("option", ["hidden", "temporal_hidden", "hubs", "members"])
def test_sizes_that_no_machine_holds_are_refused_before_anything_is_made(city: WindowSet, option: str) -> None:
    with pytest.raises(ConfigError, match=r"it needs \d{2,}\.\d+ GiB of memory"):
        api.fit(city, api.resolve_config("tiny", {option: 9_999_999}), seed=0, progress=QUIET, memory=2**30)
    with pytest.raises(ConfigError, match="below 1e"):
        api.resolve_config("tiny", {option: 10_000_000})


def test_a_plan_grows_with_what_it_plans(city: WindowSet) -> None:
    shapes, _ = api._usable(city)
    cpu = torch.device("cpu")

    def needs(**options: object) -> dict[str, int]:
        config = api.resolve_config("small", {"rows": 100_000, **options})
        return dict(memory.plan_memory(city, shapes, {}, ("road",), config, cpu, streamed=False).needs)

    usual = needs()
    assert needs(members=3)["parameters"] == 3 * usual["parameters"]
    assert needs(batch=128)["batches"] == 2 * usual["batches"]
    assert needs(hidden=128)["activations"] > 1.5 * usual["activations"]
    assert memory.plan_memory(city, shapes, {}, ("road",), SLOW, cpu, streamed=True).needs["arrays"] > 0
    free = memory.free_memory()
    assert free is not None
    assert 2**20 < free < 2**50


def test_a_gpu_that_is_not_there_is_refused_and_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert training_device(SLOW, 0).type == "cpu"
    with pytest.raises(ConfigError, match="no GPU"):
        training_device(replace(SLOW, device="cuda"), 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert training_device(SLOW, 3) == torch.device("cuda", 1)
    assert training_device(replace(SLOW, device="cpu"), 0).type == "cpu"


def test_every_tensor_of_a_batch_is_found_in_one_order(city: WindowSet) -> None:
    from models.gather import Gatherer, usual_values

    d = city.domains["road"]
    batch = Gatherer(d, usual_values(d)).batch(d.windows_of("train")[:2])
    copy = mapped(batch, torch.clone)
    pairs = list(zip(tensors_in((batch, {"a": torch.ones(1)})), tensors_in((copy, {"a": torch.ones(1)})), strict=True))
    assert len(pairs) == 18
    assert all(torch.equal(one, other) for one, other in pairs)
    assert all(one.data_ptr() != other.data_ptr() for one, other in pairs)


def test_curves_are_written_where_asked_and_change_nothing(city: WindowSet, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    quick = replace(SLOW, epochs=2, steps=4, least_steps=4)
    plain, logged = (api.fit(city, quick, seed=0, progress=QUIET, logs=logs) for logs in (None, tmp_path / "curves"))
    assert plain.state == logged.state
    curves = EventAccumulator(str(tmp_path / "curves"))
    curves.Reload()
    names = set(curves.Tags()["scalars"])
    assert {"loss/road", "relative_to_anchor/sky", "alpha/road", "w/road/sky", "windows_per_second"} <= names
    points = curves.Scalars("loss/road")
    assert [p.step for p in points] == [1, 2]
    assert points[1].value == pytest.approx(logged.meta["history"][1]["loss"]["road"], rel=1e-6)


def test_without_tensorboard_the_mend_is_named(city: WindowSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(ConfigError, match=r"cubecast\[tensorboard\]"):
        api.fit(city, SLOW, seed=0, progress=QUIET, logs=tmp_path)


def _train(checkpoint: str, result: str) -> None:
    fitted = api.fit(together(road(days=4)), SLOW, seed=9, progress=QUIET, checkpoint=Path(checkpoint))
    Path(result).write_bytes(fitted.state)


def test_kills_at_random_moments_leave_a_training_that_ends_in_the_same_bytes(tmp_path: Path) -> None:
    began = time.monotonic()
    whole = api.fit(together(road(days=4)), SLOW, seed=9, progress=QUIET)
    seconds = time.monotonic() - began
    context = get_context("forkserver")
    context.set_forkserver_preload(["models.api", "tests.unit.models.conftest"])
    chance, killed = random.Random(3), 0
    for _ in range(10 * KILLS):
        again = context.Process(target=_train, args=(str(tmp_path / "checkpoint"), str(tmp_path / "result")))
        again.start()
        again.join(chance.uniform(0.2, 0.8) * seconds if killed < KILLS else None)
        if again.exitcode is None and again.pid is not None:
            os.kill(again.pid, signal.SIGKILL)
            again.join()
            killed += 1
        elif killed < KILLS:
            (tmp_path / "checkpoint").unlink()
        else:
            break
    assert killed == KILLS
    assert (tmp_path / "result").read_bytes() == whole.state

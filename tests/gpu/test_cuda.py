"""Training on a GPU; skipped where there is none."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from models import api
from pipeline.contracts.forecasts import MEDIAN
from pipeline.contracts.windows import WindowSet
from pipeline.telemetry import QUIET
from tests.unit.models.conftest import road, shop, sky
from tests.unit.models.planted import together
from tests.unit.models.told import informed

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
TINY = api.resolve_config("tiny", {"device": "cuda", "epochs": 3, "steps": 30, "least_steps": 30})


@pytest.fixture(scope="module")
def windows() -> WindowSet:
    return together(road(), sky(), shop())


def error(fitted: api.Fitted, windows: WindowSet) -> float:
    d = windows.domains["road"]
    index = d.windows_of("test")
    step = d.end_W[index][:, None] + np.arange(1, d.horizon + 1)
    median = api.load(fitted.state, fitted.meta).predict(windows, "road", index).quantiles_BLNVQ[..., MEDIAN]
    return float(np.abs(median - d.unscale(d.values_TNV[step]))[d.good_TNV[step]].mean())


def test_recorded_steps_learn_what_steps_one_by_one_learn(windows: WindowSet) -> None:
    recorded, plain = (api.fit(windows, replace(TINY, graphs=graphs), seed=1, progress=QUIET) for graphs in (True, False))
    for one, other in zip(recorded.meta["history"], plain.meta["history"], strict=True):
        assert one["loss"]["road"] == pytest.approx(other["loss"]["road"], rel=2e-2)


def test_a_gpu_learns_what_a_processor_learns(windows: WindowSet) -> None:
    on_gpu = api.fit(windows, TINY, seed=1, progress=QUIET)
    on_cpu = api.fit(windows, replace(TINY, device="cpu"), seed=1, progress=QUIET)
    assert on_gpu.meta["device"] == "cuda"
    assert on_gpu.meta["history"][0]["loss"]["road"] == pytest.approx(on_cpu.meta["history"][0]["loss"]["road"], rel=2e-2)
    assert error(on_gpu, windows) == pytest.approx(error(on_cpu, windows), rel=0.1)


def test_several_members_in_bfloat16_and_every_modality_train_on_a_gpu() -> None:
    told = informed(days=6)
    options = {"precision": "bfloat16", "members": 3, "attention": "full", "time_attention": "full", "mix_tokens": True}
    fitted = api.fit(told, replace(TINY, **options), seed=1, progress=QUIET)
    assert np.isfinite(error(fitted, told))


def test_streamed_arrays_train_on_a_gpu(windows: WindowSet) -> None:
    config = replace(TINY, memory="streamed", stream_chunks=6, stream_together=2)
    assert np.isfinite(error(api.fit(windows, config, seed=1, progress=QUIET), windows))

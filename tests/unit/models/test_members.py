from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from models import api
from models.layers.temporal import recurrent
from models.state import pack, unpack
from pipeline.contracts.forecasts import MEDIAN
from pipeline.contracts.windows import WindowSet
from pipeline.telemetry import QUIET
from tests.unit.models.conftest import road, sky
from tests.unit.models.planted import altered, together
from tests.unit.models.told import informed

QUICK = api.resolve_config("tiny", {"epochs": 2, "steps": 8, "least_steps": 8, "least_gain": 0.0, "ema": 0.5})


@pytest.fixture(scope="module")
def windows() -> WindowSet:
    return together(road(), sky())


@pytest.fixture(scope="module")
def several(windows: WindowSet) -> api.Fitted:
    return api.fit(windows, replace(QUICK, members=3), seed=4, progress=QUIET)


def test_the_first_of_several_members_learns_what_it_learns_alone(windows: WindowSet, several: api.Fitted) -> None:
    alone, batched = unpack(api.fit(windows, QUICK, seed=4, progress=QUIET).state), unpack(several.state)
    for name, array in alone.items():
        if name.startswith("weights/"):
            np.testing.assert_allclose(batched[name][0], array, rtol=2e-3, atol=2e-4, err_msg=name)


def test_members_differ_and_forecast_their_mean_whose_split_adds_up(windows: WindowSet, several: api.Fitted) -> None:
    arrays = unpack(several.state)
    weight = arrays["weights/road/nets.road.read.weight"]
    assert np.abs(weight[0] - weight[1]).max() > 0.01
    index = windows.domains["road"].windows_of("test")
    said = api.load(several.state, several.meta).predict(windows, "road", index)
    np.testing.assert_allclose(said.split_BLNVP.sum(-1), said.quantiles_BLNVQ[..., MEDIAN], rtol=1e-5, atol=1e-5)
    assert (np.diff(said.quantiles_BLNVQ, axis=-1) >= 0).all()
    alone, bounded = [], altered(windows, "road", lower_V=np.quantile(said.quantiles_BLNVQ[..., MEDIAN], 0.4, axis=(0, 1, 2)))
    for member in range(3):
        own = {k: a[[member]] if k.startswith("weights/") else a for k, a in arrays.items()}
        single = {k: a[0] if k.startswith("weights/") else a for k, a in own.items()}
        meta = several.meta | {"config": several.meta["config"] | {"members": 1}}
        alone.append(api.load(pack(single), meta).predict(bounded, "road", index))
    said = api.load(several.state, several.meta).predict(bounded, "road", index)
    np.testing.assert_allclose(said.split_BLNVP, np.mean([own.split_BLNVP for own in alone], 0), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(said.quantiles_BLNVQ, np.mean([own.quantiles_BLNVQ for own in alone], 0), rtol=1e-4, atol=1e-4)


def test_several_members_are_reproducible_and_know_every_modality() -> None:
    told = informed(days=6)
    config = replace(QUICK, members=2, epochs=1, attention="full", time_attention="full", mix_tokens=True)
    first, second = (api.fit(told, config, seed=4, progress=QUIET) for _ in range(2))
    assert first.state == second.state
    weighed = api.load(first.state, first.meta).explain()["road"]
    assert set(weighed["w_y"]) == {"future", "text_news"}
    assert np.shape(weighed["alpha"]) == (4,)


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
def test_cells_of_plain_operations_are_the_fused_cells(kind: str) -> None:
    cell, x = getattr(torch.nn, kind)(5, 4), torch.randn(3, 7, 5)
    torch.testing.assert_close(recurrent(cell, x), cell(x)[0])

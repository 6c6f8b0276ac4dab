from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from models import api
from pipeline.contracts.forecasts import MEDIAN
from pipeline.contracts.windows import WindowSet
from pipeline.telemetry import QUIET

TINY = api.resolve_config("tiny", {"epochs": 1, "steps": 8, "least_steps": 8, "least_gain": 0.0})


@pytest.fixture(scope="module")
def predictor(city: WindowSet) -> api.JointPredictor:
    fitted = api.fit(city, TINY, seed=1, progress=QUIET)
    return api.load(fitted.state, fitted.meta)


def test_every_attention_adds_up_to_one(city: WindowSet, predictor: api.JointPredictor) -> None:
    look = predictor.look(city, "road", city.domains["road"].windows_of("test")[:3])
    assert look.time_BNP is not None
    assert look.hub_write_BMN is not None
    assert look.hub_read_BNM is not None
    assert look.nodes_BNN is None
    assert look.time_BNP.shape == (3, 5, 3)
    assert look.hub_write_BMN.shape == (3, 4, 5)
    assert {k: w.shape for k, w in look.others.items()} == {"shop": (3, 3), "sky": (3, 6)}
    for weights in (look.time_BNP, look.hub_write_BMN, look.hub_read_BNM, *look.others.values()):
        np.testing.assert_allclose(weights.sum(-1), 1, atol=1e-5)
    assert look.step_seconds_P.tolist() == [6 * 1800, 3 * 1800, 0]


def test_full_attention_shows_which_node_asks_which(city: WindowSet) -> None:
    fitted = api.fit(city, replace(TINY, attention="full", temporal="linear"), seed=1, progress=QUIET)
    look = api.load(fitted.state, fitted.meta).look(city, "road", city.domains["road"].windows_of("live"))
    assert look.nodes_BNN is not None
    assert look.nodes_BNN.shape == (1, 5, 5)
    np.testing.assert_allclose(look.nodes_BNN.sum(-1), 1, atol=1e-5)
    assert look.time_BNP is None
    assert look.hub_read_BNM is None


def test_occlusion_is_what_the_absence_of_each_modality_changes(city: WindowSet, predictor: api.JointPredictor) -> None:
    index = city.domains["road"].windows_of("test")[:4]
    look = predictor.look(city, "road", index)
    assert set(look.occlusion) == {"shop", "sky"}
    dark = replace(city, domains={k: d for k, d in city.domains.items() if k != "sky"})
    with_all, without = (predictor.predict(w, "road", index, split=False).quantiles_BLNVQ[..., MEDIAN] for w in (city, dark))
    np.testing.assert_array_equal(look.occlusion["sky"], without - with_all)
    assert np.abs(look.occlusion["sky"]).max() > 0


def test_looking_changes_no_forecast(city: WindowSet, predictor: api.JointPredictor) -> None:
    index = city.domains["road"].windows_of("live")
    before = predictor.predict(city, "road", index)
    predictor.look(city, "road", index)
    np.testing.assert_array_equal(predictor.predict(city, "road", index).quantiles_BLNVQ, before.quantiles_BLNVQ)

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models import api
from models.state import unpack
from pipeline.contracts.windows import WindowSet
from pipeline.errors import ContractError
from pipeline.telemetry import QUIET
from tests.unit.models.conftest import road
from tests.unit.models.planted import together

QUICK = api.resolve_config("tiny", {"epochs": 2, "steps": 8, "least_steps": 4})
STILL = replace(QUICK, epochs=0)


@pytest.fixture(scope="module")
def earlier(city: WindowSet) -> api.Fitted:
    return api.fit(city, QUICK, seed=5, progress=QUIET)


def _medians(fitted: api.Fitted, windows: WindowSet, domain: str) -> np.ndarray:
    return api.load(fitted.state, fitted.meta).predict(windows, domain, windows.domains[domain].windows_of("test")).quantiles_BLNVQ


def test_a_training_of_no_epoch_from_an_earlier_model_forecasts_as_that_model(city: WindowSet, earlier: api.Fitted) -> None:
    again = api.fit(city, STILL, seed=1, progress=QUIET, initial=earlier)
    assert earlier.meta["best"]["road"]["epoch"] > 0
    assert again.meta["best"]["road"]["relative_to_anchor"] == earlier.meta["best"]["road"]["relative_to_anchor"]
    assert _medians(again, city, "road").tobytes() == _medians(earlier, city, "road").tobytes()


def test_a_warm_start_gives_the_same_bytes_again_also_after_a_kill(city: WindowSet, earlier: api.Fitted, tmp_path: Path) -> None:
    first = api.fit(city, QUICK, seed=1, progress=QUIET, initial=earlier)
    path = tmp_path / "checkpoint.safetensors"
    api.fit(city, replace(QUICK, epochs=1), seed=1, progress=QUIET, initial=earlier, checkpoint=path)
    assert first.state == api.fit(city, QUICK, seed=1, progress=QUIET, initial=earlier).state
    assert first.state != api.fit(city, QUICK, seed=1, progress=QUIET).state
    with pytest.raises(ContractError, match="config_digest"):
        api.fit(city, QUICK, seed=1, progress=QUIET, initial=earlier, checkpoint=path)


def test_a_checkpoint_of_a_cold_training_is_not_gone_on_with_warm(city: WindowSet, earlier: api.Fitted, tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.safetensors"
    api.fit(city, QUICK, seed=1, progress=QUIET, checkpoint=path)
    with pytest.raises(ContractError, match="initial"):
        api.fit(city, QUICK, seed=1, progress=QUIET, initial=earlier, checkpoint=path)


def test_a_node_that_came_since_starts_as_the_others_and_the_known_ones_keep_their_own(earlier: api.Fitted, city: WindowSet) -> None:
    d = road(nodes=6)
    renamed = replace(d, node_ids=("new", *d.node_ids[:5]))
    fitted = api.fit(together(renamed), STILL, seed=1, progress=QUIET, initial=earlier)
    weights = unpack(fitted.state)["weights/road/nets.road.node_ND"]
    known = unpack(earlier.state)["weights/road/nets.road.node_ND"]
    np.testing.assert_array_equal(weights[1:], known)
    np.testing.assert_allclose(weights[0], known.mean(0), rtol=1e-6)

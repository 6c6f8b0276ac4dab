"""States that earlier versions wrote are still read, and forecast the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models import api
from pipeline.contracts.forecasts import MEDIAN
from pipeline.contracts.windows import WindowSet
from pipeline.errors import ContractError
from tests.unit.models.conftest import road, shop, sky
from tests.unit.models.planted import together

SCHEMA_1 = Path(__file__).parent / "model_schema_1"


@pytest.fixture(scope="module")
def windows() -> WindowSet:
    return together(road(days=3, nodes=3), sky(days=3), shop(sessions=20))


def stored(name: str) -> tuple[bytes, dict[str, Any]]:
    return (SCHEMA_1 / f"{name}.safetensors").read_bytes(), json.loads((SCHEMA_1 / f"{name}.json").read_text())


def test_models_of_schema_1_forecast_what_they_forecast_then(windows: WindowSet) -> None:
    said = json.loads((SCHEMA_1 / "said.json").read_text())
    joint, rivals = api.load(*stored("joint")), api.load_baselines(*stored("baselines"))
    assert set(rivals) == set(said) - {"joint"}
    for domain, expected in said["joint"].items():
        index = windows.domains[domain].windows_of("live")
        np.testing.assert_allclose(joint.predict(windows, domain, index).quantiles_BLNVQ.ravel(), expected, rtol=2e-5, atol=2e-5)
        for name, rival in rivals.items():
            median = rival.predict(windows, domain, index).quantiles_BLNVQ[..., MEDIAN]
            np.testing.assert_allclose(median.ravel(), said[name][domain], rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("schema", [0, 3, None, "2"])
def test_a_schema_that_this_version_does_not_know_is_refused_with_what_to_do(schema: object) -> None:
    state, meta = stored("joint")
    with pytest.raises(ContractError, match=f"schema {schema}.*version of Cubecast that wrote it"):
        api.load(state, meta | {"schema": schema})

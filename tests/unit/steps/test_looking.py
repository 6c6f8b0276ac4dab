"""What was looked at: the effects of hidden inputs are those that a model with known weights must show."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from models.prediction import Prediction
from pipeline.contracts.forecasts import DomainForecast
from pipeline.contracts.windows import WindowSet
from pipeline.steps.looking import looked_at
from tests.unit.models.conftest import road, sky
from tests.unit.models.planted import together


@dataclass
class Known:
    """Forecasts 10 + 2 x the sum of a node's newest two steps + 3 x node 0's step before these + the history of node 1, all scaled."""

    scalers: dict[str, Any]

    def predict(self, windows: WindowSet, domain: str, index_W: np.ndarray, *, split: bool = True) -> Prediction:
        view = windows.domains[domain]
        end = int(view.end_W[index_W[0]])
        own = 2 * view.values_TNV[end - 1 : end + 1].sum(axis=0) + 3 * view.values_TNV[end - 2, :1] + view.history_TNVK[end, 1, :, 0]
        ramp = np.arange(1, view.horizon + 1, dtype=np.float32)[:, None, None]
        median = (10 + own[None] * ramp)[None]
        return Prediction(
            quantiles_BLNVQ=np.repeat(median[..., None], 7, axis=-1).astype(np.float32),
            split_BLNVP=np.zeros((*median.shape, 0), np.float32),
            parts=(),
        )

    def explain(self) -> dict[str, Any]:
        return {}


@pytest.fixture(scope="module")
def told() -> tuple[WindowSet, np.ndarray, DomainForecast, dict[str, Any]]:
    windows = together(road(days=4), sky(days=4))
    view = windows.domains["road"]
    position = np.stack([np.arange(5), np.zeros(5)], axis=1).astype(np.float32)
    values, good = view.values_TNV.copy(), view.good_TNV.copy()
    index = np.array([len(view.issue_time_W) - 1])
    end = int(view.end_W[index[0]])
    values[end - 7 : end + 1], good[end - 7 : end + 1] = 1.0 + np.arange(8)[:, None, None] / 8, True
    windows = replace(windows, domains={**windows.domains, "road": replace(view, position_N2=position, values_TNV=values, good_TNV=good)})
    joint = Known({})
    quantiles = joint.predict(windows, "road", index).quantiles_BLNVQ[0]
    d = DomainForecast(
        domain="road",
        variables=("count", "speed"),
        units=("count", "km/h"),
        node_ids=view.node_ids,
        valid_time_L=np.arange(4),
        lead_time_L=np.arange(4),
        quantiles_LNVQ=quantiles,
        parts=("anchor",),
        split_LNVP=quantiles[..., :1],
        model_V=("joint", "ridge"),
    )
    return windows, index, d, looked_at(windows, index, d, joint)


def test_only_joint_targets_are_looked_at_and_the_largest_change_of_each_place_once(told) -> None:
    _, _, d, found = told
    assert {c["variable"] for c in found["changes"]} == {"count"}
    assert len({c["node"] for c in found["changes"]}) == 3
    assert {c["lead"] for c in found["changes"]} == {3}
    assert found["blocks"] == [[14400, 10800], [10800, 7200], [7200, 3600], [3600, 0]]
    assert sorted(found["region_N"]) == [0, 1, 2, 3, 4]
    assert found["node_ids"] == list(d.node_ids)


def test_effects_are_those_of_the_inputs_that_the_model_uses(told) -> None:
    windows, index, d, found = told
    view = windows.domains["road"]
    end = int(view.end_W[index[0]])
    for change in found["changes"]:
        n = d.node_ids.index(change["node"])
        newest = 2 * view.values_TNV[end - 1 : end + 1, n, 0].sum()
        before = 3 * view.values_TNV[end - 2, 0, 0]
        assert change["time"] == pytest.approx([0, 0, -4 * before, -4 * newest], abs=1e-3)
        space = [0.0] * 5
        space[found["region_N"][0]] -= 4 * before
        space[found["region_N"][n]] -= 4 * newest
        assert change["space"] == pytest.approx(space, abs=1e-3)
        assert change["modality"]["history"] == pytest.approx(-4 * view.history_TNVK[end, 1, 0, 0], abs=1e-3)
        assert change["attention"] == {}


def test_nothing_is_told_where_no_joint_target_is_published(told) -> None:
    windows, index, d, _ = told
    assert looked_at(windows, index, replace(d, model_V=("ridge", "persistence")), Known({})) is None

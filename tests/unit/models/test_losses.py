from __future__ import annotations

import numpy as np
import pytest
import torch

from models import api
from models.joint import Change
from models.losses import BEYOND, absolute
from pipeline.contracts.windows import WindowSet
from pipeline.telemetry import QUIET
from tests.unit.models.conftest import road
from tests.unit.models.planted import altered, together

LOW, HIGH = -1.0, 2.0


@pytest.mark.parametrize(
    ("said", "came", "loss", "slope"),
    [
        (0.5, 0.2, 0.3, 1.0),
        (-1.0, 0.2, 1.2, -1.0),
        (-1.4, -1.0, 0.0, 0.0),
        (-1.4, 0.2, 1.2 + 0.4 * BEYOND, -BEYOND),
        (2.5, 2.0, 0.0, 0.0),
        (2.5, 1.0, 1.0 + 0.5 * BEYOND, BEYOND),
    ],
)
def test_a_median_beyond_a_bound_costs_nothing_where_that_bound_came(said: float, came: float, loss: float, slope: float) -> None:
    cell = (1, 1, 1, 1)
    median, one = torch.full(cell, said, requires_grad=True), torch.ones(1)
    low, high = torch.full(cell, LOW), torch.full(cell, HIGH)
    found = absolute(
        Change(median_BLNV=median, parts=[], spread_BLNVQ=None),
        torch.full(cell, came),
        torch.ones(cell, dtype=torch.bool),
        one,
        one,
        low,
        high,
    )
    found.backward()  # type: ignore[no-untyped-call]
    assert found.item() == pytest.approx(loss)
    assert median.grad is not None
    assert median.grad.item() == pytest.approx(slope)


def test_what_is_mostly_at_its_bound_is_learned_better_by_who_knows_the_bound() -> None:
    windows = together(road())
    d = windows.domains["road"]
    low_NV = np.quantile(d.values_TNV, 0.6, axis=0).astype(np.float32).max(0) * np.ones_like(d.scaler.center_NV)
    held = altered(windows, "road", values_TNV=np.where(d.good_TNV, np.maximum(d.values_TNV, low_NV), 0).astype(np.float32))
    lower = (low_NV * d.scaler.scale_NV + d.scaler.center_NV).max(0).astype(np.float32)
    config = api.resolve_config("tiny", {"epochs": 4, "least_gain": 0.0})

    def error(known: WindowSet) -> list[float]:
        fitted = api.fit(known, config, seed=2, progress=QUIET)
        found: list[float] = fitted.meta["history"][-1]["validation"]["road"]["per_variable"]
        return found

    knowing, ignorant = (error(altered(held, "road", lower_V=bound)) for bound in (lower, np.full(2, -np.inf, np.float32)))
    assert all(a < 0.9 * b for a, b in zip(knowing, ignorant, strict=True))

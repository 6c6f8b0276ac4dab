from __future__ import annotations

import pytest
import torch

from models import api
from models.predictor import JointPredictor
from pipeline.contracts.windows import WindowSet
from pipeline.telemetry import QUIET


def test_one_window_alone_is_forecast_on_one_thread_since_sums_are_split_by_threads(
    city: WindowSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    fitted = api.fit(city, api.resolve_config("tiny", {"epochs": 0}), seed=0, progress=QUIET)
    model, original, seen = api.load(fitted.state, fitted.meta), JointPredictor._chunk, []

    def spying(*given):
        seen.append(torch.get_num_threads())
        return original(*given)

    monkeypatch.setattr(JointPredictor, "_chunk", spying)
    index, before = city.domains["road"].windows_of("test"), torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        model.predict(city, "road", index[:1])
        model.predict(city, "road", index[:8])
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert seen == [1, 2]

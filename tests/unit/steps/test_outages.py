from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline.contracts.times import to_seconds
from pipeline.steps.outages import outages
from pipeline.windows.reader import build_windows
from tests.unit.steps.evidence_world import CUTOFF, Stub, as_known, make_town


def test_the_price_of_each_outage_is_told_per_target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    town = make_town(tmp_path, monkeypatch)
    cube = as_known(town.cube, to_seconds(CUTOFF), None)
    windows = build_windows(town.world, {"road": cube}, as_of=to_seconds(CUTOFF), scalers=None, live=False)
    index = windows.domains["road"].windows_of("test")
    observed = windows.domains["road"].unscale(windows.domains["road"].values_TNV)
    found = outages(windows, "road", Stub(0.5, {}, ("sky", "text_news")), observed, index)
    assert set(found) == {"sky", "text_news"}
    assert set(found["sky"]) == {"flow", "speed"}
    assert found["sky"]["flow"] == {"mae": pytest.approx(0.5, rel=1e-4), "mae_without": pytest.approx(1.0, rel=1e-4)}
    assert outages(windows, "road", Stub(0.5, {}), observed, index) == {}
    assert outages(windows, "road", Stub(0.5, {}, ("sky",)), observed, np.zeros(0, np.int64)) == {}

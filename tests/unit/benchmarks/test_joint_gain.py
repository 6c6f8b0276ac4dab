"""How the gain of the joint model is counted, and what a unit keeps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.joint_gain import compared, keep, kept


def _done(gain: float, noise: float) -> dict[tuple[int, str], dict[str, np.ndarray]]:
    chance = np.random.default_rng(0)
    cells = np.full(200, 10.0)
    cells[::20] = 0
    control = cells * (2 + chance.random(200))
    return {
        (seed, kind): {
            "road speed|all|error": control * ((1 - gain) if kind == "joint" else 1) + cells * noise * chance.normal(size=200),
            "road speed|all|cells": cells,
            "road speed|never|error": cells * 0,
            "road speed|never|cells": cells * 0,
        }
        for seed in range(3)
        for kind in ("joint", "control")
    }


@pytest.mark.parametrize(("gain", "noise", "sure"), [(0.1, 0.01, True), (-0.1, 0.01, True), (0.0, 0.3, False)])
def test_a_gain_is_sure_where_its_interval_leaves_zero_out(gain: float, noise: float, sure: bool) -> None:
    [row] = compared(_done(gain, noise), {"road": 12})
    assert row["key"] == "road speed|all"
    assert row["cells"] == 1900
    assert row["gain"] == pytest.approx(gain, abs=0.02)
    assert row["low"] <= row["gain"] <= row["high"]
    assert (row["low"] > 0 or row["high"] < 0) == sure
    assert len(row["seeds"]) == 3


def test_what_a_unit_found_is_kept_whole(tmp_path: Path) -> None:
    assert kept(tmp_path, "synthetic-0-joint") is None
    keep(tmp_path, "synthetic-0-joint", {"road speed|all|error": np.arange(3.0)})
    found = kept(tmp_path, "synthetic-0-joint")
    assert found is not None
    assert found["road speed|all|error"].tolist() == [0, 1, 2]
    assert [p.name for p in tmp_path.iterdir()] == ["synthetic-0-joint.npz"]

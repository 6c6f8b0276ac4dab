from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models import api
from models.state import unpack
from models.training.ranks import Ranks
from pipeline.telemetry import QUIET
from tests.unit.models.told import informed

ROOT = Path(__file__).resolve().parents[3]
OPTIONS: dict[str, Any] = {"epochs": 2, "steps": 6, "least_steps": 6, "least_gain": 0.0, "ema": 0.0, "quantile_share": 0.1, "rows": 101 * 4}


def torchrun(folder: Path, options: dict[str, Any]) -> subprocess.CompletedProcess[str]:
    (folder / "options.json").write_text(json.dumps(options))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "--local-addr=127.0.0.1"]
    return subprocess.run(
        [*command, "-m", "tests.unit.models.one_of_several", str(folder), "checkpoint"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=240,
    )


@pytest.mark.parametrize(("count", "size"), [(1, 5), (2, 7), (3, 3)])
def test_every_window_of_a_batch_is_in_one_share(count: int, size: int) -> None:
    batch = np.arange(size)
    shares = [Ranks(k, count).share(batch) for k in range(count)]
    assert sorted(np.concatenate(shares).tolist()) == batch.tolist()
    for first in range(size + 1):
        assert [Ranks(k, count).of_first(first) for k in range(count)] == [int((share < first).sum()) for share in shares]


def test_two_processes_learn_what_one_learns(tmp_path: Path) -> None:
    done = torchrun(tmp_path, OPTIONS)
    assert done.returncode == 0, done.stderr[-3000:]
    assert (tmp_path / "first.safetensors").read_bytes() == (tmp_path / "other.safetensors").read_bytes()
    together = json.loads((tmp_path / "first.json").read_text())
    alone = api.fit(informed(days=6), api.resolve_config("tiny", OPTIONS), seed=3, progress=QUIET)
    assert (together["processes"], alone.meta["processes"]) == (2, 1)
    for one, two in zip(alone.meta["history"], together["history"], strict=True):
        assert two["loss"]["road"] == pytest.approx(one["loss"]["road"], rel=1e-6)
        assert two["validation"]["road"]["relative_to_anchor"] == pytest.approx(one["validation"]["road"]["relative_to_anchor"], rel=1e-5)
    arrays = unpack((tmp_path / "first.safetensors").read_bytes())
    for name, array in unpack(alone.state).items():
        np.testing.assert_allclose(arrays[name], array, rtol=1e-3, atol=1e-5, err_msg=name)

"""What a training takes at its peak, against its plan."""

from __future__ import annotations

import re
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest

from models import api
from pipeline.contracts.windows import WindowSet
from pipeline.telemetry import QUIET
from tests.unit.models.conftest import START, road
from tests.unit.models.planted import Planted, plant, together

STEP = {"epochs": 1, "steps": 2, "least_steps": 2, "validation_windows": 4, "patches": 2}


def field(shape: tuple[int, int], hours: int = 60) -> WindowSet:
    """A grid and a few roads that see it."""
    values = np.random.default_rng(0).normal(size=(hours + 3, shape[0] * shape[1], 1)).astype(np.float32)
    values[hours:] = np.nan
    times = START + 3600 * np.arange(hours + 3, dtype=np.int64)
    grid = Planted(
        domain="sky",
        values_TNV=values,
        valid_time_T=times,
        variables=("rain",),
        context=6,
        horizon=3,
        slots_per_day=24,
        step_seconds=3600,
        grid_shape=shape,
    )
    return together(plant(grid), road(days=2, nodes=3))


def crowd() -> WindowSet:
    """Many nodes, of one of which the others learn."""
    return together(road(days=1, nodes=700))


CASES = {
    "full attention": (crowd, {"attention": "full", "rows": 3500}),
    "a grid": (lambda: field((64, 64)), {"rows": 4096 * 16, "levels": 2}),
    "a grid seen by others": (lambda: replace_targets(field((128, 128))), {"rows": 48, "batch": 16, "summary_hidden": 16}),
}


def replace_targets(windows: WindowSet) -> WindowSet:
    """The same, the grid is only seen."""
    return replace(windows, domains={**windows.domains, "sky": replace(windows.domains["sky"], targets=())})


def _peak() -> int:
    return 1024 * int(re.findall(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[0])


def _measure(case: str, result: str) -> None:
    make, options = CASES[case]
    windows, config = make(), api.resolve_config("tiny", STEP | options)
    api.fit(together(road(days=2)), replace(config, attention="hubs"), seed=0, progress=QUIET)
    Path("/proc/self/clear_refs").write_text("5")
    before = _peak()
    plan = api.fit(windows, config, seed=0, progress=QUIET).meta["memory"]
    Path(result).write_text(f"{_peak() - before} {sum(n for n in plan.values() if isinstance(n, int))}")


@pytest.mark.parametrize("case", CASES)
def test_a_training_takes_at_most_what_is_planned_and_not_much_less(case: str, tmp_path: Path) -> None:
    context = get_context("forkserver")
    context.set_forkserver_preload(["models.api", "tests.unit.models.conftest"])
    child = context.Process(target=_measure, args=(case, str(tmp_path / "found")))
    child.start()
    child.join(300)
    taken, planned = map(int, (tmp_path / "found").read_text().split())
    assert taken <= planned <= 4 * taken, (taken >> 20, planned >> 20)

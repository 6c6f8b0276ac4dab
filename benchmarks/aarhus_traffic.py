"""The road traffic of Aarhus as windows, and how a forecast of its last fifth is scored: the same for whoever forecasts.

Two months on a 5-minute clock, 449 segments; 12 steps ahead; the first 70 % train, the next 10 % choose, the last 20 % test. A reading that is
missing, or flagged (a speed of 0), counts nowhere; every other one of every test window does.

Shape suffixes: B window, L lead, N node, V variable.
"""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline import api
from pipeline.contracts.windows import DomainWindows, Fold, Scaler, WindowSet
from pipeline.contracts.world_files import load_world
from pipeline.errors import NotYetAvailable
from pipeline.settings import read_settings
from pipeline.steps import build_cube, land, observe
from pipeline.steps.train import windows_at
from pipeline.telemetry import QUIET

WORLD, TRAFFIC = "aarhus", "traffic"
TARGETS = ("vehicle_count", "average_speed")
LEADS = (3, 6, 12)
FOLDS: tuple[Fold, ...] = ("validation", "test")


def windows(kept: Path) -> WindowSet:
    """All windows of the whole world, from a cube that is built once in `kept`."""
    world, settings = load_world(WORLD), replace(read_settings(), store=str(kept / "store"))
    if world.recorded is None or settings.data is None:
        raise SystemExit("no shared data: set CUBECAST_DATA")
    end = world.recorded.end
    try:
        return windows_at(world, settings, end)
    except NotYetAvailable:
        for source in world.sources:
            land.run(api.LandRequest(world=world.name, as_of=end, received_time=end, source=source), settings, QUIET)
            observe.run(api.ObserveRequest(world=world.name, as_of=end, source=source), settings, QUIET)
        build_cube.run(api.BuildCubeRequest(world=world.name, as_of=end), settings, QUIET)
        return windows_at(world, settings, end)


def traffic_alone(whole: WindowSet) -> WindowSet:
    """The roads only: no weather, no car parks, no market, no texts."""
    return replace(whole, domains={TRAFFIC: whole.domains[TRAFFIC]}, texts={})


def scores(said_BLN: NDArray[np.float32], view: DomainWindows, target: str, fold: Fold) -> dict[str, object]:
    """Mean absolute error of physical values lead by lead, their mean, and how many numbers were scored.

    `whole` is the mean error of forecasts rounded to whole numbers, which tells of counts: whoever forecasts 0.4 of what is 0 or 1 errs for it.

    Args:
        said_BLN: What was said in every window of the fold, in order.
        view: The windows.
        target: Of which variable.
        fold: Which windows.
    """
    v, index = view.variables.index(target), view.windows_of(fold)
    scale_N, center_N = view.scaler.scale_NV[:, v], view.scaler.center_NV[:, v]
    total_L, whole_L, count_L = np.zeros(view.horizon), np.zeros(view.horizon), np.zeros(view.horizon, np.int64)
    for part in np.array_split(np.arange(len(index)), 16):
        place = view.end_W[index[part]][:, None] + np.arange(1, view.horizon + 1)
        good = view.good_TNV[place, :, v]
        came = view.values_TNV[place, :, v] * scale_N + center_N
        total_L += np.where(good, np.abs(said_BLN[part] - came), 0).sum((0, 2), dtype=np.float64)
        whole_L += np.where(good, np.abs(np.rint(said_BLN[part]) - came), 0).sum((0, 2), dtype=np.float64)
        count_L += good.sum((0, 2))
    by_lead = total_L / count_L
    return {
        "mae": by_lead.tolist(),
        "mean": float(by_lead.mean()),
        "whole": float((whole_L / count_L).mean()),
        "scored": int(count_L.sum()),
        "windows": len(index),
    }


def one_variable(view: DomainWindows, target: str, context: int) -> DomainWindows:
    """The same windows with one variable, that many steps of it, and no older value: what a forecaster of one series sees."""
    v = [view.variables.index(target)]
    none = np.zeros((len(view.valid_time_T), len(view.node_ids), 1, 0), np.float32)
    no_means = np.zeros((0, len(view.node_ids), 1), np.float32)
    arrays = {name: getattr(view, name)[:, :, v] for name in ("values_TNV", "good_TNV", "latency_TNV")}
    scaler = Scaler(**{f.name: getattr(view.scaler, f.name)[:, v] for f in fields(Scaler)})
    return replace(
        view,
        **arrays,
        scaler=scaler,
        context=context,
        variables=(target,),
        units=(view.units[v[0]],),
        targets=(0,),
        weight_V=view.weight_V[v],
        lower_V=view.lower_V[v],
        upper_V=view.upper_V[v],
        anchor_V=np.array([-1], np.int16),
        history_names=(),
        history_TNVK=none,
        history_good_TNVK=none.astype(np.bool_),
        coarse_count=0,
        coarse_TNV=no_means,
        coarse_good_TNV=no_means.astype(np.bool_),
    )


def arrays(view: DomainWindows, target: str) -> dict[str, NDArray[Any]]:
    """Scaled values (T, N), NaN where missing, as far as the last target; and the first target of validation and of test."""
    v = view.variables.index(target)
    first = {str(fold): view.end_W[view.windows_of(fold)[0]] + 1 for fold in FOLDS}
    steps = int(view.end_W[view.windows_of("test")[-1]]) + 1 + view.horizon
    y_TN = np.where(view.good_TNV[:steps, :, v], view.values_TNV[:steps, :, v], np.float32(np.nan))
    return {"y_TN": y_TN.astype(np.float32), "horizon": np.array(view.horizon)} | first

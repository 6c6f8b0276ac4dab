"""A tiny world for the steps after training: made cubes, read as of an instant, and stand-ins for the models."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.prediction import Prediction
from pipeline.contracts.cubes import NEVER, DomainCube, Revisions
from pipeline.contracts.flags import Flag
from pipeline.contracts.forecasts import BASELINES, JOINT
from pipeline.contracts.nodes import NodeSet
from pipeline.contracts.times import format_instant, to_seconds
from pipeline.contracts.windows import WindowSet
from pipeline.contracts.world_files import load_world
from pipeline.contracts.worlds import World
from pipeline.settings import Settings
from pipeline.steps import reading
from pipeline.stores.objects import ObjectStore
from pipeline.stores.registry import Candidate, Registry
from pipeline.verification.evaluation import truth_of
from pipeline.windows.reader import build_windows
from pipeline.windows.scaling import dump_scalers

START = datetime(2024, 3, 4, tzinfo=UTC)
CUTOFF = datetime(2024, 3, 9, tzinfo=UTC)
ISSUE = datetime(2024, 3, 9, 6, tzinfo=UTC)
LATER = datetime(2024, 3, 9, 7, tzinfo=UTC)
WORLD = """
name = "tiny"
title = "Tiny <b>town</b>"
timezone = "Europe/Copenhagen"
start = "2024-03-04T00:00Z"
[folds]
train = 0.2
validation = 0.1
test = 0.7
[promotion]
coverage_80 = [0.0, 1.0]
coverage_90 = [0.0, 1.0]
[sources.road]
adapter = "csv"
[sources.road.variables]
flow = { unit = "count" }
speed = { unit = "km/h" }
[domains.road]
title = "Roads"
clock = { step = "15min" }
context = 8
horizon = 4
seasons = ["1d"]
[domains.road.variables]
flow = { source = "road", long_name = "vehicles", lower = 0.0 }
speed = { source = "road", standard_name = "speed_of_vehicles" }
"""
PARTS = ("anchor", "series", "space")
SPREAD = np.array([-1.6, -1.3, -0.7, 0, 0.7, 1.3, 1.6], np.float32)


def made_cube(world: World) -> DomainCube:
    """All that ever becomes known: 15-min steps on 5 nodes, some missing, 5 minutes late."""
    random = np.random.default_rng(1)
    times = np.arange(to_seconds(START) + 900, to_seconds(datetime(2024, 3, 10, tzinfo=UTC)) + 1, 900, dtype=np.int64)
    day = np.sin(2 * np.pi * times / 86400)[:, None, None]
    values = (20 + 8 * day + random.normal(0, 1, (len(times), 5, 2))).astype(np.float32)
    values[random.random(values.shape) < 0.05] = np.nan
    flags = np.where(np.isfinite(values), 0, int(Flag.MISSING)).astype(np.uint16)
    return DomainCube(
        domain="road",
        as_of=int(times[-1]) + 900,
        snapshot="SNAP",
        valid_time=times,
        nodes=NodeSet(ids=tuple("abcde"), latitude=np.linspace(56, 56.1, 5), longitude=np.linspace(10, 10.1, 5)),
        variables=tuple(world.domains["road"].variables),
        units=("count", "km/h"),
        values_TNV=values,
        flags_TNV=flags,
        latency_TNV=np.where(flags == 0, np.int32(300), NEVER),
        revisions=Revisions.empty(),
    )


def as_known(cube: DomainCube, as_of: int, start: int | None) -> DomainCube:
    """The cube as a reader at `as_of` sees it."""
    keep = (cube.valid_time <= as_of) & (cube.valid_time >= (start or 0))
    known = cube.valid_time[keep, None, None] + cube.latency_TNV[keep].astype(np.int64) <= as_of
    return replace(
        cube,
        as_of=as_of,
        valid_time=cube.valid_time[keep],
        values_TNV=np.where(known, cube.values_TNV[keep], np.float32(np.nan)),
        flags_TNV=np.where(known, cube.flags_TNV[keep], np.uint16(Flag.MISSING)),
        latency_TNV=np.where(known, cube.latency_TNV[keep], NEVER),
    )


@dataclass
class Stub:
    """Forecasts the truth plus an error of a given size, of all targets or of each, where there is truth, 20 elsewhere."""

    error: float | tuple[float, float]
    scalers: dict[str, Any]
    told: tuple[str, ...] = ()

    def modalities(self, domain: str) -> tuple[str, ...]:
        return self.told

    def predict(
        self, windows: WindowSet, domain: str, index_W: np.ndarray, *, split: bool = True, without: Collection[str] = ()
    ) -> Prediction:
        view = windows.domains[domain]
        truth = truth_of(view, view.unscale(view.values_TNV), index_W)
        error = np.broadcast_to(np.float32(self.error), (2,)) * (1 + len(without))
        median = np.where(truth.good_WLNV, truth.values_WLNV, np.float32(20)) + error
        terms = np.zeros((*median.shape, 3), np.float32)
        terms[..., 0], terms[..., 1] = median - np.float32(0.5), 0.5
        quantiles = median[..., None] + SPREAD * np.maximum(1, 2 * np.abs(error))[:, None]
        return Prediction(quantiles_BLNVQ=quantiles.astype(np.float32), split_BLNVP=terms, parts=PARTS)

    def explain(self) -> dict[str, Any]:
        return {"road": {"node_ids": list("abcde"), "alpha": [0.5] * 5, "beta": [[0.5] * 4] * 5, "w_x": {}, "w_y": {}}}


@dataclass
class Town:
    """A store with a candidate, and a world file whose cubes are made up."""

    world: World
    file: str
    settings: Settings
    cube: DomainCube
    erring: dict[str, dict[str, float | tuple[float, float]]] = field(default_factory=dict)
    told: tuple[str, ...] = ()

    def errors(self, patch: pytest.MonkeyPatch, model_id: str = "", **errors: float | tuple[float, float]) -> None:
        """Let the forecasts of one candidate, or of all others, err by these amounts."""
        self.erring[model_id] = errors
        patch.setattr(reading, "load_models", self._load)

    def _load(self, candidate: Candidate) -> reading.Models:
        errors = self.erring.get(candidate.model_id, self.erring[""])
        predictors = {name: Stub(errors.get(name, 2.0), {"road": None}, self.told if name == JOINT else ()) for name in (JOINT, *BASELINES)}
        return reading.Models(predictors=predictors, domains=dict.fromkeys(predictors, frozenset({"road"})))


def make_town(folder: Path, patch: pytest.MonkeyPatch) -> Town:
    file = folder / "tiny.toml"
    file.write_text(WORLD)
    world = load_world(str(file))
    town = Town(world=world, file=str(file), settings=Settings(store=str(folder / "store"), data=None, dask=None), cube=made_cube(world))

    def open_cubes(world, settings, as_of, *, domains=None, start=None, until=None, absent_is_fine=False, at=None):
        return {"road": as_known(town.cube, to_seconds(as_of), (start or {}).get("road"))}

    patch.setattr(reading, "open_cubes", open_cubes)
    patch.setattr(reading, "snapshot_of", lambda world, settings: "SNAP")
    known = {"road": as_known(town.cube, to_seconds(CUTOFF), None)}
    fitted = build_windows(world, known, as_of=to_seconds(CUTOFF), scalers=None, live=False)
    scalers = dump_scalers({"road": fitted.domains["road"].scaler})
    card = {"as_of": format_instant(CUTOFF), "recipe": "stub", "seed": 0, "snapshot": "SNAP"}
    Registry(ObjectStore(town.settings.store), "tiny").add_candidate("m1", {"scalers.safetensors": scalers}, card)
    town.errors(patch, joint=1.0, persistence=3.0, historical_average=2.0, ridge=1.5)
    return town

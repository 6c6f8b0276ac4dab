"""What several steps read in the same way: cubes, a candidate's models, the windows of a candidate."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from pipeline.contracts.cubes import DomainCube
from pipeline.contracts.forecasts import JOINT
from pipeline.contracts.windows import WindowSet
from pipeline.contracts.worlds import World
from pipeline.settings import Settings
from pipeline.stores.registry import Candidate

if TYPE_CHECKING:
    from models.api import Predictor


def open_cubes(world: World, settings: Settings, as_of: datetime, *, start: Mapping[str, datetime] | None = None) -> dict[str, DomainCube]:
    """All domains as of an instant; with `start`, a domain's axis from that instant on only."""
    from pipeline.stores.cubes import CubeStore

    store = CubeStore(settings.store, world)
    return {domain: store.open(as_of, domain, start=(start or {}).get(domain)) for domain in world.domains}


def load_models(candidate: Candidate) -> dict[str, Predictor]:
    """The joint model, then its baselines, as they were trained."""
    from models.api import load, load_baselines

    joint = load(candidate.read("joint.safetensors"), json.loads(candidate.read("joint.json")))
    rivals = load_baselines(candidate.read("baselines.safetensors"), json.loads(candidate.read("baselines.json")))
    return {JOINT: joint, **rivals}


def windows_of(world: World, candidate: Candidate, cubes: dict[str, DomainCube], *, as_of: int, live: bool) -> WindowSet:
    """The windows of a world, scaled as the candidate was trained."""
    from pipeline.windows.reader import build_windows
    from pipeline.windows.scaling import load_scalers

    scalers = load_scalers(candidate.read("scalers.safetensors"))
    return build_windows(world, cubes, as_of=as_of, scalers=scalers, live=live)


def explanation_of(models: Mapping[str, Any]) -> dict[str, Any]:
    """How the joint model weighs its branches and modalities, as JSON content."""
    explained: dict[str, Any] = models[JOINT].explain()
    return explained

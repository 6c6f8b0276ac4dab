"""train: the joint model and its baselines, fitted on what was known at the training cut-off, become a candidate."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.api import Receipt, TrainRequest
from pipeline.contracts.provenance import canonical_json, digest_json
from pipeline.contracts.times import format_instant, to_seconds
from pipeline.contracts.windows import WindowSet
from pipeline.contracts.world_files import load_world
from pipeline.contracts.worlds import World
from pipeline.errors import ConfigError, NotYetAvailable
from pipeline.settings import Settings, code_version
from pipeline.steps import reading
from pipeline.steps.promote import trained_by
from pipeline.steps.texts import encoder_notes
from pipeline.stores.checkpoints import Checkpoints
from pipeline.stores.objects import ObjectStore
from pipeline.stores.registry import Candidate, Registry
from pipeline.telemetry import Progress

if TYPE_CHECKING:
    from models.api import Fitted, ModelConfig


def run(request: TrainRequest, settings: Settings, progress: Progress) -> Receipt:
    """A candidate in the registry; `unchanged` where the same windows, configuration, seed and code made it before.

    A training that was killed goes on from its last epoch. Of several processes that `torchrun` started, the first one writes.

    Raises:
        ConfigError: There is no such recipe or option.
        NotYetAvailable: No cube was built yet, no domain has a training window, or there is no such initial model.
        LookaheadError: The initial model was trained on data later than the request's `as_of`.
        ContractError: The loss is no number.
    """
    return train_in(load_world(request.world), request, settings, progress)


def train_in(world: World, request: TrainRequest, settings: Settings, progress: Progress) -> Receipt:
    """The same in a world at hand."""
    registry = Registry(ObjectStore(settings.store), world.name)
    with tempfile.TemporaryDirectory(prefix="cubecast-train-") as folder:
        return _train(world, request, settings, progress, registry, Path(folder))


def _train(world: World, request: TrainRequest, settings: Settings, progress: Progress, registry: Registry, folder: Path) -> Receipt:
    """The same with a folder for arrays that do not fit in memory."""
    from models.api import computed_on, continued, fit, fit_baselines, resolve_config
    from pipeline.windows.scaling import dump_scalers

    initial = None if request.initial is None else trained_by(registry, request.initial, request.as_of)
    config = resolve_config(request.recipe or world.recipe, _options(request, world))
    config = config if initial is None else continued(config)
    with progress.stage("windows", None):
        windows, config = windows_for(world, settings, request.as_of, config, folder)
    made_on = computed_on(config, settings.processes)
    model_id = model_id_of(windows.digest, config.digest, made_on, request.seed, None if initial is None else initial.model_id)
    known = _known(registry, model_id)
    checkpoints = Checkpoints(ObjectStore(settings.store), world.name)
    if known is not None:
        checkpoints.forget(model_id)  # a training that was killed at its very end has left it
        return _receipt(request, world, windows, model_id, known, "unchanged")
    with progress.stage("baselines", None):
        baselines = fit_baselines(windows, world.extra_baselines)
    earlier = None if initial is None else _fitted(initial)
    logs = settings.tensorboard / world.name / model_id if settings.tensorboard else None
    with checkpoints.open(model_id, progress) as (checkpoint, shown):
        joint = fit(
            windows,
            config,
            seed=request.seed,
            progress=shown,
            checkpoint=checkpoint,
            initial=earlier,
            logs=logs,
            memory=settings.memory,
        )
    card = _card(request, world, windows, config, joint, baselines) | {"initial": None if initial is None else initial.model_id}
    if not joint.first:
        return _receipt(request, world, windows, model_id, card, "unchanged")
    files = {
        "joint.safetensors": joint.state,
        "joint.json": canonical_json(joint.meta),
        "baselines.safetensors": baselines.state,
        "baselines.json": canonical_json(baselines.meta | {"config_digest": config.digest}),
        "scalers.safetensors": dump_scalers(reading.scalers_of(windows)),
    }
    created = registry.add_candidate(model_id, files, card)
    checkpoints.forget(model_id)
    return _receipt(request, world, windows, model_id, card, "done" if created else "unchanged")


def windows_for(world: World, settings: Settings, as_of: datetime, config: ModelConfig, folder: Path) -> tuple[WindowSet, ModelConfig]:
    """The windows to learn from: in files, and read chunk by chunk while training, where they fill more than half of the memory.

    Whether they are streamed is then part of the configuration, and so of the model's identity.

    Raises:
        NotYetAvailable: No cube was built yet.
        ConfigError: They are to be in memory, and are larger than it; nothing was read.
    """
    from pipeline.steps import large

    memory, cells = large.memory_for(settings), large.cells_of(world, settings, as_of)
    size = large.window_bytes(world, cells)
    if config.memory == "resident" and size > memory:
        raise ConfigError(
            asked=f"train on world {world.name} with memory=resident",
            found=f"windows of {size / 2**20:,.1f} MiB ({sum(cells.values()):,} cells), {memory / 2**20:,.1f} MiB may be used",
            mend="give memory=auto or memory=streamed, raise CUBECAST_MEMORY, or let the world begin later or have fewer nodes",
        )
    if config.memory == "auto" and size > memory // 2:
        config = replace(config, memory="streamed")
    if config.memory != "streamed" or not cells:
        return windows_at(world, settings, as_of), config
    inputs = large.inputs_in(folder, world, settings, as_of, cells, memory)
    return reading.built(world, inputs, to_seconds(as_of), None), config


def windows_at(world: World, settings: Settings, as_of: datetime) -> WindowSet:
    """All windows to learn from at a cut-off, scaled on their training folds.

    Raises:
        NotYetAvailable: No cube was built yet.
    """
    inputs = reading.open_inputs(world, settings, as_of)
    if not inputs.cubes:
        raise NotYetAvailable(
            asked=f"train on world {world.name} as of {format_instant(as_of)}",
            found="no cube",
            mend=f"cubecast build-cube --world {world.name} --as-of {format_instant(as_of)}",
        )
    return reading.built(world, inputs, to_seconds(as_of), None)


def _options(request: TrainRequest, world: World) -> dict[str, Any]:
    """The world's options belong to the world's recipe; another recipe starts from its own."""
    own = world.recipe_options if request.recipe in (None, world.recipe) else {}
    return {**own, **request.options}


def model_id_of(windows: str, config: str, made_on: Mapping[str, Any], seed: int, initial: str | None) -> str:
    """What a training's bytes depend on, as a name: digests of windows and configuration, the machine, the seed, this code, the model gone on from."""
    origin = [] if initial is None else [initial]
    return digest_json([windows, config, dict(made_on), seed, code_version(), *origin])[:16]


def _known(registry: Registry, model_id: str) -> dict[str, Any] | None:
    try:
        return registry.candidate(model_id).card
    except NotYetAvailable:
        return None


def _fitted(candidate: Candidate) -> Fitted:
    """The joint model of a candidate as `fit` left it."""
    from models.api import Fitted

    return Fitted(state=candidate.read("joint.safetensors"), meta=json.loads(candidate.read("joint.json")))


def _card(request: TrainRequest, world: World, windows: WindowSet, config: ModelConfig, joint: Fitted, baselines: Fitted) -> dict[str, Any]:
    return {
        "schema": joint.meta["schema"],
        "world": world.name,
        "world_digest": world.digest,
        "as_of": format_instant(request.as_of),
        "snapshot": windows.snapshot,
        "window_digest": windows.digest,
        "code_version": code_version(),
        "recipe": config.recipe,
        "config": config.as_json(),
        "config_digest": config.digest,
        "seed": request.seed,
        "precision": joint.meta["precision"],
        "device": joint.meta["device"],
        "processes": joint.meta["processes"],
        "memory": joint.meta["memory"],
        "libraries": joint.meta["libraries"],
        "windows": {
            name: {fold: len(domain.windows_of(fold)) for fold in ("train", "validation", "test")}
            for name, domain in windows.domains.items()
        },
        "sizes": {
            "parameters": joint.meta["parameters"],
            "joint_bytes": len(joint.state),
            "baselines_bytes": len(baselines.state),
            "nodes": {name: len(domain.node_ids) for name, domain in windows.domains.items()},
        },
        "best": joint.meta["best"],
        "epochs": joint.meta["epochs"],
        "history": joint.meta["history"],
        "notes": [*joint.meta["notes"], *baselines.meta["notes"], *encoder_notes(world, request.as_of)],
        "licences": {name: source.licence for name, source in world.sources.items()},
    }


def _receipt(request: TrainRequest, world: World, windows: WindowSet, model_id: str, card: dict[str, Any], outcome: Any) -> Receipt:
    return Receipt(
        step=request.step,
        world=world.name,
        as_of=request.as_of,
        outcome=outcome,
        ids={
            "model_id": model_id,
            "snapshot": windows.snapshot,
            "window_digest": windows.digest,
            "config_digest": card["config_digest"],
        },
        counts={
            "windows": sum(folds["train"] for folds in card["windows"].values()),
            "parameters": sum(card["sizes"]["parameters"].values()),
            "epochs": card["epochs"],
        },
        notes=tuple(card["notes"]),
        details={"recipe": card["recipe"], "seed": card["seed"], "best": card["best"], "windows": card["windows"]},
    )

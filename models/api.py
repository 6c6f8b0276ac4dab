"""The only door to the models: configure, fit, load, predict, explain."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from models.baselines import fit_baselines, load_baselines
from models.config import ModelConfig, config_from, with_options
from models.gather import usual_values
from models.joint import JointModel
from models.look import Look
from models.migration import SCHEMA
from models.portable import Program
from models.prediction import Prediction, Predictor
from models.predictor import JointPredictor
from models.progress import Progress
from models.recipes import RECIPES, continued
from models.shapes import DomainShape, TextShape, shape_of, text_shape_of
from models.state import Fitted, below, common_meta, opened, pack, read_shapes, read_texts, shape_arrays
from models.training.excerpt import array_bytes
from models.training.folds import folds_of
from models.training.loop import Task, Trainer
from models.training.memory import free_memory, is_mapped, plan_memory
from models.training.order import step_plan
from models.training.ranks import joined_ranks
from models.training.runtime import computing_on, training_device, training_precision
from pipeline.contracts.forecasts import FUTURE, TEXT_PREFIX
from pipeline.contracts.provenance import digest_bytes
from pipeline.contracts.times import format_instant, from_seconds
from pipeline.contracts.windows import WindowSet
from pipeline.errors import ConfigError, ContractError, NotYetAvailable

__all__ = [
    "Fitted",
    "JointPredictor",
    "Look",
    "ModelConfig",
    "Prediction",
    "Predictor",
    "Program",
    "computed_on",
    "continued",
    "epoch_rows",
    "fit",
    "fit_baselines",
    "load",
    "load_baselines",
    "resolve_config",
]


def resolve_config(recipe: str, options: Mapping[str, object]) -> ModelConfig:
    """The whole configuration of a recipe with single options changed.

    Raises:
        ConfigError: There is no such recipe or option, or a value is not allowed; the nearest right one is named.
    """
    if recipe not in RECIPES:
        close = difflib.get_close_matches(recipe, RECIPES, n=1)
        hint = f"did you mean '{close[0]}'? " if close else ""
        raise ConfigError(asked=f"recipe '{recipe}'", found="no such recipe", mend=f"{hint}there are {', '.join(sorted(RECIPES))}")
    return with_options(RECIPES[recipe](), options)


def computed_on(config: ModelConfig, processes: int) -> dict[str, Any]:
    """What of this machine the bytes of a training depend on: device, precision, and how many processes share each batch.

    Args:
        config: All choices.
        processes: That `torchrun` started, or one.

    Raises:
        ConfigError: A GPU is asked for and there is none.
    """
    device = training_device(config, 0)
    precision = str(training_precision(config, device)).removeprefix("torch.")
    return {"device": device.type, "precision": precision, "processes": processes}


def epoch_rows(config: ModelConfig, windows: int, nodes: int) -> int:
    """How many node-windows one epoch takes of a domain with so many training windows and nodes."""
    plan = step_plan(max(windows, 1), nodes, config)
    return plan.steps * plan.size * nodes


def fit(
    windows: WindowSet,
    config: ModelConfig,
    *,
    seed: int,
    progress: Progress,
    checkpoint: Path | None = None,
    initial: Fitted | None = None,
    logs: Path | None = None,
    memory: int | None = None,
) -> Fitted:
    """The joint model, trained on the training folds, each domain at its best epoch on its validation fold.

    The same windows, configuration and seed give the same bytes on the same kind of processor. A domain without
    training windows forecasts nothing and is named in `meta["notes"]`; the others still see it where it holds data.
    Started by `torchrun`, several processes train one model together, and each returns it.

    Args:
        windows: Everything the model may see; test windows are not touched.
        config: From `resolve_config`.
        seed: Of weights, order and dropout.
        progress: Where to report.
        checkpoint: A file that is replaced after each epoch and from which a killed training goes on, bit for bit.
        initial: An earlier joint model, whose weights this one starts from (warm start); None starts from the seed.
        logs: A folder for TensorBoard's curves.
        memory: Bytes that it may use; None: what is free.

    Raises:
        NotYetAvailable: No domain has a training window.
        ConfigError: It needs more memory than is free, or a GPU or a library that is not there.
        ContractError: `initial` is no joint model that this version reads, the loss is no number, or the checkpoint is of
            another training.
        StoreError: The checkpoint cannot be written.
    """
    shapes, notes = _usable(windows)
    texts = {name: text_shape_of(stream) for name, stream in sorted(windows.texts.items())}
    _check_names(shapes, texts, config)
    leading, skipped = _leading(windows, shapes)
    if not leading:
        raise NotYetAvailable(
            asked=f"train on world '{windows.world}' as of {format_instant(from_seconds(windows.as_of))}",
            found="no training window: " + ("; ".join(notes + skipped) or "no domain has a node yet"),
            mend="wait for more data, ask for a later --as-of, or shorten context and horizon",
        )
    identity = {"schema": SCHEMA, "window_digest": windows.digest, "config_digest": config.digest, "seed": seed}
    if initial is not None:
        identity["initial"] = digest_bytes(initial.state)
    with joined_ranks(config) as ranks:
        device = training_device(config, ranks.index)
        streamed = _streamed(windows, config)
        plan = plan_memory(windows, shapes, texts, leading, config, device, streamed, memory)
        plan.check(f"train on world '{windows.world}' with recipe '{config.recipe}'")
        task = Task(
            windows=windows,
            shapes=shapes,
            texts=texts,
            leading=leading,
            config=config,
            seed=seed,
            streamed=streamed,
            initial=initial,
            logs=logs,
        )
        with computing_on(device, config.threads):
            trainer = Trainer(task, device, ranks)
            trainer.run(progress, checkpoint, identity)
    arrays = shape_arrays(shapes)
    for domain, best in trainer.best.items():
        arrays |= {f"weights/{domain}/{name}": p.cpu().numpy() for name, p in best.weights.items()}
    meta = common_meta("joint", windows, shapes, texts) | {
        "config": config.as_json(),
        "config_digest": config.digest,
        "seed": seed,
        "libraries": {"torch": str(torch.__version__), "numpy": np.__version__},
        **computed_on(config, ranks.count),
        "memory": plan.as_json(),
        "leading": list(leading),
        "parameters": {d: sum(p.numel() for p in b.weights.values()) for d, b in trainer.best.items()},
        "best": {d: {"epoch": b.epoch, "relative_to_anchor": b.ratio} for d, b in trainer.best.items()},
        "epochs": trainer.epoch,
        "history": trainer.history,
        "notes": notes + skipped,
    }
    return Fitted(state=pack(arrays), meta=meta, first=ranks.index == 0)


def load(state: bytes, meta: Mapping[str, Any]) -> JointPredictor:
    """The joint model that `fit` left.

    Raises:
        ContractError: State and meta are not those of a joint model of this version.
    """
    meta, arrays = opened(state, meta, "joint")
    shapes, texts = read_shapes(meta, arrays), read_texts(meta)
    config = config_from(meta["config"])
    weights = {d: below(arrays, f"weights/{d}/") for d in meta["leading"]}
    models = {d: [_restored(shapes, texts, d, config, w, member) for member in range(config.members)] for d, w in weights.items()}
    return JointPredictor(models, shapes, texts, config)


def _restored(
    shapes: dict[str, DomainShape],
    texts: dict[str, TextShape],
    domain: str,
    config: ModelConfig,
    weights: Mapping[str, NDArray[Any]],
    member: int,
) -> JointModel:
    """One member's model of one domain."""
    model = JointModel(shapes, texts, (domain,), config)
    if config.members > 1 and any(array.shape[:1] != (config.members,) for array in weights.values()):
        raise ContractError(
            asked=f"weights of domain '{domain}' of {config.members} members",
            found="another number of them",
            mend="give the state and the meta data of one and the same model",
        )
    own = {name: torch.from_numpy(np.array(array if config.members == 1 else array[member])) for name, array in weights.items()}
    try:
        missing = model.load_state_dict(own, strict=False)
    except RuntimeError as error:
        raise ContractError(asked=f"weights of domain '{domain}'", found=str(error), mend="train again with this version") from error
    lacking = [n for n in missing.missing_keys if n in dict(model.named_parameters())] + missing.unexpected_keys
    if lacking:
        raise ContractError(
            asked=f"weights of domain '{domain}'", found=f"no match for {lacking[:3]}", mend="train again with this version"
        )
    return model.eval()


def _check_names(shapes: dict[str, DomainShape], texts: dict[str, TextShape], config: ModelConfig) -> None:
    """Refuse two modalities of one name, and a blind one that is not there."""
    streams = [TEXT_PREFIX + name for name in texts]
    known = [*shapes, FUTURE, *streams]
    if len(set(known)) < len(known):
        raise ConfigError(
            asked=f"domains {', '.join(shapes)}", found=f"one is named as a modality is: {FUTURE} or {TEXT_PREFIX}STREAM", mend="rename it"
        )
    for name in config.blinded:
        if name not in known:
            raise ConfigError(asked=f"model option blind = '{config.blind}'", found=f"no '{name}'", mend=f"allowed: {', '.join(known)}")


def _streamed(windows: WindowSet, config: ModelConfig) -> bool:
    """Whether to read the arrays chunk by chunk."""
    if config.memory != "auto":
        return config.memory == "streamed"
    free = free_memory()
    return is_mapped(windows) and free is not None and array_bytes(windows) > free // 2


def _usable(windows: WindowSet) -> tuple[dict[str, DomainShape], list[str]]:
    shapes, notes = {}, []
    for name in sorted(windows.domains):
        domain = windows.domains[name]
        if not len(domain.node_ids) or not domain.good_TNV.any():
            notes.append(f"domain '{name}' holds no value and is left out")
            continue
        shapes[name] = shape_of(domain, usual_values(domain))
        unheard = [domain.node_ids[n] for n in np.flatnonzero(~domain.good_TNV.any((0, 2)))]
        if unheard:
            few = ", ".join(unheard[:3]) + (", …" if len(unheard) > 3 else "")
            notes.append(
                f"domain '{name}': {len(unheard)} of {len(domain.node_ids)} nodes hold no value ({few}); theirs is the usual value of all"
            )
    return shapes, notes


def _leading(windows: WindowSet, shapes: dict[str, DomainShape]) -> tuple[tuple[str, ...], list[str]]:
    leading, notes = [], []
    for name, shape in shapes.items():
        folds = folds_of(windows.domains[name])
        if not shape.targets or not len(folds.train):
            notes.append(f"domain '{name}' is not forecast: {len(shape.targets)} targets, {len(folds.train)} training windows")
            continue
        leading.append(name)
        if folds.borrowed:
            notes.append(f"domain '{name}' has no validation window: its last {len(folds.validation)} training windows chose the epoch")
    return tuple(leading), notes

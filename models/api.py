"""The only door to the models: configure, fit, load, predict, explain."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from models.baselines import fit_baselines, load_baselines
from models.config import ModelConfig, with_options
from models.gather import usual_values
from models.joint import JointModel
from models.prediction import Prediction, Predictor
from models.predictor import JointPredictor
from models.progress import Progress
from models.recipes import RECIPES, continued
from models.shapes import DomainShape, shape_of
from models.state import Fitted, common_meta, pack, read_shapes, shape_arrays, unpack
from models.training.folds import folds_of
from models.training.loop import Trainer, reproducible, training_precision
from pipeline.contracts.provenance import digest_bytes
from pipeline.contracts.times import format_instant, from_seconds
from pipeline.contracts.windows import WindowSet
from pipeline.errors import ConfigError, ContractError, NotYetAvailable

__all__ = [
    "Fitted",
    "ModelConfig",
    "Prediction",
    "Predictor",
    "continued",
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


def fit(
    windows: WindowSet,
    config: ModelConfig,
    *,
    seed: int,
    progress: Progress,
    checkpoint: Path | None = None,
    initial: Fitted | None = None,
) -> Fitted:
    """The joint model, trained on the training folds, each domain at its best epoch on its validation fold.

    The same windows, configuration and seed give the same bytes on the same kind of processor. A domain without
    training windows forecasts nothing and is named in `meta["notes"]`; the others still see it where it holds data.

    Args:
        windows: Everything the model may see; test windows are not touched.
        config: From `resolve_config`.
        seed: Of weights, order and dropout.
        progress: Where to report.
        checkpoint: A file that is replaced after each epoch and from which a killed training goes on, bit for bit.
        initial: An earlier joint model, whose weights this one starts from (warm start); None starts from the seed.

    Raises:
        NotYetAvailable: No domain has a training window.
        ContractError: `initial` is no joint model of this version, the loss is no number, or the checkpoint is of another training.
        StoreError: The checkpoint cannot be written.
    """
    shapes, notes = _usable(windows)
    leading, skipped = _leading(windows, shapes)
    if not leading:
        raise NotYetAvailable(
            asked=f"train on world '{windows.world}' as of {format_instant(from_seconds(windows.as_of))}",
            found="no training window: " + ("; ".join(notes + skipped) or "no domain has a node yet"),
            mend="wait for more data, ask for a later --as-of, or shorten context and horizon",
        )
    with reproducible(config.threads):
        trainer = Trainer(windows, shapes, leading, config, seed, initial)
        identity = {"window_digest": windows.digest, "config_digest": config.digest, "seed": seed}
        if initial is not None:
            identity["initial"] = digest_bytes(initial.state)
        trainer.run(progress, checkpoint, identity)
    arrays = shape_arrays(shapes)
    for domain, best in trainer.best.items():
        arrays |= {f"weights/{domain}/{name}": p.numpy() for name, p in best.weights.items()}
    meta = common_meta("joint", windows, shapes) | {
        "config": config.as_json(),
        "config_digest": config.digest,
        "seed": seed,
        "libraries": {"torch": str(torch.__version__), "numpy": np.__version__},
        "precision": str(training_precision(config)).removeprefix("torch."),
        "leading": list(leading),
        "parameters": {d: sum(p.numel() for p in b.weights.values()) for d, b in trainer.best.items()},
        "best": {d: {"epoch": b.epoch, "relative_to_anchor": b.ratio} for d, b in trainer.best.items()},
        "epochs": trainer.epoch,
        "history": trainer.history,
        "notes": notes + skipped,
    }
    return Fitted(state=pack(arrays), meta=meta)


def load(state: bytes, meta: Mapping[str, Any]) -> Predictor:
    """The joint model that `fit` left.

    Raises:
        ContractError: State and meta are not those of a joint model of this version.
    """
    arrays = unpack(state)
    shapes = read_shapes(meta, arrays, "joint")
    config = ModelConfig(**meta["config"])
    models = {}
    for domain in meta["leading"]:
        model = JointModel(shapes, (domain,), config)
        prefix = f"weights/{domain}/"
        weights = {n.removeprefix(prefix): torch.from_numpy(a.copy()) for n, a in arrays.items() if n.startswith(prefix)}
        try:
            missing = model.load_state_dict(weights, strict=False)
        except RuntimeError as error:
            raise ContractError(asked=f"weights of domain '{domain}'", found=str(error), mend="train again with this version") from error
        lacking = [n for n in missing.missing_keys if n in dict(model.named_parameters())] + missing.unexpected_keys
        if lacking:
            raise ContractError(
                asked=f"weights of domain '{domain}'", found=f"no match for {lacking[:3]}", mend="train again with this version"
            )
        models[domain] = model.eval()
    return JointPredictor(models, shapes, config)


def _usable(windows: WindowSet) -> tuple[dict[str, DomainShape], list[str]]:
    shapes, notes = {}, []
    for name in sorted(windows.domains):
        domain = windows.domains[name]
        if not len(domain.node_ids) or not domain.good_TNV.any():
            notes.append(f"domain '{name}' holds no value and is left out")
            continue
        shapes[name] = shape_of(domain, usual_values(domain))
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

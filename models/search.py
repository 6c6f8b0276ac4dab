"""Search for better options of a recipe: budgeted, and gone on with after any interruption (optuna)."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from models.config import ModelConfig
from models.progress import Progress, Stage
from models.state import Fitted
from pipeline.contracts.provenance import digest_json
from pipeline.contracts.windows import WindowSet
from pipeline.errors import ConfigError, ContractError

SPACE: dict[str, tuple[Any, ...]] = {
    "hidden": ("one of", 32, 48, 64, 96, 128),
    "temporal": ("one of", "lstm", "gru", "linear"),
    "temporal_hidden": ("one of", 16, 32, 64),
    "patches": ("one of", 2, 4, 8),
    "blocks": ("one of", 1, 2, 3, 4),
    "hubs": ("one of", 8, 16, 32),
    "learning_rate": ("log", 1e-3, 2e-2),
    "weight_decay": ("log", 1e-4, 1e-1),
    "dropout": ("from", 0.0, 0.3),
    "modality_dropout": ("from", 0.0, 0.5),
    "quantile_weight": ("from", 0.2, 1.0),
}
"""What is tried: one of some values, or a number from a range, evenly or evenly in its logarithm."""


@dataclass(frozen=True, kw_only=True)
class Budget:
    """Trials in all, those of earlier calls included, and seconds of this call after which no trial begins."""

    trials: int
    seconds: float | None = None


def search(
    windows: WindowSet,
    config: ModelConfig,
    *,
    seed: int,
    budget: Budget,
    folder: Path,
    progress: Progress,
    memory: int | None = None,
) -> dict[str, Any]:
    """The options with the least error relative to the anchor on the validation folds, and every trial.

    The test fold is not touched. Each trial is drawn from what is known of those before it alone, so that a search that was
    killed goes on as if it had not been; a trial in the making goes on from its last epoch. A trial that cannot be trained, because
    it needs too much memory or its loss is no number, counts as tried and keeps its reason.

    Args:
        windows: As for `fit`.
        config: What is varied.
        seed: Of the trainings and of what is drawn.
        budget: When to stop.
        folder: Where the journal and checkpoints lie.
        progress: Where to report.
        memory: As for `fit`.

    Raises:
        ConfigError: Optuna is not installed, or not one trial could be trained.
        ContractError: The folder holds a search of other windows, options or seed.
    """
    from models.api import fit

    identity = {"window_digest": windows.digest, "config_digest": config.digest, "seed": seed, "space": digest_json(SPACE)}
    study, began = _study(folder, identity), time.monotonic()
    with progress.stage("search", budget.trials, "trials") as stage:
        stage.advance(len(_ended(study)))
        while len(ended := _ended(study)) < budget.trials and (budget.seconds is None or time.monotonic() - began < budget.seconds):
            trial = _next(study, seed * 100_003 + len(ended))
            tried, trial_began = replace(config, **_suggested(trial)), time.monotonic()
            checkpoint = folder / f"{tried.digest[:16]}.safetensors"
            try:
                fitted = fit(windows, tried, seed=seed, progress=_Quiet(), checkpoint=checkpoint, memory=memory)
            except (ConfigError, ContractError, MemoryError, torch.OutOfMemoryError) as error:
                _failed(study, trial, f"{type(error).__name__}: {error}")
            else:
                _succeeded(study, trial, fitted)
            checkpoint.unlink(missing_ok=True)
            stage.advance(1, f"{_best_of(study)}, {time.monotonic() - trial_began:.0f} s the last")
    return _said(study)


def _succeeded(study: Any, trial: Any, fitted: Fitted) -> None:
    trial.set_user_attr("parameters", sum(fitted.meta["parameters"].values()))
    trial.set_user_attr("best", fitted.meta["best"])
    study.tell(trial, float(np.mean([best["relative_to_anchor"] for best in fitted.meta["best"].values()])))


def _failed(study: Any, trial: Any, reason: str) -> None:
    trial.set_user_attr("reason", reason)
    study.tell(trial, state=_library().trial.TrialState.FAIL)


def _best_of(study: Any) -> str:
    return f"best {study.best_value:.4f}" if _done(study) else "none trained yet"


def _said(study: Any) -> dict[str, Any]:
    """The best options, every trial that was trained, and every other one with its reason.

    Raises:
        ConfigError: None was trained, and not for want of time.
    """
    done, failed = _done(study), [t for t in study.trials if "reason" in t.user_attrs]
    if failed and not done:
        options = ", ".join(f"{k}={v}" for k, v in failed[-1].params.items())
        raise ConfigError(
            asked=f"a search, its last trial with {options}",
            found=f"none of {len(failed)} trials could be trained; {failed[-1].user_attrs['reason']}",
            mend="mend that, then ask for more trials",
        )
    return {
        "options": dict(study.best_params) if done else {},
        "error": study.best_value if done else None,
        "trials": [{"options": t.params, "error": t.value, **t.user_attrs} for t in done],
        "failed": [{"options": t.params, "reason": t.user_attrs["reason"]} for t in failed],
    }


def _study(folder: Path, identity: Mapping[str, Any]) -> Any:
    """The study in a folder, new or gone on with."""
    optuna = _library()
    folder.mkdir(parents=True, exist_ok=True)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    backend = optuna.storages.journal.JournalFileBackend(str(folder / "journal.jsonl"))
    storage = optuna.storages.JournalStorage(backend)
    study = optuna.create_study(storage=storage, study_name="cubecast", direction="minimize", load_if_exists=True)
    for key, value in identity.items():
        known = study.user_attrs.get(key)
        if known is None:
            study.set_user_attr(key, value)
        elif known != value:
            raise ContractError(
                asked=f"go on with the search in {folder}", found=f"one with another {key}", mend="name another folder, or delete this one"
            )
    return study


def _done(study: Any) -> list[Any]:
    return [t for t in study.trials if t.value is not None]


def _ended(study: Any) -> list[Any]:
    return [t for t in study.trials if t.state.is_finished()]


def _next(study: Any, seed: int) -> Any:
    """A trial that was begun and not ended, again; else a new one."""
    optuna = _library()
    for begun in study.trials:
        if begun.state == optuna.trial.TrialState.RUNNING:
            return optuna.trial.Trial(study, begun._trial_id)
    study.sampler = optuna.samplers.TPESampler(seed=seed % 2**32)
    return study.ask()


def _suggested(trial: Any) -> dict[str, Any]:
    """The options of a trial; asked again it says the same."""
    found = {}
    for name, (kind, *values) in SPACE.items():
        found[name] = trial.suggest_categorical(name, values) if kind == "one of" else trial.suggest_float(name, *values, log=kind == "log")
    return found


def _library() -> Any:
    try:
        import optuna
    except ImportError as error:
        raise ConfigError(
            asked="a search for options", found=f"optuna is not installed: {error}", mend='pip install "cubecast[search]"'
        ) from error
    return optuna


class _Quiet:
    """Tells nobody how far one trial is."""

    def stage(self, name: str, total: float | None, unit: str = "") -> Any:
        """Itself."""
        return self

    def __enter__(self) -> Stage:
        return self

    def __exit__(self, *error: object) -> None:
        return None

    def advance(self, amount: float = 1, note: str = "") -> None:
        """Nothing."""

"""What one forecaster of Aarhus's road traffic makes of one seed: its scores, and what its training cost."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.aarhus_traffic import FOLDS, TARGETS, TRAFFIC, arrays, one_variable, scores
from benchmarks.aarhus_trees import Trees
from benchmarks.stid import predict_stid, train_stid
from models.api import fit, fit_baselines, load, load_baselines, resolve_config
from models.gather import Gatherer, usual_values
from pipeline.contracts.forecasts import MEDIAN
from pipeline.contracts.windows import Fold, WindowSet
from pipeline.settings import code_version
from pipeline.telemetry import QUIET

Record = dict[str, Any]
Ask = Callable[[Fold], NDArray[np.float32]]


@dataclass(frozen=True, kw_only=True)
class Place:
    """What a unit is made with.

    Attributes:
        keep: A folder for what is begun.
        given: The windows of the road traffic alone.
        threads: Of torch and LightGBM, as the peers are given them.
        python: An interpreter that has neuralforecast.
    """

    keep: Path
    given: WindowSet
    threads: int
    python: str


@contextmanager
def cost(found: Record, prefix: str = "") -> Iterator[None]:
    """Wall and processor seconds of what is done inside, and the load before and after."""
    wall, processor, load = time.perf_counter(), time.process_time(), os.getloadavg()[0]
    yield
    found[f"{prefix}wall"], found[f"{prefix}processor"] = time.perf_counter() - wall, time.process_time() - processor
    found[f"{prefix}load"] = [load, os.getloadavg()[0]]


def judged(place: Place, target: str, ask: Ask, found: Record) -> Record:
    """What was found of a training, with its scores on both folds."""
    view = place.given.domains[TRAFFIC]
    with cost(found, "predict_"):
        said = {fold: ask(fold) for fold in FOLDS}
    about = {"day": f"{datetime.now(UTC):%Y-%m-%d}", "cores": os.cpu_count(), "code": code_version()}
    peak = {"peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024}
    return about | peak | found | {fold: scores(said[fold], view, target, fold) for fold in FOLDS}


def ours(place: Place, seed: int, options: Mapping[str, Any]) -> dict[str, Record]:
    """The joint model by its own training engine: both targets in one training, whose cost stands at each."""
    config, found = resolve_config("small", options), {}
    with cost(training := dict[str, Any]()):
        fitted = fit(place.given, config, seed=seed, progress=QUIET)
    model, view = load(fitted.state, fitted.meta), place.given.domains[TRAFFIC]
    curve = [epoch["validation"][TRAFFIC]["per_variable"] for epoch in fitted.meta["history"]]
    training |= {
        "threads": config.threads,
        "epochs": fitted.meta["epochs"],
        "best_epoch": fitted.meta["best"][TRAFFIC]["epoch"],
        "parameters": fitted.meta["parameters"][TRAFFIC],
        "curve": curve,
        "options": dict(options),
        "config_digest": config.digest,
        "together": True,
        "versions": {"torch": version("torch"), "numpy": version("numpy")},
    }
    said: dict[Fold, NDArray[np.float32]] = {}
    for v, target in ((view.variables.index(target), target) for target in TARGETS):

        def ask(fold: Fold, v: int = v) -> NDArray[np.float32]:
            if fold not in said:
                said[fold] = model.predict(place.given, TRAFFIC, view.windows_of(fold), split=False).quantiles_BLNVQ[..., MEDIAN]
            return said[fold][..., list(view.targets).index(v)]

        found[target] = judged(place, target, ask, dict(training))
    return found


def baselines(place: Place, names: Mapping[str, str]) -> Iterator[tuple[str, str, Record]]:
    """Name, target and record of the baselines of these kinds, fitted all at once (their cost is that of all)."""
    with cost(training := dict[str, Any]()):
        fitted = fit_baselines(place.given)
    view = place.given.domains[TRAFFIC]
    for kind, model in load_baselines(fitted.state, fitted.meta).items():
        if kind not in names:
            continue
        for target in TARGETS:
            at = list(view.targets).index(view.variables.index(target))

            def ask(fold: Fold, model: Any = model, at: int = at) -> NDArray[np.float32]:
                said: NDArray[np.float32] = model.predict(place.given, TRAFFIC, view.windows_of(fold), split=False).quantiles_BLNVQ[
                    ..., at, MEDIAN
                ]
                return said

            yield names[kind], target, judged(place, target, ask, dict(training))


def stid(place: Place, target: str, seed: int, options: Mapping[str, Any]) -> Record:
    """STID as its paper has it, from `benchmarks/stid.py`."""
    asked = {"context": 12, "epochs": 100, "patience": 15} | dict(options)
    view = one_variable(place.given.domains[TRAFFIC], target, asked["context"])
    torch.set_num_threads(place.threads)
    with cost(training := dict[str, Any]()):
        gatherer = Gatherer(view, usual_values(view), often=True)
        found = train_stid(
            gatherer,
            view.windows_of("train"),
            view.windows_of("validation"),
            seed=seed,
            epochs=asked["epochs"],
            patience=asked["patience"],
            kept=(file := place.keep / f"stid {target} {seed}.safetensors"),
        )
    training["wall"], training["processor"] = found.seconds
    file.unlink()
    training |= {
        "threads": place.threads,
        "epochs": len(found.curve),
        "best_epoch": found.epoch,
        "curve": [float(v) for v in found.curve],
        "parameters": sum(p.numel() for p in found.model.parameters()),
        "options": asked,
        "versions": {"torch": version("torch"), "numpy": version("numpy")},
    }
    return judged(place, target, lambda fold: predict_stid(found.model, gatherer, view.windows_of(fold)), training)


def trees(place: Place, target: str, seed: int, options: Mapping[str, Any]) -> Record:
    """LightGBM."""
    model = Trees(place.given.domains[TRAFFIC], target, seed, place.threads)
    with cost(training := dict[str, Any]()):
        model.fit(options)
    training |= {
        "threads": place.threads,
        "rounds": model.rounds,
        "options": dict(options),
        "versions": {"lightgbm": version("lightgbm"), "numpy": version("numpy")},
    }
    return judged(place, target, model.said, training)


def neural(place: Place, name: str, target: str, seed: int, options: Mapping[str, Any]) -> Record:
    """One of neuralforecast's, in its own environment."""
    view = place.given.domains[TRAFFIC]
    v = view.variables.index(target)
    with tempfile.TemporaryDirectory(prefix="aarhus-rivals-") as made:
        folder = Path(made)
        np.savez(folder / "arrays.npz", allow_pickle=False, **arrays(view, target))
        script = Path(__file__).with_name("aarhus_neural.py").resolve()
        command = [place.python, script, "--arrays", "arrays.npz", "--out", "said.npz", "--model", name, "--seed", str(seed)]
        environment = os.environ | {"OMP_NUM_THREADS": str(place.threads)}
        child = subprocess.run(
            [*map(str, command), "--options", json.dumps(dict(options))],
            cwd=folder,
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        found: Record = json.loads(child.stdout.splitlines()[-1]) | {"options": dict(options)}
        said = dict(np.load(folder / "said.npz"))
    scale, center = view.scaler.scale_NV[:, v], view.scaler.center_NV[:, v]
    record = judged(place, target, lambda fold: (said[fold] * scale + center).astype(np.float32), {})
    return record | found

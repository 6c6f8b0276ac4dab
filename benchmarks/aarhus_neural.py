"""One of neuralforecast's models on the road traffic of Aarhus: trained, stopped on validation, and asked for every window.

Runs in an environment of its own that has neuralforecast and no part of this project; `aarhus_rivals` starts it. The library's own layers,
sampling and optimiser. Added to it, in its favour: readings that are missing are carried forward as inputs and weigh nothing in the loss,
and the weights that were best on validation are the ones that forecast (the library keeps the last ones). Validation, while it trains, looks
at one window in `--thin`.
"""

from __future__ import annotations

import argparse
import importlib
import json
import logging
import os
import resource
import time
import warnings
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

JOINT = ("iTransformer", "TimeXer")
"""Models that see all series at once."""

COMMON: dict[str, Any] = {
    "scaler_type": "identity",
    "enable_progress_bar": False,
    "enable_model_summary": False,
    "logger": False,
    "enable_checkpointing": False,
    "accelerator": "cpu",
}


def dataset(y_TN: np.ndarray[Any, Any]) -> Any:
    """The library's data set of these series; NaN is missing."""
    kinds, pandas = importlib.import_module("neuralforecast.tsdataset"), importlib.import_module("pandas")
    good, step = np.isfinite(y_TN), np.arange(len(y_TN))[:, None]
    newest = np.maximum.accumulate(np.where(good, step, 0), axis=0)
    filled = np.nan_to_num(np.take_along_axis(y_TN, newest, 0))
    columns = np.stack([filled.T.ravel(), good.T.ravel()], -1).astype(np.float32)
    return kinds.TimeSeriesDataset(
        temporal=columns,
        temporal_cols=pandas.Index(["y", "available_mask"]),
        indptr=np.arange(y_TN.shape[1] + 1, dtype=np.int32) * len(y_TN),
        y_idx=0,
    )


def keeper(thin: int) -> Any:
    """A callback: validation on one window in `thin`, and the best weights kept."""
    base: Any = importlib.import_module("pytorch_lightning").Callback

    class Keeper(base):  # type: ignore[misc]
        def __init__(self) -> None:
            self.best, self.step, self.weights, self.curve = float("inf"), 0, {}, []  # type: ignore[var-annotated]

        def on_validation_start(self, trainer: Any, module: Any) -> None:
            module.step_size = thin

        def on_validation_end(self, trainer: Any, module: Any) -> None:
            module.step_size = 1
            found = float(trainer.callback_metrics.get("ptl/val_loss", float("nan")))
            self.curve.append([trainer.global_step, round(found, 5), round(time.process_time(), 1)])
            print(self.curve[-1], flush=True)
            if found < self.best:
                self.best, self.step = found, trainer.global_step
                self.weights = {name: p.detach().clone() for name, p in module.state_dict().items()}

    return Keeper()


def said(model: Any, y_TN: np.ndarray[Any, Any], first: int, horizon: int) -> np.ndarray[Any, Any]:
    """(window, lead, node): what is forecast of every window whose first target is at `first` or later."""
    size = len(y_TN) - first
    model.set_test_size(size)
    found = model.predict(dataset(y_TN), step_size=1).reshape(y_TN.shape[1], size - horizon + 1, horizon)
    return np.ascontiguousarray(found.transpose(1, 2, 0), dtype=np.float32)


def seconds() -> tuple[float, float]:
    """Wall and processor seconds so far."""
    return time.perf_counter(), time.process_time()


def trained(given: Mapping[str, Any], name: str, options: Mapping[str, Any], seed: int, thin: int) -> tuple[Any, dict[str, Any]]:
    """The model with its best weights, and what its training says of itself."""
    library, loss = importlib.import_module("neuralforecast.models"), importlib.import_module("neuralforecast.losses.pytorch").MAE
    torch = importlib.import_module("torch")
    y_TN, horizon, validation, test = (given[k] for k in ("y_TN", "horizon", "validation", "test"))
    keeping = keeper(thin)
    series = {"n_series": y_TN.shape[1]} if name in JOINT else {}
    model = getattr(library, name)(
        h=int(horizon), loss=loss(), valid_loss=loss(), random_seed=seed, callbacks=[keeping], **COMMON, **series, **options
    )
    wall, processor = seconds()
    model.fit(dataset(y_TN), val_size=int(test - validation), test_size=int(len(y_TN) - test))
    done = seconds()
    model.load_state_dict(keeping.weights)
    return model, {
        "wall": done[0] - wall,
        "processor": done[1] - processor,
        "steps": int(model.trainer.global_step) if getattr(model, "trainer", None) else keeping.curve[-1][0],
        "best_step": keeping.step,
        "curve": keeping.curve,
        "parameters": sum(p.numel() for p in model.parameters()),
        "threads": torch.get_num_threads(),
    }


def main() -> None:
    """Forecasts of both folds as one .npz, and a line of JSON about the training on standard output."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--arrays", type=Path, required=True, help="y_TN and where the folds begin, as aarhus_rivals writes them")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--thin", type=int, default=8)
    parser.add_argument("--options", type=json.loads, default={})
    parser.add_argument("--folds", nargs="*", default=["validation", "test"])
    asked = parser.parse_args()
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    given = dict(np.load(asked.arrays))
    load = os.getloadavg()[0]
    model, found = trained(given, asked.model, asked.options, asked.seed, asked.thin)
    wall, processor = seconds()
    ends = {"validation": int(given["test"]) - 1, "test": len(given["y_TN"])}
    forecasts = {fold: said(model, given["y_TN"][: ends[fold]], int(given[fold]), int(given["horizon"])) for fold in asked.folds}
    asked_for = seconds()
    np.savez(asked.out, allow_pickle=False, **forecasts)
    found |= {
        "predict_wall": asked_for[0] - wall,
        "predict_processor": asked_for[1] - processor,
        "load": [load, os.getloadavg()[0]],
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "versions": {name: version(name) for name in ("neuralforecast", "torch", "numpy")},
    }
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()

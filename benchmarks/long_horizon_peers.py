"""How well do DLinear, PatchTST, iTransformer and TimeMixer forecast illness from 36 weeks, trained here with neuralforecast?

For what nobody published at this look-back: the windows, parts and scores of `long_horizon`, the library's own layers and sizes, MSE as the loss,
stopped on the validation part. Runs in an environment of its own that has neuralforecast and no part of this project:
`python benchmarks/long_horizon_peers.py --data FOLDER` (the folder of the shared data). One seed: minutes on one core.
"""

from __future__ import annotations

import argparse
import importlib
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

ROWS, TRAIN, VALIDATION, LOOK_BACK, HORIZONS = 966, 676, 97, 36, (24, 36, 48, 60)
STEPS, CHECK, PATIENCE, RATE = 1000, 50, 5, 1e-3


def frame(data: Path) -> pd.DataFrame:
    """Every series standardised by its training rows, one below the other."""
    wide = pd.read_csv(data / "benchmarks" / "national_illness.csv").iloc[:ROWS, 1:]
    scaled = (wide - wide[:TRAIN].mean()) / wide[:TRAIN].std(ddof=0)
    scaled.index.name = "ds"
    return scaled.melt(var_name="unique_id", value_name="y", ignore_index=False).reset_index()


def models(horizon: int, series: int, seed: int) -> list[Any]:
    """The peers for a horizon."""
    kinds, loss = importlib.import_module("neuralforecast.models"), importlib.import_module("neuralforecast.losses.pytorch").MSE
    common: dict[str, Any] = {
        "h": horizon,
        "input_size": LOOK_BACK,
        "loss": loss(),
        "valid_loss": loss(),
        "max_steps": STEPS,
        "val_check_steps": CHECK,
        "early_stop_patience_steps": PATIENCE,
        "learning_rate": RATE,
        "scaler_type": "identity",
        "random_seed": seed,
        "enable_progress_bar": False,
        "logger": False,
        "enable_checkpointing": False,
        "accelerator": "cpu",
    }
    alone = {**common, "windows_batch_size": 32}
    joint = {**common, "n_series": series, "windows_batch_size": 32}
    return [kinds.DLinear(**alone), kinds.PatchTST(**alone), kinds.iTransformer(**joint), kinds.TimeMixer(**joint)]


def main() -> None:
    """One line per horizon: MSE and MAE of each model, mean and spread over the seeds."""
    library = importlib.import_module("neuralforecast")
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--horizons", type=int, nargs="*", default=HORIZONS)
    given = parser.parse_args()
    logging.disable(logging.INFO)
    table = frame(given.data)
    for horizon in given.horizons:
        found: dict[str, list[tuple[float, float]]] = {}
        for seed in range(given.seeds):
            said = library.NeuralForecast(models=models(horizon, table["unique_id"].nunique(), seed), freq=1).cross_validation(
                table, val_size=VALIDATION, test_size=ROWS - TRAIN - VALIDATION, step_size=1, n_windows=None
            )
            for name in [c for c in said.columns if c not in ("unique_id", "ds", "cutoff", "y")]:
                error = (said[name] - said["y"]).to_numpy()
                found.setdefault(name, []).append((float(np.mean(error**2)), float(np.abs(error).mean())))
        cells = [f"{name} {' '.join(f'{v:.3f}' for v in np.mean(each, 0))}" for name, each in found.items()]
        print(f"| illness {horizon} | {len(said):,} numbers | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()

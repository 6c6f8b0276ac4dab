"""How well does the joint model forecast ETTh1, ETTh2, exchange rates and illness far ahead, beside what the strongest published say?

The usual protocol: look-back 96 (illness 36), horizons 96 to 720 (24 to 60); ETT splits 8640 / 2880 / 2880 rows, the others 7:1:2; each
series standardised by its training rows; MSE and MAE over every window of the test part, validation and test windows reaching back into the
part before, none dropped. The model sees its look-back and the clock, and no older value. Options are not searched; `--options` compares some on validation.
ETT is read as changes from the newest value, as the published models do by normalising each window. A row that is done is kept in `--kept`, so
that the same command goes on. On prices (exchange rates) the forecast goes only so far from the newest value as three earlier trainings,
inside the training rows, found to last (`share`). `python -m benchmarks.long_horizon --seeds 3`: one seed of all 16 rows is about six minutes
on a quiet core
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

from benchmarks.arrays import DOMAIN, cube_of, made_world, windows_from
from benchmarks.measure import setting
from models.api import JointPredictor, fit, load, resolve_config
from pipeline.contracts.forecasts import MEDIAN
from pipeline.contracts.windows import WindowSet
from pipeline.settings import read_settings
from pipeline.telemetry import QUIET
from pipeline.verification.significance import LEAST_PERIODS, diebold_mariano


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """A set and its protocol; `published` are MSE and MAE by model and horizon; `rolling`: earlier trainings say how far to trust the model."""

    file: str
    step: timedelta
    start: datetime
    rows: int
    cuts: tuple[int, int]
    look_back: int
    horizons: tuple[int, ...]
    declared: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    published: Mapping[str, tuple[tuple[float, float], ...]] = field(default_factory=dict)
    rolling: bool = False


HOURS = timedelta(hours=1)
ETT: dict[str, Any] = {
    "step": HOURS,
    "start": datetime(2016, 7, 1, tzinfo=UTC),
    "rows": 14400,
    "cuts": (8640, 11520),
    "look_back": 96,
    "horizons": (96, 192, 336, 720),
    "declared": {"scale": "node"},
    "options": {"changes": True},
}
SETS = {
    "ETTh1": Dataset(
        file="ETTh1.csv",
        **ETT,
        published={
            "DLinear": ((0.386, 0.400), (0.437, 0.432), (0.481, 0.459), (0.519, 0.516)),
            "PatchTST": ((0.414, 0.419), (0.460, 0.445), (0.501, 0.466), (0.500, 0.488)),
            "iTransformer": ((0.386, 0.405), (0.441, 0.436), (0.487, 0.458), (0.503, 0.491)),
        },
    ),
    "ETTh2": Dataset(
        file="ETTh2.csv",
        **ETT,
        published={
            "DLinear": ((0.333, 0.387), (0.477, 0.476), (0.594, 0.541), (0.831, 0.657)),
            "PatchTST": ((0.302, 0.348), (0.388, 0.400), (0.426, 0.433), (0.431, 0.446)),
            "iTransformer": ((0.297, 0.349), (0.380, 0.400), (0.428, 0.432), (0.427, 0.445)),
        },
    ),
    "exchange": Dataset(
        file="exchange_rate.csv",
        step=timedelta(days=1),
        start=datetime(1990, 1, 1, tzinfo=UTC),
        rows=7588,
        cuts=(5311, 6071),
        look_back=96,
        horizons=(96, 192, 336, 720),
        declared={"scale": "relative"},
        options={"least_gain": 0.005},  # prices: less than that is chance
        rolling=True,
        published={
            "DLinear": ((0.088, 0.218), (0.176, 0.315), (0.313, 0.427), (0.839, 0.695)),
            "PatchTST": ((0.088, 0.205), (0.176, 0.299), (0.301, 0.397), (0.901, 0.714)),
            "iTransformer": ((0.086, 0.206), (0.177, 0.299), (0.331, 0.417), (0.847, 0.691)),
        },
    ),
    "illness": Dataset(
        file="national_illness.csv",
        step=timedelta(days=1),
        start=datetime(2002, 1, 1, tzinfo=UTC),
        rows=966,
        cuts=(676, 773),
        look_back=36,
        horizons=(24, 36, 48, 60),
        declared={"scale": "relative"},
    ),
}
"""Published figures at this look-back: as the iTransformer paper (Liu et al., ICLR 2024, appendix) gives them, repeated by S-Mamba."""

OPTIONS: dict[str, Any] = {
    "recipe": "small",
    "epochs": 10,
    "patience": 3,
    "learning_rate": 1e-3,
    "dropout": 0.2,
    "least_gain": 0.0,
    "quantile_share": 0.03,
}
ORIGINS, SHARES = (0.4, 0.6, 0.8), (0.0, 0.25, 0.5, 0.75, 1.0)
app = typer.Typer(add_completion=False)


def read(dataset: Dataset) -> NDArray[np.float32]:
    """(T, N, 1): each series is a node."""
    data = read_settings().data
    if data is None:
        raise SystemExit("no shared data: set CUBECAST_DATA")
    lines = (data / "benchmarks" / dataset.file).read_text(encoding="ascii").splitlines()[1 : dataset.rows + 1]
    values = np.array([[float(cell) for cell in line.split(",")[1:]] for line in lines], np.float32)
    return values[:, :, None]


def windows(dataset: Dataset, horizon: int) -> WindowSet:
    """All windows of a set at a horizon."""
    domain = {"context": dataset.look_back, "horizon": horizon}
    world = made_world(
        rows=dataset.rows, step=dataset.step, cuts=dataset.cuts, domain=domain, declared=dataset.declared, start=dataset.start
    )
    return windows_from(world, cube_of(world, read(dataset)))


class Judge:
    """Sums of squared and absolute errors of standardised values, over windows as they come."""

    def __init__(self, dataset: Dataset) -> None:
        self.values_TN = read(dataset)[:, :, 0].astype(np.float64)
        train = self.values_TN[: dataset.cuts[0]]
        self.center_N, self.scale_N = train.mean(0), train.std(0)
        self.square = self.absolute = self.cells = 0.0
        self.by_window: list[float] = []

    def hear(self, said_BLN: NDArray[Any], end_B: NDArray[np.int32]) -> None:
        """Physical values that were said of the steps after each end."""
        target = end_B[:, None] + np.arange(1, said_BLN.shape[1] + 1)
        error = (said_BLN - self.values_TN[target]) / self.scale_N
        self.square += float((error**2).sum())
        self.absolute += float(np.abs(error).sum())
        self.cells += error.size
        self.by_window += np.abs(error).mean((1, 2)).tolist()

    def said(self) -> dict[str, float]:
        """What came of it, and over how many numbers."""
        return {"mse": self.square / self.cells, "mae": self.absolute / self.cells, "cells": self.cells}


def naive(dataset: Dataset, given: WindowSet, fold: Any) -> Judge:
    """The random walk: the newest value at each lead."""
    view, judge = given.domains[DOMAIN], Judge(dataset)
    for end in np.array_split(view.end_W[view.windows_of(fold)], 32):
        judge.hear(np.repeat(judge.values_TN[end][:, None], view.horizon, 1), end)
    return judge


def proven(ours: Judge, walk: Judge, horizon: int) -> bool:
    """Whether the rule of promotion finds the joint model better than the random walk on these windows: p < 0.05 by Diebold-Mariano,
    as many windows dependent as overlap; fewer than three that do not say nothing.
    """
    difference = np.array(ours.by_window) - np.array(walk.by_window)
    if len(difference) < LEAST_PERIODS * horizon:
        return False
    statistic, p = diebold_mariano(difference, horizon)
    return statistic < 0 and p < 0.05


def trained(dataset: Dataset, given: WindowSet, options: Mapping[str, Any], seed: int) -> tuple[JointPredictor, float]:
    """The joint model, and its best error on validation relative to the anchor's."""
    chosen = {**OPTIONS, **dataset.options, **options}
    fitted = fit(given, resolve_config(chosen.pop("recipe"), chosen), seed=seed, progress=QUIET)
    return load(fitted.state, fitted.meta), fitted.meta["best"][DOMAIN]


def judged(model: JointPredictor, dataset: Dataset, given: WindowSet, fold: Any, shares: tuple[float, ...]) -> list[Judge]:
    """Scores on a fold of so much of the way from the newest value to the model."""
    view, judges = given.domains[DOMAIN], [Judge(dataset) for _ in shares]
    for index in np.array_split(view.windows_of(fold), 16):
        said = model.predict(given, DOMAIN, index, split=False).quantiles_BLNVQ[..., 0, MEDIAN]
        newest = judges[0].values_TN[view.end_W[index]][:, None]
        for judge, share in zip(judges, shares, strict=True):
            judge.hear(newest + share * (said - newest), view.end_W[index])
    return judges


def share_of(dataset: Dataset, horizon: int, options: Mapping[str, Any], seed: int) -> float:
    """How far to go from the newest value: least MAE over three earlier trainings, each judged on the fifth of the training rows after it.

    A share that loses to the newest value in any of the three is not taken; so it is 0 where a gain does not last.
    """
    rows, errors = dataset.cuts[0], []
    for part in ORIGINS:
        earlier = replace(dataset, rows=int(rows * (part + 0.2)), cuts=(int(rows * (part - 0.14)), int(rows * part)))
        given = windows(earlier, horizon)
        model, _ = trained(earlier, given, options, seed)
        errors.append([judge.said()["mae"] for judge in judged(model, earlier, given, "test", SHARES)])
    error = np.array(errors)
    lasting = (error <= error[:, :1]).all(0)
    return SHARES[int(np.argmin(np.where(lasting, error.mean(0), np.inf)))]


def learned(dataset: Dataset, given: WindowSet, options: Mapping[str, Any], seed: int, folds: tuple[Any, ...]) -> dict[str, Any]:
    """The joint model's scores on folds."""
    (model, best), view, found = trained(dataset, given, options, seed), given.domains[DOMAIN], dict[str, Any]()
    share = share_of(dataset, view.horizon, options, seed) if dataset.rolling else 1.0
    for fold in folds:
        [judge, whole] = judged(model, dataset, given, fold, (share, 1.0))
        found[fold], found[f"{fold} unshrunk"] = judge.said(), whole.said()
        if fold == "validation":
            found["proven"] = proven(whole, naive(dataset, given, fold), view.horizon)
    return found | {"best": best, "share": share}


def table(kept: Mapping[str, Any]) -> str:
    """Every row that is done."""
    lines = [
        "| set, horizon | joint MSE | joint MAE | random walk | proven on validation | "
        + " | ".join(("DLinear", "PatchTST", "iTransformer"))
        + " | at or below their median | best |"
    ]
    lines.append("|---|---:|---:|---:|---|---:|---:|---:|---|---|")
    for name, dataset in SETS.items():
        for k, horizon in enumerate(dataset.horizons):
            rows = [kept[key] for key in sorted(kept) if key.startswith(f"{name} {horizon} seed ")]
            if not rows:
                continue
            mse, mae = (np.array([r["test"][m] for r in rows]) for m in ("mse", "mae"))
            spread = [f" ± {v.std(ddof=1):.3f}" if len(v) > 1 else "" for v in (mse, mae)]
            others = [figures[k] for figures in dataset.published.values()]
            known = [f"{a:.3f} {b:.3f}" for a, b in others] or ["", "", ""]
            at = all(own.mean() <= np.median([o[m] for o in others]) for m, own in enumerate((mse, mae))) if others else None
            first = all(own.mean() <= min(o[m] for o in others) for m, own in enumerate((mse, mae))) if others else None
            walk = rows[0]["walk"]
            said = [{True: "yes", False: "no", None: ""}[v] for v in (at, first)]
            cells = [
                f"{mse.mean():.3f}{spread[0]}",
                f"{mae.mean():.3f}{spread[1]}",
                f"{walk['mse']:.3f} {walk['mae']:.3f}",
                "yes" if all(r["proven"] for r in rows) else "no",
                *known,
                *said,
            ]
            lines.append(f"| {name} {horizon} | {' | '.join(cells)} |")
    return "\n".join(lines)


@app.command()
def main(
    sets: Annotated[str, typer.Option(help="Names of sets, with commas between.")] = ",".join(SETS),
    horizons: Annotated[str, typer.Option(help="Only these.")] = "",
    seeds: Annotated[int, typer.Option(help="How many seeds.")] = 1,
    kept: Annotated[Path, typer.Option(help="Where rows that are done are kept.")] = Path("long_horizon.json"),
    options: Annotated[str, typer.Option(help="Compare these options, JSON objects with semicolons between, on validation, and end.")] = "",
) -> None:
    print(setting("torch", "numpy"), flush=True)
    done: dict[str, Any] = json.loads(kept.read_text(encoding="utf-8")) if kept.is_file() else {}
    for name in sets.split(","):
        dataset = SETS[name]
        for horizon in (h for h in dataset.horizons if not horizons or str(h) in horizons.split(",")):
            given = windows(dataset, horizon)
            for one in filter(None, options.split(";")):
                print(name, horizon, one, learned(dataset, given, json.loads(one), 0, ("validation",)), flush=True)
            for seed in range(0 if options else seeds):
                key = f"{name} {horizon} seed {seed}"
                if key not in done:
                    done[key] = learned(dataset, given, {}, seed, ("validation", "test")) | {"walk": naive(dataset, given, "test").said()}
                    kept.write_text(json.dumps(done, indent=1), encoding="utf-8")
                    print(key, done[key], flush=True)
    print(table(done))


if __name__ == "__main__":
    app()

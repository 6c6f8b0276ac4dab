"""How well does the joint model forecast ETTh1, ETTh2, exchange rates and illness far ahead, beside what the strongest published say?

The usual protocol: look-back 96 (illness 36), horizons 96 to 720 (24 to 60); ETT splits 8640 / 2880 / 2880 rows, the others 7:1:2; each
series standardised by its training rows; MSE and MAE over every window of the test part, validation and test windows reaching back into the
part before, none dropped. The model sees its look-back and the clock, and no older value. Options are not searched; `--options` compares some on validation.
ETT is read as changes from the newest value, as the published models do by normalising each window. What would be published is decided on the
validation part by the rules of promotion (`published`). A row that is done is kept in `--kept`, so that the same command goes on.
`python -m benchmarks.long_horizon`: three seeds of all 16 rows, about 20 minutes on a quiet core
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

from benchmarks.arrays import DOMAIN, cube_of, made_world, windows_from
from benchmarks.long_horizon_published import PUBLISHED, Row, tables
from benchmarks.measure import setting
from models.api import Predictor, fit, fit_baselines, load, load_baselines, resolve_config
from pipeline.contracts.forecasts import JOINT, MEDIAN
from pipeline.contracts.judging import PromotionRules
from pipeline.contracts.windows import WindowSet
from pipeline.settings import read_settings
from pipeline.telemetry import QUIET
from pipeline.verification.significance import LEAST_STRETCHES, diebold_mariano, periods_ahead


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """A set and its protocol; of `prices` the random walk stands until something is better beyond doubt."""

    file: str
    step: timedelta
    start: datetime
    rows: int
    cuts: tuple[int, int]
    look_back: int
    horizons: tuple[int, ...]
    declared: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    prices: bool = False


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
    "ETTh1": Dataset(file="ETTh1.csv", **ETT),
    "ETTh2": Dataset(file="ETTh2.csv", **ETT),
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
        prices=True,
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

OPTIONS: dict[str, Any] = {
    "recipe": "small",
    "epochs": 10,
    "patience": 3,
    "learning_rate": 1e-3,
    "dropout": 0.2,
    "least_gain": 0.0,
    "quantile_share": 0.03,
}
WALK, FOLDS = "random walk", ("validation", "test")
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


def doubt(ours: Judge, walk: Judge, horizon: int) -> float | None:
    """How likely the joint model is no better than the random walk, by the test of promotion; None with too few windows that do not overlap."""
    difference = np.array(ours.by_window) - np.array(walk.by_window)
    if len(difference) < LEAST_STRETCHES * horizon:
        return None
    statistic, p = diebold_mariano(difference, periods_ahead(len(difference), horizon))
    return p if statistic < 0 else 1.0


def published(dataset: Dataset, validation: Mapping[str, float], p: float | None) -> str:
    """What the rules of promotion leave published, by errors on the validation part.

    Where something stands, the joint model takes its place only beyond doubt: of prices the random walk stands. Where
    nothing stands, that of the least error is published.
    """
    if dataset.prices:
        return JOINT if p is not None and p < PromotionRules().alpha else WALK
    return min(validation, key=lambda name: validation[name])


def trained(dataset: Dataset, given: WindowSet, options: Mapping[str, Any], seed: int) -> tuple[Predictor, float]:
    """The joint model, and its best error on validation relative to the anchor's."""
    chosen = {**OPTIONS, **dataset.options, **options}
    fitted = fit(given, resolve_config(chosen.pop("recipe"), chosen), seed=seed, progress=QUIET)
    return load(fitted.state, fitted.meta), fitted.meta["best"][DOMAIN]


def judged(model: Predictor, dataset: Dataset, given: WindowSet, fold: Any) -> Judge:
    """A model's medians on a fold."""
    view, judge = given.domains[DOMAIN], Judge(dataset)
    for index in np.array_split(view.windows_of(fold), 16):
        judge.hear(model.predict(given, DOMAIN, index, split=False).quantiles_BLNVQ[..., 0, MEDIAN], view.end_W[index])
    return judge


def rivals(dataset: Dataset, given: WindowSet) -> dict[str, Any]:
    """Scores of the random walk and of the baselines, on both folds."""
    fitted = fit_baselines(given)
    found: dict[str, Any] = {WALK: {fold: naive(dataset, given, fold).said() for fold in FOLDS}}
    for name, model in load_baselines(fitted.state, fitted.meta).items():
        if name != "persistence" and DOMAIN in model.scalers:
            found[name] = {fold: judged(model, dataset, given, fold).said() for fold in FOLDS}
    return found


def learned(dataset: Dataset, given: WindowSet, options: Mapping[str, Any], seed: int, folds: Sequence[str]) -> dict[str, Any]:
    """The joint model's scores on folds, and how sure they are on validation."""
    model, best = trained(dataset, given, options, seed)
    judges = {fold: judged(model, dataset, given, fold) for fold in folds}
    p = doubt(judges["validation"], naive(dataset, given, "validation"), given.domains[DOMAIN].horizon)
    return {fold: judge.said() for fold, judge in judges.items()} | {"best": best, "p": p}


def rows_of(kept: Mapping[str, Any]) -> list[Row]:
    """Every row that is done."""
    found = []
    for name, dataset in SETS.items():
        for place, horizon in enumerate(dataset.horizons):
            seeds = [kept[key] for key in sorted(kept) if key.startswith(f"{name} {horizon} seed ")]
            if not seeds:
                continue
            others = kept[f"{name} {horizon}"]
            stands = []
            for seed in seeds:
                errors = {model: scores["validation"]["mae"] for model, scores in others.items()}
                stands.append(published(dataset, {JOINT: seed["validation"]["mae"]} | errors, seed["p"]))
            said = [seed["test"] if name == JOINT else others[name]["test"] for seed, name in zip(seeds, stands, strict=True)]
            found.append(
                Row(
                    dataset=name,
                    horizon=horizon,
                    prices=dataset.prices,
                    alone=np.array([(seed["test"]["mse"], seed["test"]["mae"]) for seed in seeds]),
                    out=np.array([(each["mse"], each["mae"]) for each in said]),
                    walk=(others[WALK]["test"]["mse"], others[WALK]["test"]["mae"]),
                    stands=tuple(stands),
                    p=tuple(seed["p"] for seed in seeds),
                    others={model: rows[place] for model, rows in PUBLISHED[name].items()},
                )
            )
    return found


@app.command()
def main(
    sets: Annotated[str, typer.Option(help="Names of sets, with commas between.")] = ",".join(SETS),
    horizons: Annotated[str, typer.Option(help="Only these.")] = "",
    seeds: Annotated[int, typer.Option(help="How many seeds.")] = 3,
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
            wanted = (
                {}
                if options
                else {f"{name} {horizon} seed {seed}": partial(learned, dataset, given, {}, seed, FOLDS) for seed in range(seeds)}
            )
            for key, make in ({f"{name} {horizon}": partial(rivals, dataset, given)} | wanted if wanted else {}).items():
                if key not in done:
                    done[key] = make()
                    kept.write_text(json.dumps(done, indent=1), encoding="utf-8")
                    print(key, done[key], flush=True)
    print(tables(rows_of(done)))


if __name__ == "__main__":
    app()

"""How well does the joint model forecast a week of Los Angeles's loop detectors, beside T-GCN's published table and STID?

The protocol of T-GCN (Zhao et al., 2019): 207 detectors, the first 80 % of 2,016 steps train, 12 steps in; at 15, 30, 45, 60 minutes the
RMSE and MAE [mph] over all leads up to that one, on windows that lie wholly in the last 20 %. The last eighth of the training part chooses
epochs, and options with `--search`; nothing is chosen on the test part. `python -m benchmarks.los_loop`: 15 minutes on one core; `--search` compares options.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

from benchmarks.arrays import DOMAIN, cube_of, made_world, windows_from
from benchmarks.measure import setting
from benchmarks.stid import predict_stid, train_stid
from models.api import fit, fit_baselines, load, load_baselines, resolve_config
from models.gather import Gatherer, usual_values
from pipeline.contracts.forecasts import MEDIAN
from pipeline.contracts.windows import WindowSet
from pipeline.settings import read_settings
from pipeline.telemetry import QUIET

ROWS, TRAIN, VALIDATION = 2016, 1612, 1411
CONTEXT = HORIZON = 12
LEADS = (3, 6, 9, 12)
PUBLISHED: dict[str, dict[str, tuple[float | None, ...]]] = {
    "SVR (published)": {"rmse": (6.0084, 6.9588, 7.7504, 8.4388), "mae": (3.7285, 3.7248, 4.1288, 4.5036)},
    "GCN (published)": {"rmse": (7.7922, 8.3353, 8.8036, 9.2657), "mae": (5.3525, 5.6118, 5.9534, 6.2892)},
    "GRU (published)": {"rmse": (5.2182, 6.2802, 7.0343, 7.6621), "mae": (3.0602, 3.6505, 4.0915, 4.5186)},
    "T-GCN (published)": {"rmse": (5.126, None, None, None), "mae": (None,) * 4},
    "A3T-GCN (published)": {"rmse": (5.0904, 5.9974, 6.6840, 7.0990), "mae": (3.1365, 3.6610, 4.1712, 4.2343)},
}
"""The table of T-GCN and of its successor A3T-GCN (Bai et al., 2021), which repeats its rivals, as far as it could be read in a source."""

OPTIONS: dict[str, Any] = {"recipe": "small", "epochs": 12, "patience": 12}
SEARCH: dict[str, dict[str, Any]] = {
    "small": {},
    "rate 2e-3": {"learning_rate": 2e-3},
    "rate 2e-3, 24 epochs": {"learning_rate": 2e-3, "epochs": 24, "patience": 24},
    "dropout 0.15": {"dropout": 0.15},
    "dropout 0.3, rate 2e-3": {"dropout": 0.3, "learning_rate": 2e-3},
    "width 32": {"hidden": 32},
    "rows 1800": {"rows": 1800},
    "no hubs": {"hubs": 0},
    "linear": {"temporal": "linear"},
    "3 members": {"members": 3},
}
app = typer.Typer(add_completion=False)


def read() -> tuple[NDArray[np.float32], tuple[tuple[str, str, float], ...], tuple[str, ...]]:
    """Speeds (T, N, 1), links, and the names of the detectors."""
    data = read_settings().data
    if data is None:
        raise SystemExit("no shared data: set CUBECAST_DATA")
    folder = data / "benchmarks" / "los_loop"
    ids = tuple((folder / "los_speed.csv").read_text(encoding="ascii").splitlines()[0].split(","))
    values = np.loadtxt(folder / "los_speed.csv", np.float32, delimiter=",", skiprows=1)[:, :, None]
    near = np.loadtxt(folder / "los_adj.csv", np.float32, delimiter=",")
    links = tuple((ids[s], ids[t], float(near[t, s])) for t, s in zip(*np.nonzero(near), strict=True) if s != t)
    return values, links, ids


def windows(*, seasons: bool) -> WindowSet:
    """The week, and an hour of nothing after it, so that each horizon has all of its windows."""
    values, links, ids = read()
    padded = np.concatenate([values, np.full((HORIZON, *values.shape[1:]), np.nan, np.float32)])
    world = made_world(
        rows=len(padded),
        step=timedelta(minutes=5),
        cuts=(VALIDATION, TRAIN),
        domain={"context": CONTEXT, "horizon": HORIZON, "graph": "matrix", "seasons": ["1d"] if seasons else []},
        declared={"lower": 0.0, "scale": "node"},
        zone="America/Los_Angeles",
        start=datetime(2012, 3, 1, 8, tzinfo=UTC),
    )
    return windows_from(world, cube_of(world, padded, links, ids))


def tested(given: WindowSet) -> NDArray[np.int64]:
    """Windows whose context and first targets lie in the test part."""
    view = given.domains[DOMAIN]
    return np.flatnonzero((view.end_W >= TRAIN + CONTEXT - 1) & (view.end_W < ROWS - LEADS[0]))


def validated(given: WindowSet) -> NDArray[np.int64]:
    return given.domains[DOMAIN].windows_of("validation")


def scores(said_BLN: NDArray[np.float32], given: WindowSet, index: NDArray[np.int64]) -> dict[str, list[float]]:
    """RMSE and MAE over all leads up to each of `LEADS`, as the protocol counts them, and at that lead alone."""
    view = given.domains[DOMAIN]
    target = view.end_W[index][:, None] + np.arange(1, HORIZON + 1)
    truth, good = view.unscale(view.values_TNV)[target][..., 0], view.good_TNV[target][..., 0]
    found: dict[str, list[float]] = {"rmse": [], "mae": [], "rmse_at": [], "mae_at": []}
    for lead in LEADS:
        whole = good[:, lead - 1].all(1)
        error = (said_BLN - truth)[whole][:, :lead].astype(np.float64)
        for suffix, part in (("", error), ("_at", error[:, -1:])):
            found[f"rmse{suffix}"].append(float(np.sqrt(np.mean(part**2))))
            found[f"mae{suffix}"].append(float(np.mean(np.abs(part))))
    return found


def joint(given: WindowSet, options: Mapping[str, Any], seed: int, index: NDArray[np.int64]) -> tuple[NDArray[np.float32], dict[str, Any]]:
    """Medians of the joint model for these windows, and what its training says of itself."""
    chosen = {**OPTIONS, **options}
    config = resolve_config(chosen.pop("recipe"), chosen)
    fitted = fit(given, config, seed=seed, progress=QUIET)
    said = load(fitted.state, fitted.meta).predict(given, DOMAIN, index, split=False).quantiles_BLNVQ[..., 0, MEDIAN]
    return said, fitted.meta["best"][DOMAIN]


def baselines(given: WindowSet, index: NDArray[np.int64]) -> Iterator[tuple[str, NDArray[np.float32]]]:
    fitted = fit_baselines(given, ())
    for name, model in load_baselines(fitted.state, fitted.meta).items():
        if DOMAIN not in model.scalers:  # no season, no value of a season before
            continue
        yield name, model.predict(given, DOMAIN, index, split=False).quantiles_BLNVQ[..., 0, MEDIAN]
    view = given.domains[DOMAIN]
    past = view.unscale(view.values_TNV)[view.end_W[index][:, None] + np.arange(1 - CONTEXT, 1)][..., 0]
    yield "mean of the 12 steps", np.repeat(past.mean(1, keepdims=True), HORIZON, 1)


def search(seasons: bool, seed: int) -> None:
    """Options beside each other, on the validation part."""
    given = windows(seasons=seasons)
    index = validated(given)
    for name, options in SEARCH.items():
        said, best = joint(given, options, seed, index)
        s = scores(said, given, index)
        print(f"| {name} | {' '.join(f'{v:.3f}' for v in s['rmse'])} | {' '.join(f'{v:.3f}' for v in s['mae'])} | {best} |", flush=True)


def row(name: str, many: list[dict[str, list[float]]], key: str = "") -> str:
    """A line of the table: mean over the seeds, and their standard deviation where there are several."""
    cells = []
    for metric in ("rmse", "mae"):
        each = np.array([s[metric + key] for s in many])
        spread = [f" ± {v:.3f}" for v in each.std(0, ddof=1)] if len(many) > 1 else [""] * len(LEADS)
        cells += [f"{m:.3f}{s}" for m, s in zip(each.mean(0), spread, strict=True)]
    return f"| {name} | {' | '.join(cells)} |"


@app.command()
def main(
    seeds: Annotated[int, typer.Option(help="How many seeds.")] = 3,
    epochs: Annotated[int, typer.Option(help="Of STID.")] = 100,
    choose: Annotated[bool, typer.Option("--search", help="Compare options on the validation part, and end.")] = False,
    seasons: Annotated[bool, typer.Option(help="With --search: with yesterday's values.")] = False,
    options: Annotated[str, typer.Option(help="Options of the joint model, as TOML.")] = "",
    out: Annotated[Path | None, typer.Option(help="A file for the figures as JSON.")] = None,
) -> None:
    print(setting("torch", "numpy"), flush=True)
    if choose:
        search(seasons, 0)
        return
    found: dict[str, list[dict[str, list[float]]]] = {}
    for daily in (False, True):
        given = windows(seasons=daily)
        index, view = tested(given), given.domains[DOMAIN]
        if not daily:
            found |= {name: [scores(said, given, index)] for name, said in baselines(given, index)}
            gatherer = Gatherer(view, usual_values(view))
            for seed in range(seeds):
                trained = train_stid(gatherer, view.windows_of("train"), validated(given), seed=seed, epochs=epochs)
                found.setdefault("STID (ours, from its paper)", []).append(
                    scores(predict_stid(trained.model, gatherer, index), given, index)
                )
        else:
            found["ridge, with yesterday"] = [scores(dict(baselines(given, index))["ridge"], given, index)]
        name = "**joint**, with yesterday" if daily else "**joint**"
        for seed in range(seeds):
            said, _ = joint(given, tomllib.loads(options), seed, index)
            found.setdefault(name, []).append(scores(said, given, index))
        print(f"{name} done", flush=True)
    for key, title in (("", "over all leads up to"), ("_at", "at that lead alone")):
        print(f"\n| {title} | " + " | ".join(f"{m} {5 * k} min" for m in ("RMSE", "MAE") for k in LEADS) + " |\n|---|" + "---:|" * 8)
        print("\n".join(row(name, many, key) for name, many in found.items()), flush=True)
        if not key:
            for name, cells in PUBLISHED.items():
                print(f"| {name} | " + " | ".join("" if v is None else f"{v:.3f}" for v in (*cells["rmse"], *cells["mae"])) + " |")
    if out is not None:
        out.write_text(json.dumps(found, indent=1), encoding="utf-8")


if __name__ == "__main__":
    app()

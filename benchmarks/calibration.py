"""Do calibrated intervals cover what they say, in every regime, and at what width? Do warnings come true as often as they say?

Trains one model of a world (or takes the newest one of a store), walks over its test fold with calibration as of each block, and
sets the intervals of the joint model beside its own uncalibrated ones: coverage, and width at equal coverage, where the
uncalibrated ones are scaled about their median by the one factor that, known afterwards, gives them the same coverage. Widths
of prices count in shares of the median, for a coin of 1,000 and a share of 10 have no common width in dollars; the score is
the mean interval score (width and misses in one number) over that of the model's own intervals.
`python -m benchmarks.calibration --world aarhus`
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

from pipeline.contracts.cubes import DomainCube
from pipeline.contracts.forecasts import JOINT, MEDIAN, QUANTILES
from pipeline.contracts.judging import AVAILABILITY, AVAILABILITY_LABELS, REGIME_LABELS
from pipeline.contracts.times import to_seconds
from pipeline.contracts.windows import WindowSet
from pipeline.contracts.world_files import load_world
from pipeline.contracts.worlds import World
from pipeline.settings import read_settings
from pipeline.steps import reading
from pipeline.steps.calibrating import ground_of, quantiles_of, walk_of
from pipeline.steps.judging import grounds_in
from pipeline.stores.objects import ObjectStore
from pipeline.stores.registry import Registry
from pipeline.verification.evaluation import batches_of, truth_of
from pipeline.verification.events import event_probability, happened
from pipeline.verification.grounds import hour_label

LEAST = 500
CELLS = 1_500_000
INTERVALS = {80: (QUANTILES.index(0.1), QUANTILES.index(0.9)), 90: (QUANTILES.index(0.05), QUANTILES.index(0.95))}
Array = NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class Cells:
    """Cells of one target: outcome, both forecasts, and what they are told apart by."""

    y: Array
    raw: Array
    told: Array
    scale: Array
    parts: dict[str, Array]


def sampled(
    world: World, windows: WindowSet, domain: str, models: reading.Models, cube: DomainCube
) -> Iterator[tuple[int, Array, Array, Array, dict[str, Array], dict[str, tuple[Array, Array, Array]]]]:
    """Per batch of test windows and variable: good cells, and of each event what was told before and after, and what came."""
    view = windows.domains[domain]
    raw_of, made = quantiles_of(models.predictors[JOINT]), list[Array]()

    def once(index_W: Array) -> Array:
        made[:] = [raw_of(windows, domain, index_W)]
        return made[0]

    walk = walk_of(ground_of(world, windows, domain, cube, view.windows_of("test")), once)
    grounds_of = grounds_in(world, windows, {domain: cube.nodes}, domain)
    index_W = view.windows_of("test")
    every = max(1, len(index_W) * view.horizon * len(view.node_ids) // CELLS)
    for batch in batches_of(view, index_W):
        truth, grounds = truth_of(view, cube.values_TNV, batch), grounds_of(batch, None)
        told, chances = walk.forecast(batch)
        raw = made[0]
        labels = {"hour": grounds.hour_WL, "region": grounds.region_N}
        for v in range(len(view.targets)):
            kept = truth.good_WLNV[..., v].copy()
            kept.reshape(-1)[np.arange(kept.size) % every != 0] = False
            shape = kept.shape
            parts = {"lead": np.broadcast_to(np.arange(shape[1])[None, :, None], shape)[kept]}
            parts |= {k: np.broadcast_to(codes.astype(np.int64)[:, None], shape)[kept] for k, (_, codes) in grounds.regimes.items()}
            if labels["hour"] is not None:
                parts["hour"] = np.broadcast_to(labels["hour"][:, :, None], shape)[kept]
            if labels["region"] is not None:
                parts["region"] = np.broadcast_to(labels["region"], shape)[kept]
            events = {}
            for name, event in world.domains[domain].events.items():
                if event.variable == view.variables[view.targets[v]]:
                    before, came = event_probability(event, raw[..., v, :][kept]), happened(event, truth.values_WLNV[..., v][kept])
                    events[name] = (before, chances[name][kept].astype(np.float64), came)
            yield v, truth.values_WLNV[..., v][kept], raw[..., v, :][kept], told[..., v, :][kept], parts, events


def covered(y: Array, q: Array, level: int) -> Array:
    """Whether outcomes lie in the central interval of a level."""
    low, high = INTERVALS[level]
    return (y >= q[:, low]) & (y <= q[:, high])


def scaled_width(cells: Cells, level: int, bounds: tuple[float, float]) -> float:
    """Mean width of the uncalibrated intervals, scaled about the median to the coverage of the calibrated ones."""
    low, high = INTERVALS[level]
    wanted, middle = covered(cells.y, cells.told, level).mean(), cells.raw[:, MEDIAN]
    below, above, ends = middle - cells.raw[:, low], cells.raw[:, high] - middle, [0.02, 50.0]
    for _ in range(40):
        factor = float(np.sqrt(ends[0] * ends[1]))
        a, b = np.clip(middle - factor * below, *bounds), np.clip(middle + factor * above, *bounds)
        ends[int(((cells.y >= a) & (cells.y <= b)).mean() >= wanted)] = factor
    return float(((b - a) / cells.scale).mean())


def interval_score(cells: Cells, q: Array, level: int) -> float:
    """Mean width, and what outcomes lie outside by times two over the share that is allowed to."""
    low, high = (q[:, i] for i in INTERVALS[level])
    misses = np.maximum(low - cells.y, 0) + np.maximum(cells.y - high, 0)
    return float(((high - low + 2 / (1 - level / 100) * misses) / cells.scale).mean())


def worst(cells: Cells, kind: str, labels: tuple[str, ...] | None, level: int) -> str:
    """The label of a kind, of at least 500 cells, whose calibrated coverage is furthest from nominal, before and after."""
    if kind not in cells.parts:
        return "–"
    before, after = covered(cells.y, cells.raw, level), covered(cells.y, cells.told, level)
    found = []
    for code in np.unique(cells.parts[kind]):
        where = cells.parts[kind] == code
        if where.sum() >= LEAST:
            label = labels[code] if labels else hour_label(int(code)) if kind == "hour" else str(int(code) + (kind == "lead"))
            found.append(
                (abs(after[where].mean() - level / 100), f"{label}: {100 * before[where].mean():.1f} → {100 * after[where].mean():.1f}")
            )
    return max(found)[1] if found else "–"


def mean_ratio(found: list[tuple[float, int]]) -> float:
    """The geometric mean of ratios given as logarithms, weighted by cells."""
    logs, cells = np.array(found).T
    return float(np.exp(np.average(logs, weights=cells)))


def tables(world: World, store: str, model: str | None = None) -> str:
    """The tables of a model of a world in a store, by default the newest."""
    settings = read_settings({**os.environ, "CUBECAST_STORE": store})
    registry = Registry(ObjectStore(settings.store), world.name)
    candidate = registry.candidate(model) if model else registry.candidates()[-1]
    inputs = reading.open_inputs(world, settings, candidate.as_of)
    windows = reading.windows_of(world, candidate, inputs, as_of=to_seconds(candidate.as_of), live=False)
    models = reading.load_models(candidate)
    rows, regimes, warnings = [], [], []
    pooled: dict[int, list[Array]] = {80: [], 90: []}
    widths: dict[int, list[tuple[float, int]]] = {80: [], 90: []}
    for domain, view in windows.domains.items():
        if JOINT not in models.of(domain):
            continue
        batches = list(sampled(world, windows, domain, models, inputs.cubes[domain]))
        for v, variable in enumerate(view.variables[t] for t in view.targets):
            mine = [b[1:] for b in batches if b[0] == v]
            parts = {k: np.concatenate([b[3][k] for b in mine]) for k in mine[0][3]}
            raw = np.concatenate([b[1] for b in mine])
            relative = world.domains[domain].variables[variable].scale == "relative"
            cells = Cells(
                y=np.concatenate([b[0] for b in mine]),
                raw=raw,
                scale=np.abs(raw[:, MEDIAN]) if relative else np.ones(len(raw)),
                told=np.concatenate([b[2] for b in mine]),
                parts=parts,
            )
            target = view.targets[v]
            bounds = (float(view.lower_V[target]), float(view.upper_V[target]))
            for level, (low, high) in INTERVALS.items():
                before, after = covered(cells.y, cells.raw, level), covered(cells.y, cells.told, level)
                pooled[level].append(after)
                ratio = float(((cells.told[:, high] - cells.told[:, low]) / cells.scale).mean()) / scaled_width(cells, level, bounds)
                score = interval_score(cells, cells.told, level) / interval_score(cells, cells.raw, level)
                widths[level].append((float(np.log(ratio)), len(cells.y)))
                lead = worst(cells, "lead", None, level)
                rows.append(
                    f"| {domain} {variable} | {level} % | {len(cells.y):,} | {len(view.node_ids)} | {100 * before.mean():.1f} | {100 * after.mean():.1f} | {ratio:.3f} | {score:.3f} | {lead} |"
                )
                declared = [worst(cells, name, REGIME_LABELS, level) for name in world.domains[domain].regimes]
                regimes.append(
                    f"| {domain} {variable} | {level} % | {worst(cells, AVAILABILITY, AVAILABILITY_LABELS, level)} | {'; '.join(declared) or '–'} | {worst(cells, 'region', None, level)} | {worst(cells, 'hour', None, level)} |"
                )
            for name in {n for b in mine for n in b[4]}:
                told = [np.concatenate([b[4][name][k] for b in mine]) for k in range(3)]
                warnings.append(warned(domain, name, *told))
    whole = ", ".join(
        f"{level} %: {100 * np.concatenate(pooled[level]).mean():.1f} at {mean_ratio(widths[level]):.3f} of the width" for level in pooled
    )
    head = f"## `{world.name}`\n\nTest fold of the model trained as of {candidate.as_of:%Y-%m-%dT%H:%MZ}, {candidate.card['epochs']} epochs of recipe `{candidate.card['recipe']}`. All targets together: {whole}.\n"
    return "\n".join(
        [
            head,
            "| target | interval | cells | nodes | before | after | width at equal coverage | interval score | lead furthest off |",
            "|---|---|---:|---:|---:|---:|---:|---:|---|",
            *rows,
            "",
            "| target | interval | availability | declared regimes | node group | local hours |",
            "|---|---|---|---|---|---|",
            *regimes,
            "",
            "| event | cells | happened | Brier before | Brier after | reliability before | reliability after |",
            "|---|---:|---:|---:|---:|---:|---:|",
            *warnings,
            "",
        ]
    )


def warned(domain: str, name: str, before: Array, after: Array, came: Array) -> str:
    """Brier scores, and the mean gap between told and come true over tenths of the probabilities."""

    def gap(p: Array) -> float:
        bins = np.minimum((p * 10).astype(int), 9)
        return float(sum(abs(p[bins == b].mean() - came[bins == b].mean()) * (bins == b).mean() for b in np.unique(bins)))

    brier = [float(np.square(p - came).mean()) for p in (before, after)]
    return f"| {domain} {name} | {len(came):,} | {100 * came.mean():.2f} % | {brier[0]:.5f} | {brier[1]:.5f} | {gap(before):.4f} | {gap(after):.4f} |"


def prepared(world: str, store: str, epochs: int) -> None:
    """Run the steps up to a trained model."""
    for step in ("land", "observe", "build-cube", "train"):
        command = [sys.executable, "-m", "pipeline", step, "--world", world, *(["--set", f"epochs={epochs}"] if step == "train" else [])]
        subprocess.run(command, check=True, env=os.environ | {"CUBECAST_STORE": store})


def main(
    world: Annotated[list[str], typer.Option(help="Worlds.")] = ["aarhus", "us"],  # noqa: B006
    store: Annotated[str | None, typer.Option(help="A store with a trained model of each; default: one is made.")] = None,
    model: Annotated[str | None, typer.Option(help="A model of that store; default: the newest.")] = None,
    epochs: Annotated[int, typer.Option(help="Epochs of training.")] = 8,
    out: Annotated[Path | None, typer.Option(help="File for the tables.")] = None,
) -> None:
    """Print coverage, width and reliability with and without calibration."""
    with tempfile.TemporaryDirectory() as made:
        for name in world if store is None else ():
            prepared(name, made, epochs)
        found = [tables(load_world(name), store or made, model) for name in world]
    packages = ", ".join(f"{name} {version(name)}" for name in ("torch", "numpy", "scipy"))
    text = f"# Calibration\n\nMeasured {datetime.now(UTC):%Y-%m-%d}, 2 cores, 24 GiB, Debian 12, Python 3.11, {packages}.\n\n" + "\n".join(
        found
    )
    print(text)
    if out:
        out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)

"""What does seeing the other domains give, and is it what was planted?

The joint model of a recorded world beside its own w_k = 0 control (`modalities = false`), five seeds each, on the same windows of the test
fold: per target, overall and on event windows, the difference of the mean absolute errors with a paired block-bootstrap interval. On
`synthetic` couplings are planted (rain slows roads after half an hour; prices follow temperature after three hours, down, and roads after two, up;
nothing moves the weather): the response of the joint model to a small change of another domain says whether sign and lag were found.

`python -m benchmarks.joint_gain --world synthetic --keep DIR`: ten trainings of 45 processor seconds; one that is done is a file in `--keep`, and the
same command goes on. `--world aarhus`, `--world us`: hours.

Shape suffixes: W window, L lead, N node.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

from benchmarks.measure import setting
from benchmarks.outages import trained, windows
from models.api import JointPredictor
from pipeline.contracts.forecasts import MEDIAN
from pipeline.contracts.judging import AVAILABILITY
from pipeline.contracts.windows import DomainWindows, WindowSet
from pipeline.contracts.world_files import load_world
from pipeline.contracts.worlds import World
from pipeline.verification.significance import bootstrap_interval
from pipeline.windows.regimes import regimes_at

Sums = dict[str, NDArray[np.float64]]
KINDS: Mapping[str, dict[str, Any]] = {"joint": {}, "control": {"modalities": False}}
DAY = 86400
LARGEST = 0.05
"""Share of the cells that counts as the largest moves from the newest value."""

REACH = 8 * 3600
"""Seconds after a change within which answers are looked at."""

RESPONSES = (
    ("traffic", "speed", "weather", "rain", "down, after 0.5 h"),
    ("traffic", "count", "weather", "rain", "down, after 0.5 h"),
    ("market", "price", "weather", "temperature", "down, after 3 h"),
    ("market", "price", "traffic", "count", "up, after 2 h"),
    ("weather", "temperature", "traffic", "speed", "none"),
    ("weather", "rain", "market", "price", "none"),
)
"""Of `synthetic`: a target, whose change it answers to, and what was planted."""

app = typer.Typer(add_completion=False)


def masks(world: World, given: WindowSet, domain: str, v: int) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """(W, L, N) of the test fold: the good cells of a target, then those of each event, regime and outage, and the largest moves."""
    view, index = given.domains[domain], given.domains[domain].windows_of("test")
    physical, end = view.unscale(view.values_TNV), view.end_W[index]
    place = end[:, None] + np.arange(1, view.horizon + 1)
    good = view.good_TNV[place][..., v]
    yield "all", good
    for name, event in world.domains[domain].events.items():
        truth = physical[place][..., view.variables.index(event.variable)]
        yield name, good & (truth > event.above if event.above is not None else truth < np.float32(event.below or 0))
    for name, codes in regimes_at(world, given, domain, index).items():
        yield ("own readings missing", good & (codes != 0)[:, None]) if name == AVAILABILITY else (name, good & (codes == 1)[:, None])
    known = good & view.good_TNV[end][:, None, :, v]
    move = np.where(known, np.abs(physical[place][..., v] - physical[end][:, None, :, v]), 0)
    least = np.quantile(move[known], 1 - LARGEST) if known.any() else np.inf
    yield "largest moves", known & (move >= least)


def measured(model: JointPredictor, world: World, given: WindowSet) -> Sums:
    """Per target and kind of cells: sum of absolute errors and number of cells, window by window."""
    found: Sums = {}
    for domain in model.leading:
        view, index = given.domains[domain], given.domains[domain].windows_of("test")
        physical, place = view.unscale(view.values_TNV), view.end_W[index][:, None] + np.arange(1, view.horizon + 1)
        parts = [
            model.predict(given, domain, part, split=False).quantiles_BLNVQ[..., MEDIAN] for part in np.array_split(index, 8) if len(part)
        ]
        said = np.concatenate(parts)
        for k, v in enumerate(view.targets):
            away = np.abs(said[..., k] - physical[place][..., v])
            for name, mask in masks(world, given, domain, v):
                key = f"{domain} {view.variables[v]}|{name}"
                found[f"{key}|error"] = np.where(mask, away, 0).sum((1, 2), dtype=np.float64)
                found[f"{key}|cells"] = mask.sum((1, 2)).astype(np.float64)
    return found


def responses(model: JointPredictor, given: WindowSet) -> Sums:
    """Per planted pair (2, E): seconds since one step of the other domain was a spread higher, and what the target's median answers then.

    What others foresee of that variable is a spread higher at that step too, so that the world stays one.
    """
    found: Sums = {}
    for domain, target, other, variable, _ in RESPONSES:
        view, moved = given.domains[domain], given.domains[other]
        index, v, apart = view.windows_of("test"), moved.variables.index(variable), 2 * moved.context
        values, relative = moved.values_TNV.copy(), moved.scaler.relative_NV[:, v]
        raised = np.arange(0, len(values), apart)
        values[raised, :, v] += np.where(relative > 0, relative * np.abs(values[raised, :, v]), 1.0)
        at = moved.valid_time_T[raised]
        foreseen = _foreseen(view, variable, at, moved.step_seconds)
        changed = replace(given, domains={**given.domains, other: replace(moved, values_TNV=values), domain: foreseen})
        before, after = (model.predict(w, domain, index, split=False).quantiles_BLNVQ[..., MEDIAN] for w in (given, changed))
        valid_WL = view.valid_time_T[view.end_W[index][:, None] + np.arange(1, view.horizon + 1)]
        known_WL = valid_WL if foreseen is not view else np.broadcast_to(view.issue_time_W[index][:, None], valid_WL.shape)
        since_WL = valid_WL - at[np.searchsorted(at, known_WL, side="right") - 1]
        answer_WL = (after - before)[..., [view.variables[k] for k in view.targets].index(target)].mean(2)
        shown = [s for s in np.unique(since_WL) if s <= REACH]
        found[f"{domain} {target} to {other} {variable}"] = np.array([[s, answer_WL[since_WL == s].mean()] for s in shown], np.float64).T
    return found


def _foreseen(view: DomainWindows, variable: str, at: NDArray[np.int64], step: int) -> DomainWindows:
    """The domain with a variable of its runs a spread higher at these times, between their steps as these are interpolated."""
    future = view.future
    if future is None or variable not in future.variables:
        return view
    values, last = future.values_IHNF.copy(), len(view.valid_time_T) - 1
    valid_IH = view.valid_time_T[np.clip(future.first_step_I[:, None] + np.arange(values.shape[1]), 0, last)]
    near_IH = np.abs(valid_IH[..., None] - at).min(-1)
    values[..., future.variables.index(variable)] += np.maximum(0, 1 - near_IH / step)[..., None].astype(np.float32)
    return replace(view, future=replace(future, values_IHNF=values))


def kept(folder: Path, name: str) -> Sums | None:
    """What a unit left, if it is done."""
    path = folder / f"{name}.npz"
    if not path.is_file():
        return None
    with np.load(path) as held:
        return {key: held[key] for key in held.files}


def keep(folder: Path, name: str, found: Sums) -> None:
    """Leave what a unit found, whole or not at all."""
    arrays: dict[str, Any] = dict(found)
    folder.mkdir(parents=True, exist_ok=True)
    staged = folder / f".{name}.{os.getpid()}.npz"
    np.savez(staged, **arrays)
    os.replace(staged, folder / f"{name}.npz")


def compared(done: Mapping[tuple[int, str], Sums], steps: Mapping[str, int]) -> list[dict[str, Any]]:
    """Per target and kind of cells: both errors, their difference and its interval, and each seed's difference.

    Args:
        done: By seed and kind.
        steps: Per domain the windows of a block.
    """
    seeds, rows = sorted({seed for seed, _ in done}), []
    for key in (k.removesuffix("|error") for k in done[seeds[0], "joint"] if k.endswith("|error")):
        cells = done[seeds[0], "joint"][f"{key}|cells"]
        if not cells.sum():
            continue
        error = {kind: np.stack([done[seed, kind][f"{key}|error"] for seed in seeds]) for kind in KINDS}
        apart = error["joint"] - error["control"]
        control = float(error["control"].sum() / cells.sum() / len(seeds))
        low, high = bootstrap_interval(apart.mean(0), cells, steps[key.split(" ")[0]])
        rows.append(
            {
                "key": key,
                "cells": int(cells.sum()),
                "control": control,
                "joint": float(error["joint"].sum() / cells.sum() / len(seeds)),
                "gain": -float(apart.sum() / error["control"].sum()),
                "low": -high / control,
                "high": -low / control,
                "seeds": (-apart.sum(1) / error["control"].sum(1)).tolist(),
            }
        )
    return rows


def _tell(rows: list[dict[str, Any]]) -> None:
    print(
        "\n| target | cells | n | control MAE | joint MAE | gain | 95 % interval | sure | gain of each seed |\n|---|---|---:|---:|---:|---:|---|---|---|"
    )
    for r in rows:
        target, cells = r["key"].split("|")
        sure = "better" if r["low"] > 0 else "worse" if r["high"] < 0 else "no"
        seeds = " ".join(f"{s:+.1%}" for s in r["seeds"])
        told = f"{r['cells']:,} | {r['control']:.4g} | {r['joint']:.4g} | {r['gain']:+.2%} | {r['low']:+.2%} to {r['high']:+.2%}"
        print(f"| {target} | {cells} | {told} | {sure} | {seeds} |")


def _tell_responses(done: Mapping[int, Sums]) -> None:
    print(
        "\n| answer of | to a spread more of | planted | found: mean of 8 h (least to most of the seeds) | strongest after, h, seed by seed |"
    )
    print("|---|---|---|---:|---|")
    for domain, target, other, variable, planted in RESPONSES:
        many = [done[seed][f"{domain} {target} to {other} {variable}"] for seed in sorted(done)]
        after = " ".join(f"{since[np.abs(answer).argmax()] / 3600:.2g}" for since, answer in many)
        means = [float(answer.mean()) for _, answer in many]
        told = f"{np.mean(means):+.3g} ({min(means):+.3g} to {max(means):+.3g})"
        print(f"| {domain} {target} | {other} {variable} | {planted} | {told} | {after} |")


@app.command()
def main(
    world: Annotated[str, typer.Option(help="A recorded world.")] = "synthetic",
    seeds: Annotated[int, typer.Option(help="How many seeds.")] = 5,
    keep_in: Annotated[Path, typer.Option("--keep", help="A folder for what is done.")] = Path("joint_gain"),
    epochs: Annotated[int, typer.Option(help="Epochs of each training; 0: as many as the world's own.")] = 0,
) -> None:
    """Train what is not done yet, then tell."""
    print(setting("torch", "numpy"), flush=True)
    declared = load_world(world)
    given = windows(declared)
    done: dict[tuple[int, str], Sums] = {}
    answers: dict[int, Sums] = {}
    for seed in range(seeds):
        for kind, options in KINDS.items():
            name = f"{world}-{f'{epochs}-' if epochs else ''}{seed}-{kind}"
            found = kept(keep_in, name)
            if found is None:
                longer = {"epochs": epochs, "patience": epochs} if epochs else {}
                model = trained(given, declared, {**options, **longer}, seed)
                found = measured(model, declared, given)
                if world == "synthetic" and kind == "joint":
                    found |= {f"response|{key}": value for key, value in responses(model, given).items()}
                keep(keep_in, name, found)
                print(f"{name} done", flush=True)
            done[seed, kind] = {key: value for key, value in found.items() if not key.startswith("response|")}
            if kind == "joint":
                answers[seed] = {key.removeprefix("response|"): value for key, value in found.items() if key.startswith("response|")}
    blocks = {name: max(view.horizon, DAY // view.step_seconds) for name, view in given.domains.items()}
    _tell(compared(done, blocks))
    if world == "synthetic":
        _tell_responses(answers)


if __name__ == "__main__":
    app()

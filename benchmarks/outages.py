"""What does an outage cost a model that was trained with everything, beside a model that never had what is out?

The promise: with a modality switched off at prediction, the joint model is never worse than the same model trained without it by more than
2 %. Trains the joint model of a world with all it has, and once without each modality (`blind`), with the same seeds; scores both on the
test fold, the first one with that modality off. `python -m benchmarks.outages --world synthetic --kept outages.json`: six trainings of the world a seed; what is done is kept
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from benchmarks.measure import setting
from models.api import JointPredictor, fit, load, resolve_config
from pipeline import api
from pipeline.contracts.forecasts import MEDIAN
from pipeline.contracts.windows import WindowSet
from pipeline.contracts.world_files import load_world
from pipeline.contracts.worlds import World
from pipeline.settings import read_settings
from pipeline.steps import build_cube, land, observe
from pipeline.steps.train import windows_at
from pipeline.telemetry import QUIET

app = typer.Typer(add_completion=False)


def windows(world: World) -> WindowSet:
    """All windows of a recorded world as of its last forecast, in a store that is thrown away."""
    if world.recorded is None:
        raise SystemExit(f"{world.name} is live: give a recorded world")
    end, as_of = world.recorded.end, world.recorded.as_of
    with tempfile.TemporaryDirectory(prefix="cubecast-outages-") as folder:
        settings = replace(read_settings(), store=folder)
        for source in world.sources:
            land.run(api.LandRequest(world=world.name, as_of=end, received_time=end, source=source), settings, QUIET)
            observe.run(api.ObserveRequest(world=world.name, as_of=end, source=source), settings, QUIET)
        build_cube.run(api.BuildCubeRequest(world=world.name, as_of=end), settings, QUIET)
        return windows_at(world, settings, as_of)


def errors(model: JointPredictor, given: WindowSet, domain: str, without: Collection[str] = ()) -> dict[str, float]:
    """Mean absolute error per target on the test fold, in its unit."""
    view = given.domains[domain]
    total, cells = np.zeros(len(view.targets)), np.zeros(len(view.targets))
    targets = list(view.targets)
    physical = view.unscale(view.values_TNV)[..., targets]
    for index in np.array_split(view.windows_of("test"), 8):
        said = model.predict(given, domain, index, split=False, without=without).quantiles_BLNVQ[..., MEDIAN]
        place = view.end_W[index][:, None] + np.arange(1, view.horizon + 1)
        good = view.good_TNV[place][..., targets]
        total += (np.abs(said - physical[place]) * good).sum((0, 1, 2), dtype=np.float64)
        cells += good.sum((0, 1, 2))
    return {view.variables[v]: float(t / n) for v, t, n in zip(targets, total, cells, strict=True) if n}


def trained(given: WindowSet, world: World, options: dict[str, Any], seed: int, blind: str = "") -> JointPredictor:
    config = resolve_config(world.recipe, {**world.recipe_options, **options, **({"blind": blind} if blind else {})})
    fitted = fit(given, config, seed=seed, progress=QUIET)
    return load(fitted.state, fitted.meta)


def compared(given: WindowSet, world: World, options: dict[str, Any], seed: int) -> dict[str, dict[str, float]]:
    """Per domain, target and modality: the errors with everything, with it off, and of the model that never had it."""
    whole = trained(given, world, options, seed)
    found: dict[str, dict[str, float]] = {}
    told = {domain: whole.modalities(domain) for domain in whole.leading}
    everything = {domain: errors(whole, given, domain) for domain in whole.leading}
    for name in sorted({k for names in told.values() for k in names}):
        never = trained(given, world, options, seed, blind=name)
        for domain in (d for d, names in told.items() if name in names):
            off, blind = errors(whole, given, domain, (name,)), errors(never, given, domain)
            for target, mae in everything[domain].items():
                found[f"{domain} {target} | {name}"] = {"all": mae, "off": off[target], "never": blind[target]}
    return found


@app.command()
def main(
    world: Annotated[str, typer.Option(help="A recorded world.")] = "synthetic",
    seeds: Annotated[int, typer.Option(help="How many seeds.")] = 3,
    options: Annotated[str, typer.Option(help="Options of the model, a JSON object.")] = "{}",
    kept: Annotated[Path | None, typer.Option(help="Where what is done is kept, so that the same command goes on.")] = None,
) -> None:
    print(setting("torch", "numpy"), flush=True)
    declared = load_world(world)
    given = windows(declared)
    done: dict[str, Any] = json.loads(kept.read_text(encoding="utf-8")) if kept is not None and kept.is_file() else {}
    for seed in map(str, range(seeds)):
        if seed not in done:
            done[seed] = compared(given, declared, json.loads(options), int(seed))
            if kept is not None:
                kept.write_text(json.dumps(done, indent=1), encoding="utf-8")
            print(f"seed {seed} done", flush=True)
    print(
        "\n| target | off | MAE with all | MAE with it off | MAE never had it | off / never | of each seed |\n|---|---|---:|---:|---:|---:|---|"
    )
    worst = 0.0
    for key in done["0"]:
        many = [each[key] for each in done.values()]
        mean = {k: float(np.mean([m[k] for m in many])) for k in ("all", "off", "never")}
        ratios = [m["off"] / m["never"] for m in many]
        worst = max(worst, mean["off"] / mean["never"])
        told = f"{mean['all']:.4g} | {mean['off']:.4g} | {mean['never']:.4g} | {mean['off'] / mean['never']:.3f}"
        print(f"| {key} | {told} | {' '.join(f'{r:.3f}' for r in ratios)} |")
    print(f"\nWorst mean ratio {worst:.3f}; the promise is 1.02.")


if __name__ == "__main__":
    app()

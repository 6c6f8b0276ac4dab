"""How fast is training fed, how much of it is waiting, and how near is a step to its bare arithmetic?

Made-up cubes with outages. In turns: our gather, torch DataLoaders over windows that were all materialised beforehand, and a copy of as
many bytes, each giving the same tensors (`benchmarks/feeding.py`); xbatcher in an environment of its own (`--peers`). Then one training:
the share of it that waits for windows, a whole step beside bare forward + backward + optimiser on fixed tensors, forecasts per second,
peak memory, and what `torch.compile` makes of a step. `python -m benchmarks.training_speed --peers /path/to/python`: 4 minutes
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.arrays import DOMAIN, city, cube_of, made_world, windows_from
from benchmarks.feeding import BATCH, gatherer_of, measured, ways_alone, ways_whole, xbatcher
from benchmarks.measure import setting
from models.api import fit, load, resolve_config
from models.feeds import Feeds
from models.gather import Gatherer, usual_values
from models.progress import Pace
from models.shapes import shape_of
from models.training.loop import Task, Trainer
from models.training.ranks import Ranks
from models.training.runtime import casting, computing_on
from pipeline.contracts.windows import WindowSet
from pipeline.telemetry import QUIET

CONTEXT, HORIZON = 12, 12
SECONDS = 0.6
"""For which each way is asked for windows, in each round."""

app = typer.Typer(add_completion=False)
CUBES = {
    "17,856 steps x 170 nodes x 3, as PEMS08": (17_856, 170, 3),
    "a city, 17,000 steps x 449 nodes x 2": (17_000, 449, 2),
    "beyond the cache, 17,000 steps x 3,200 nodes x 2": (17_000, 3_200, 2),
}


def windows(steps: int, nodes: int, variables: int = 2, **domain: Any) -> WindowSet:
    """A cube of that size as windows; at any time a node in a hundred has been out for longer than a context."""
    keys = {"context": CONTEXT, "horizon": HORIZON, **domain}
    names, values, chance = tuple("abc"[:variables]), city(steps, nodes, variables), np.random.default_rng(1)
    for start, node in zip(chance.integers(0, steps, steps * nodes // 3000), chance.integers(0, nodes, steps * nodes // 3000), strict=True):
        values[start : start + 4 * CONTEXT, node] = np.nan
    world = made_world(
        rows=steps,
        step=timedelta(minutes=5),
        cuts=(int(0.7 * steps), int(0.8 * steps)),
        domain=keys,
        variables=names,
        declared={"scale": "node"},
    )
    return windows_from(world, cube_of(world, values))


def feeding(steps: int, nodes: int, variables: int, peers: str, rounds: int) -> dict[str, dict[str, float]]:
    """Windows per second of every way, of values and masks and of whole batches."""
    gatherer, cores = gatherer_of(windows(steps, nodes, variables).domains[DOMAIN]), os.cpu_count() or 1
    alone = measured(ways_alone(gatherer, cores), rounds, SECONDS)
    if peers:
        alone["xbatcher"] = xbatcher(peers, steps, nodes, variables, 2.0)
    return {"values and masks": alone, "whole batch": measured(ways_whole(gatherer, cores), rounds, SECONDS)}


def training(steps: int, nodes: int, recipe: str, count: int) -> dict[str, float]:
    """One epoch of so many steps beside as many bare ones on fixed tensors, in turns of a quarter of them."""
    given = windows(steps, nodes, seasons=["1d", "7d"], coarse={"steps": 12, "count": 24})
    options = {"epochs": 8, "steps": count, "least_steps": count}
    config = resolve_config(recipe, options)
    shapes = {DOMAIN: shape_of(given.domains[DOMAIN], usual_values(given.domains[DOMAIN]))}
    task = Task(windows=given, shapes=shapes, texts={}, leading=(DOMAIN,), config=config, seed=0)
    whole, bare, waited = [], [], 0.0
    with computing_on(torch.device("cpu"), config.threads):
        trainer = Trainer(task, torch.device("cpu"), Ranks())
        trainer._train_epoch([DOMAIN], lambda *_: None, Pace(count))
        index = trainer.folds[DOMAIN].train[: trainer.plan[DOMAIN].size]
        fixed = Feeds(given, shapes, {}, config).batch(trainer.learner.model, DOMAIN, index)
        shown = max(1, round(len(index) * config.quantile_share))
        for _ in range(4):
            pace = Pace(count)
            trainer._train_epoch([DOMAIN], lambda *_: None, pace)
            whole.append(pace.seconds)
            waited += pace.waited
            began = time.perf_counter()
            for _ in range(count):
                with casting(torch.device("cpu"), trainer.dtype):
                    loss = trainer.learner.losses(DOMAIN, *fixed, {}, shown, trainer.ranks).sum()
                trainer.optimiser.adam.zero_grad(set_to_none=True)
                torch.autograd.backward(loss)
                trainer.optimiser.adam.step()
            bare.append(time.perf_counter() - began)
    return {
        "step_ms": 1e3 * float(np.median(whole)) / count,
        "bare_ms": 1e3 * float(np.median(bare)) / count,
        "whole_to_bare": float(np.median(np.array(whole) / np.array(bare))),
        "waiting_share": waited / sum(whole),
        "windows_per_s": count * trainer.plan[DOMAIN].size / float(np.median(whole)),
    }


def compiled(steps: int, nodes: int, recipe: str, count: int) -> dict[str, float]:
    """Milliseconds of a bare step on fixed tensors as it is and by `torch.compile`, in turns; and the seconds that compiling took."""
    given = windows(steps, nodes, seasons=["1d", "7d"], coarse={"steps": 12, "count": 24})
    config = resolve_config(recipe, {"epochs": 8, "steps": count, "least_steps": count})
    shapes = {DOMAIN: shape_of(given.domains[DOMAIN], usual_values(given.domains[DOMAIN]))}
    with computing_on(torch.device("cpu"), config.threads):
        trainer = Trainer(
            Task(windows=given, shapes=shapes, texts={}, leading=(DOMAIN,), config=config, seed=0), torch.device("cpu"), Ranks()
        )
        index = trainer.folds[DOMAIN].train[: trainer.plan[DOMAIN].size]
        fixed = Feeds(given, shapes, {}, config).batch(trainer.learner.model, DOMAIN, index)
        shown = max(1, round(len(index) * config.quantile_share))

        def plain() -> Tensor:
            with casting(torch.device("cpu"), trainer.dtype):
                return trainer.learner.losses(DOMAIN, *fixed, {}, shown, trainer.ranks).sum()

        def step(loss: Callable[[], Tensor]) -> float:
            began = time.perf_counter()
            trainer.optimiser.adam.zero_grad(set_to_none=True)
            torch.autograd.backward(loss())
            trainer.optimiser.adam.step()
            return 1e3 * (time.perf_counter() - began)

        ways: dict[str, Callable[[], Tensor]] = {"as it is": plain, "torch.compile": torch.compile(plain)}
        first = {name: sum(step(way) for _ in range(3)) for name, way in ways.items()}
        took: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(count):
            for name, way in ways.items():
                took[name].append(step(way))
    return {name: float(np.median(times)) for name, times in took.items()} | {"compiling_s": first["torch.compile"] / 1e3}


def predicting(steps: int, nodes: int) -> dict[str, float]:
    """Forecasts per second: a number each, with its six other quantiles."""
    given = windows(steps, nodes, seasons=["1d", "7d"], coarse={"steps": 12, "count": 24})
    config = resolve_config("small", {"epochs": 1, "steps": 2, "least_steps": 2})
    fitted = fit(given, config, seed=0, progress=QUIET)
    model, view = load(fitted.state, fitted.meta), given.domains[DOMAIN]
    index = view.windows_of("test")[:400]
    found = {}
    for name, split in (("with the split of each", True), ("without", False)):
        model.predict(given, DOMAIN, index[:40], split=split)
        began = time.perf_counter()
        said = model.predict(given, DOMAIN, index, split=split)
        found[name] = said.quantiles_BLNVQ[..., 0].size / (time.perf_counter() - began)
    return found | {"stid": _stid(given, index)}


def _stid(given: WindowSet, index: NDArray[np.int64]) -> float:
    """The same of STID with published sizes, one variable after the other: its points only."""
    from benchmarks.stid import Stid

    view = given.domains[DOMAIN]
    model, gatherer = Stid(len(view.node_ids), CONTEXT, HORIZON, view.slots_per_day).eval(), Gatherer(view, usual_values(view))
    count, began = 0, time.perf_counter()
    with torch.inference_mode():
        for start in range(0, len(index), BATCH):
            batch = gatherer.batch(index[start : start + BATCH])
            for v in range(len(view.variables)):
                count += model(batch.context.x_BCNV[..., v], batch.time_of_day_B, batch.day_of_week_B).numel()
    return count / (time.perf_counter() - began)


_MEMORY = """
import json, resource, sys
from benchmarks.training_speed import windows, DOMAIN
from models.api import fit, resolve_config
from benchmarks.arrays import city
from pipeline.telemetry import QUIET
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
kwargs = {"seasons": ["1d", "7d"], "coarse": {"steps": 12, "count": 24}} if sys.argv[3] == "long" else {}
small = windows(3000, 4, **kwargs)
fit(small, resolve_config("small", {"epochs": 1, "steps": 2, "least_steps": 2}), seed=0, progress=QUIET)
before = peak()
given = windows(int(sys.argv[1]), int(sys.argv[2]), **kwargs)
made = peak()
fit(given, resolve_config("small", {"epochs": 1, "steps": 8, "least_steps": 8, "validation_windows": 8}), seed=0, progress=QUIET)
cells = given.domains[DOMAIN].values_TNV.size
print(json.dumps({"values": 4 * cells, "cube": 10 * cells, "windows": made - before, "whole": peak() - before}))
"""


def memory(steps: int, nodes: int, kind: str) -> dict[str, float]:
    """Peak bytes of a training, from the cube on, beside the cube's, in a process of its own."""
    child = subprocess.run([sys.executable, "-c", _MEMORY, str(steps), str(nodes), kind], capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(child.stdout.strip().splitlines()[-1])
    return found


def _tell_feeding(found: dict[str, Any], peers: str, rounds: int) -> None:
    for name, size in CUBES.items():
        found[name] = feeding(*size, peers, rounds)
        for what, speeds in found[name].items():
            bounds = [value for way, value in speeds.items() if "bound" in way]
            print(f"\n| {name}: {what} | windows/s | of the bound |\n|---|---:|---:|")
            for way, value in speeds.items():
                print(f"| {way} | {value:,.0f} | {value / bounds['threads' in way or 'workers' in way]:.2f} |", flush=True)


def _tell_training(found: dict[str, Any], recipe: str, steps: int) -> None:
    names = "step ms | bare ms | whole / bare | waiting for windows | windows/s"
    print(f"\n| training, recipe {recipe} | {names} |\n|---|---:|---:|---:|---:|---:|")
    for name, (length, nodes) in {"city": (8_000, 449), "country": (4_000, 2_000)}.items():
        t = found[f"training {name}"] = training(length, nodes, recipe, steps)
        times = f"{t['step_ms']:.1f} | {t['bare_ms']:.1f} | {t['whole_to_bare']:.3f} | {t['waiting_share']:.2%} | {t['windows_per_s']:,.0f}"
        print(f"| {name} | {times} |", flush=True)


def _tell_compiled(found: dict[str, Any], recipe: str, steps: int) -> None:
    print(f"\n| a bare step, recipe {recipe} | as it is, ms | torch.compile, ms | speed-up | s to compile |\n|---|---:|---:|---:|---:|")
    for name, (length, nodes) in {"city": (8_000, 449), "country": (4_000, 2_000)}.items():
        c = found[f"compiled {name}"] = compiled(length, nodes, recipe, steps)
        plain, other = c["as it is"], c["torch.compile"]
        print(f"| {name} | {plain:.1f} | {other:.1f} | {plain / other:.2f} | {c['compiling_s']:.0f} |", flush=True)


def _tell_forecasts(found: dict[str, Any]) -> None:
    p = found["forecasts"] = predicting(6_000, 449)
    print("\n| forecasts/s, city | |\n|---|---:|")
    print("\n".join(f"| {name} | {value:,.0f} |" for name, value in p.items()), flush=True)


def _tell_memory(found: dict[str, Any]) -> None:
    print("\n| peak memory, city | cube MB | windows / cube | training / cube |\n|---|---:|---:|---:|")
    for kind in ("short", "long"):
        m = found[f"memory {kind}"] = memory(12_000, 449, kind)
        print(f"| {kind} past | {m['cube'] / 1e6:.0f} | {m['windows'] / m['cube']:.2f} | {m['whole'] / m['cube']:.2f} |", flush=True)


@app.command()
def main(
    peers: Annotated[str, typer.Option(help="An interpreter with xbatcher.")] = "",
    rounds: Annotated[int, typer.Option(help="Times each way is measured.")] = 3,
    recipe: Annotated[str, typer.Option(help="Of the training.")] = "small",
    steps: Annotated[int, typer.Option(help="Training steps in each of five epochs.")] = 24,
    parts: Annotated[str, typer.Option(help="What to measure.")] = "feeding,training,forecasts,memory,compiled",
    out: Annotated[Path | None, typer.Option(help="A file for the figures as JSON.")] = None,
) -> None:
    print(setting("torch", "numpy"), flush=True)
    found: dict[str, Any] = {}
    tell: dict[str, Callable[[], None]] = {
        "feeding": lambda: _tell_feeding(found, peers, rounds),
        "training": lambda: _tell_training(found, recipe, steps),
        "forecasts": lambda: _tell_forecasts(found),
        "memory": lambda: _tell_memory(found),
        "compiled": lambda: _tell_compiled(found, recipe, steps),
    }
    for part in parts.split(","):
        tell[part]()
    if out is not None:
        out.write_text(json.dumps(found, indent=1), encoding="utf-8")


if __name__ == "__main__":
    app()

"""A training on a GPU: how long an epoch of `base` takes, how near it is to the GPU's own speed, and what graphs and bf16 give.

Needs `models/`, `pipeline/contracts/`, `pipeline/errors.py`, torch, numpy and safetensors, and a file of windows (`benchmarks/gpu_windows.py`): no
Dask, no Zarr, no data. `python -m benchmarks.gpu --windows aarhus.npz --out gpu.json` (under 8 minutes on a GPU); on a processor it is a dry
run: `python -m benchmarks.gpu --windows made.npz --brief`.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.gpu_windows import read, spread
from models.api import resolve_config
from models.batch import Around, Batch
from models.config import ModelConfig
from models.gather import usual_values
from models.progress import Pace
from models.shapes import shape_of
from models.training.loop import Task, Trainer
from models.training.memory import plan_memory
from models.training.ranks import Ranks
from models.training.runtime import computing_on, training_device, training_precision
from pipeline.contracts.windows import WindowSet

Row = dict[str, Any]


class Nobody:
    """Progress that is told to nobody."""

    def stage(self, name: str, total: float | None, unit: str = "") -> Any:
        """Itself."""
        return nullcontext(self)

    def advance(self, amount: float = 1, note: str = "") -> None:
        """Nothing."""


def trainer_of(windows: WindowSet, config: ModelConfig, device: torch.device, seed: int = 0) -> Trainer:
    """A training that has not begun, of every domain with a value."""
    held = {name: d for name, d in sorted(windows.domains.items()) if len(d.node_ids) and d.good_TNV.any()}
    shapes = {name: shape_of(d, usual_values(d)) for name, d in held.items()}
    leading = tuple(name for name, d in held.items() if d.targets and len(d.windows_of("train")))
    plan_memory(windows, shapes, {}, leading, config, device, streamed=False).check("train")
    return Trainer(Task(windows=windows, shapes=shapes, texts={}, leading=leading, config=config, seed=seed), device, Ranks())


def gemm_flops(device: torch.device, dtype: torch.dtype, size: int) -> float:
    """Floating-point operations a second of the best of several square products, in that precision."""
    a, b = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    best = min(timed(lambda: torch.mm(a, b), device) for _ in range(8))
    return 2 * size**3 / best


def timed(work: Callable[[], object], device: torch.device) -> float:
    """Seconds until it is done."""
    _wait(device)
    began = time.perf_counter()
    work()
    _wait(device)
    return time.perf_counter() - began


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def step_flops(trainer: Trainer, domain: str) -> int:
    """Operations of the matrix products of one step, there and back."""
    plain, trainer.graphs = trainer.graphs, None
    size = trainer.plan[domain].size
    batch, around = trainer.feeds.batch(trainer.learner.model, domain, trainer.folds[domain].train[:size])
    with FlopCounterMode(display=False) as counter:
        trainer._step(domain, size, batch, around, torch.Generator().manual_seed(0))
    trainer.graphs = plain
    return int(counter.get_total_flops())


def epoch(trainer: Trainer) -> tuple[float, Pace]:
    """Seconds of one epoch of steps, validation left out."""
    domains = list(trainer.task.leading)
    pace = Pace(sum(trainer.plan[d].steps for d in domains))
    return timed(lambda: trainer._train_epoch(domains, lambda *_: None, pace), trainer.device), pace


def bare(trainer: Trainer) -> float:
    """Seconds of as many steps on windows that were gathered beforehand."""
    chance, total = torch.Generator().manual_seed(0), 0.0
    for domain in trainer.task.leading:
        plan = trainer.plan[domain]
        batch, around = trainer.feeds.batch(trainer.learner.model, domain, trainer.folds[domain].train[: plan.size])

        def steps(
            domain: str = domain, count: int = plan.steps, size: int = plan.size, batch: Batch = batch, around: Around = around
        ) -> None:
            for _ in range(count):
                trainer._step(domain, size, batch, around, chance)

        total += timed(steps, trainer.device)
    return total


def speed(windows: WindowSet, config: ModelConfig, device: torch.device, peak: float, rounds: int) -> Row:
    """Epochs with graphs and without, in turns, beside bare steps; the share of the measured peak."""
    with computing_on(device, config.threads):
        ways = {graphs: trainer_of(windows, replace(config, graphs=graphs), device) for graphs in (True, False)}
        for trainer in ways.values():
            epoch(trainer)
        found: dict[bool, list[float]] = {True: [], False: []}
        alone, waited, passed = [], 0.0, 0.0
        for _ in range(rounds):
            for graphs, trainer in ways.items():
                seconds, pace = epoch(trainer)
                found[graphs].append(seconds)
                if graphs:
                    waited, passed = waited + pace.waited, passed + pace.seconds
            alone.append(bare(ways[True]))
        with_graphs = ways[True]
        work = sum(step_flops(with_graphs, d) * with_graphs.plan[d].steps for d in with_graphs.task.leading)
    recorded, eager = (statistics.median(found[graphs]) for graphs in (True, False))
    return {
        "nodes": {name: len(d.node_ids) for name, d in windows.domains.items()},
        "steps": sum(plan.steps for plan in with_graphs.plan.values()),
        "windows": sum(plan.steps * plan.size for plan in with_graphs.plan.values()),
        "epoch_s": recorded,
        "epoch_s_eager": eager,
        "eager_to_graphs": statistics.median(e / g for e, g in zip(found[False], found[True], strict=True)),
        "stall": max(0.0, 1 - statistics.median(b / g for b, g in zip(alone, found[True], strict=True))),
        "waiting": waited / passed,
        "tflops": work / recorded / 1e12,
        "of_gemm_peak": work / recorded / peak,
        "precision": str(with_graphs.dtype),
        "peak_bytes": torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None,
    }


def accuracy(windows: WindowSet, config: ModelConfig, device: torch.device, seeds: int) -> Row:
    """The validation error relative to the anchor after a training in each precision, seed by seed."""
    found: dict[str, dict[str, list[float]]] = {}
    for precision in ("bfloat16", "float32"):
        own = replace(config, precision=precision)
        with computing_on(device, own.threads):
            for seed in range(seeds):
                trainer = trainer_of(windows, own, device, seed)
                trainer.run(Nobody(), None, {})
                for domain, best in trainer.best.items():
                    found.setdefault(domain, {}).setdefault(precision, []).append(best.ratio)
    return found


def setting(device: torch.device) -> Row:
    """Where this ran."""
    gpu = torch.cuda.get_device_properties(device) if device.type == "cuda" else None
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "device": f"{gpu.name}, {gpu.total_memory / 2**30:.0f} GiB" if gpu else "a processor: a dry run, not a result",
        "versions": f"python {sys.version.split()[0]}, torch {torch.__version__}, CUDA {torch.version.cuda}, numpy {np.__version__}",
    }


def main() -> None:
    """Measure and tell."""
    say = argparse.ArgumentParser(description=__doc__)
    say.add_argument("--windows", type=Path, required=True, help="From benchmarks/gpu_windows.py.")
    say.add_argument("--domain", default="traffic", help="The domain whose nodes are spread to 2,000.")
    say.add_argument("--nodes", type=int, default=2000)
    say.add_argument("--epochs", type=int, default=6, help="Of the trainings that compare precisions.")
    say.add_argument("--seeds", type=int, default=3)
    say.add_argument("--brief", action="store_true", help="A few small steps: does it run at all?")
    say.add_argument("--out", type=Path, help="A file for the figures as JSON.")
    asked = say.parse_args()
    small = {"steps": 2, "least_steps": 2, "rows": 96, "hidden": 32, "validation_windows": 4} if asked.brief else {}
    config = resolve_config("base", small)
    device = training_device(config, 0)
    dtype = training_precision(config, device)
    peak = gemm_flops(device, dtype, 8192 if device.type == "cuda" else 512)
    found: Row = {"setting": setting(device), "gemm_tflops": peak / 1e12, "gemm_precision": str(dtype)}
    given = read(asked.windows)
    domain = asked.domain if asked.domain in given.domains else next(iter(given.domains))
    wide = spread(given, domain, 60 if asked.brief else asked.nodes)
    for name, windows in (("as written", given), ("wide", wide)):
        found[name] = speed(windows, config, device, peak, 1 if asked.brief else 3)
        print(json.dumps({name: found[name]}), flush=True)
    epochs = 1 if asked.brief else asked.epochs
    found["accuracy"] = accuracy(given, replace(config, epochs=epochs, patience=epochs), device, 1 if asked.brief else asked.seeds)
    print(json.dumps(found, indent=1), flush=True)
    if asked.out is not None:
        asked.out.write_text(json.dumps(found, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()

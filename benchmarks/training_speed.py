"""How fast is training fed, how much of it is waiting, and how near is a step to its bare arithmetic?

Made-up cubes: a city (449 nodes x 2 variables) and a country (2,000 nodes). In turns: our gather, a torch DataLoader over windows that
were all materialised beforehand and over slices, xbatcher (in an environment of its own, `--peers`), and a copy of as many bytes. Then
one training: the share of it that waits for windows, a whole step beside bare forward + backward + optimiser on fixed tensors,
forecasts per second, peak memory. `python -m benchmarks.training_speed --peers /path/to/python`: 4 minutes
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from numpy.typing import NDArray

from benchmarks.arrays import DOMAIN, city, cube_of, made_world, windows_from
from benchmarks.measure import setting
from models.api import fit, load, resolve_config
from models.feeds import Feeds
from models.gather import Gatherer, tensor, usual_values
from models.progress import Pace
from models.shapes import shape_of
from models.training.loop import Task, Trainer
from models.training.ranks import Ranks
from models.training.runtime import casting, computing_on
from pipeline.contracts.windows import DomainWindows, WindowSet
from pipeline.telemetry import QUIET

BATCH, CONTEXT, HORIZON = 64, 12, 12
SECONDS = 1.5
"""For which each way is asked for windows, in each round."""

app = typer.Typer(add_completion=False)
Feed = Callable[[], Iterator[int]]
"""Batches one after the other, for ever: how many windows each held."""


def windows(steps: int, nodes: int, variables: int = 2, **domain: Any) -> WindowSet:
    """A cube of that size as windows."""
    keys = {"context": CONTEXT, "horizon": HORIZON, **domain}
    names = tuple("ab"[:variables])
    world = made_world(
        rows=steps,
        step=timedelta(minutes=5),
        cuts=(int(0.7 * steps), int(0.8 * steps)),
        domain=keys,
        variables=names,
        declared={"scale": "node"},
    )
    return windows_from(world, cube_of(world, city(steps, nodes, variables)))


def shuffled(index: NDArray[np.int64], size: int) -> Iterator[NDArray[np.int64]]:
    """Batches of indices in random order, for ever, sorted within a batch as training has them."""
    chance = np.random.default_rng(0)
    while True:
        order = chance.permutation(index)
        for k in range(0, len(order) - size + 1, size):
            yield np.sort(order[k : k + size])


def ours(d: DomainWindows) -> Feed:
    gatherer = Gatherer(d, usual_values(d))

    def feed() -> Iterator[int]:
        for index in shuffled(d.windows_of("train"), BATCH):
            yield len(gatherer.batch(index).y_BLNV)

    return feed


def rows_of(index: NDArray[np.int64], d: DomainWindows) -> torch.Tensor:
    """The axis steps of these windows, context and targets."""
    return torch.from_numpy((d.end_W[index][:, None] + np.arange(1 - CONTEXT, HORIZON + 1)).ravel().astype(np.int64))


def ours_alone(d: DomainWindows) -> Feed:
    """Values and masks, and nothing that is made of them."""
    sources = [tensor(a).flatten(1) for a in (d.values_TNV, d.good_TNV)]

    def feed() -> Iterator[int]:
        buffers = [torch.empty(BATCH * (CONTEXT + HORIZON), s.shape[1], dtype=s.dtype) for s in sources]
        for index in shuffled(d.windows_of("train"), BATCH):
            rows = rows_of(index, d)
            for source, buffer in zip(sources, buffers, strict=True):
                torch.index_select(source, 0, rows, out=buffer)
            yield len(index)

    return feed


def copies(d: DomainWindows) -> Feed:
    """The bound: as many bytes in one piece, from a random place."""
    sources = [tensor(a).flatten() for a in (d.values_TNV, d.good_TNV)]
    cells = BATCH * (CONTEXT + HORIZON) * d.values_TNV[0].size

    def feed() -> Iterator[int]:
        buffers = [torch.empty(cells, dtype=s.dtype) for s in sources]
        starts = np.random.default_rng(0).integers(0, len(sources[0]) - cells, 4096)
        while True:
            for start in starts:
                for source, buffer in zip(sources, buffers, strict=True):
                    buffer.copy_(source[start : start + cells])
                yield BATCH

    return feed


class Windows(torch.utils.data.Dataset[Any]):
    """Windows as a Dataset: materialised ones, or slices of the cube; by one index, or by a list of them."""

    def __init__(self, d: DomainWindows, *, materialised: bool) -> None:
        self.arrays = [tensor(a) for a in (d.values_TNV, d.good_TNV)]
        self.end = d.end_W[d.windows_of("train")]
        self.windows = [torch.stack([self._slice(a, int(e)) for e in self.end]) for a in self.arrays] if materialised else None

    def _slice(self, array: torch.Tensor, end: int) -> torch.Tensor:
        return array[end + 1 - CONTEXT : end + HORIZON + 1]

    def __len__(self) -> int:
        return len(self.end)

    def __getitem__(self, item: Any) -> Any:
        if self.windows is not None:
            return tuple(w[item] for w in self.windows)
        if isinstance(item, list):
            return tuple(torch.stack([self._slice(a, int(self.end[k])) for k in item]) for a in self.arrays)
        return tuple(self._slice(a, int(self.end[item])) for a in self.arrays)


def loader(dataset: Windows, *, by_batch: bool, workers: int) -> Feed:
    """A DataLoader that asks for one window at a time and puts them together, or for a whole batch at once."""
    from torch.utils.data import BatchSampler, DataLoader, RandomSampler

    kept: dict[str, Any] = {"num_workers": workers, "pin_memory": False, "persistent_workers": workers > 0}
    made: DataLoader[Any]
    if by_batch:
        made = DataLoader(dataset, sampler=BatchSampler(RandomSampler(dataset), BATCH, drop_last=True), batch_size=None, **kept)
    else:
        made = DataLoader(dataset, batch_size=BATCH, shuffle=True, drop_last=True, **kept)

    def feed() -> Iterator[int]:
        while True:
            for values, _ in made:
                yield len(values)

    return feed


def speed(feed: Iterator[int], seconds: float) -> float:
    """Windows per second, the first batch left out."""
    next(feed)
    began, count = time.perf_counter(), 0
    while (now := time.perf_counter()) < began + seconds:
        count += next(feed)
    return count / (now - began)


_XBATCHER = """
import json, sys, time
import numpy as np, xarray as xr, xbatcher
steps, nodes, variables, seconds = (float(a) for a in sys.argv[1:5])
steps, nodes, variables = int(steps), int(nodes), int(variables)
made = np.random.default_rng(0).standard_normal((steps, nodes, variables), np.float32)
ds = xr.Dataset({"value": (("time", "node", "variable"), made), "good": (("time", "node", "variable"), made > -1)})
batches = xbatcher.BatchGenerator(ds, input_dims={"time": 24}, input_overlap={"time": 23}, preload_batch=False)
order = np.random.default_rng(1).permutation(len(batches))
began, count = time.perf_counter(), 0
while time.perf_counter() < began + seconds:
    for k in order[count:count + 64]:
        one = batches[int(k)]
        one["value"].values, one["good"].values
        count += 1
print(json.dumps(count / (time.perf_counter() - began)))
"""


def xbatcher(python: str, steps: int, nodes: int) -> float:
    """Windows per second of xbatcher in another environment, in random order, each as arrays."""
    child = subprocess.run(
        [python, "-c", _XBATCHER, str(steps), str(nodes), "2", "4"], capture_output=True, text=True, check=True, env=dict(os.environ)
    )
    return float(child.stdout.strip().splitlines()[-1])


def feeding(steps: int, nodes: int, peers: str, rounds: int) -> dict[str, float]:
    """Windows per second of every way, each the median of its rounds."""
    view = windows(steps, nodes).domains[DOMAIN]
    lazily, whole = Windows(view, materialised=False), Windows(view, materialised=True)
    ways: dict[str, Feed] = {
        "a copy of as many bytes (bound)": copies(view),
        "ours: values and masks": ours_alone(view),
        "ours: whole batch (with ages, anchors, newest values)": ours(view),
        "DataLoader, materialised, window by window, 0 workers": loader(whole, by_batch=False, workers=0),
        "DataLoader, materialised, window by window, 2 workers": loader(whole, by_batch=False, workers=2),
        "DataLoader, materialised, batch by batch, 0 workers": loader(whole, by_batch=True, workers=0),
        "DataLoader, materialised, batch by batch, 2 workers": loader(whole, by_batch=True, workers=2),
        "DataLoader, slices, window by window, 0 workers": loader(lazily, by_batch=False, workers=0),
        "DataLoader, slices, batch by batch, 2 workers": loader(lazily, by_batch=True, workers=2),
    }
    found: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            found[name].append(speed(way(), SECONDS))
    speeds = {name: float(np.median(each)) for name, each in found.items()}
    return speeds | ({"xbatcher 0.4.0": xbatcher(peers, steps, nodes)} if peers else {})


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


@app.command()
def main(
    peers: Annotated[str, typer.Option(help="An interpreter with xbatcher.")] = "",
    rounds: Annotated[int, typer.Option(help="Times each way is measured.")] = 3,
    recipe: Annotated[str, typer.Option(help="Of the training.")] = "small",
    steps: Annotated[int, typer.Option(help="Training steps in each of five epochs.")] = 24,
    out: Annotated[Path | None, typer.Option(help="A file for the figures as JSON.")] = None,
) -> None:
    print(setting("torch", "numpy"), f"threads {torch.get_num_threads()}", flush=True)
    found: dict[str, Any] = {}
    sizes = {"city, 17,000 steps x 449 nodes x 2": (17_000, 449), "country, 4,000 steps x 2,000 nodes x 2": (4_000, 2_000)}
    for name, (length, nodes) in sizes.items():
        speeds = found[name] = feeding(length, nodes, peers, rounds)
        bound = speeds["a copy of as many bytes (bound)"]
        print(f"\n| {name} | windows/s | of the bound |\n|---|---:|---:|")
        for way, windows_per_s in speeds.items():
            print(f"| {way} | {windows_per_s:,.0f} | {windows_per_s / bound:.2f} |", flush=True)
    print(
        "\n| training, recipe "
        + recipe
        + " | step ms | bare ms | whole / bare | waiting for windows | windows/s |\n|---|---:|---:|---:|---:|---:|"
    )
    for name, (length, nodes) in {"city": (8_000, 449), "country": (4_000, 2_000)}.items():
        t = found[f"training {name}"] = training(length, nodes, recipe, steps)
        print(
            f"| {name} | {t['step_ms']:.1f} | {t['bare_ms']:.1f} | {t['whole_to_bare']:.3f} | {t['waiting_share']:.2%} | {t['windows_per_s']:,.0f} |",
            flush=True,
        )
    p = found["forecasts"] = predicting(6_000, 449)
    print("\n| forecasts/s, city | |\n|---|---:|")
    print("\n".join(f"| {name} | {value:,.0f} |" for name, value in p.items()), flush=True)
    print("\n| peak memory, city | cube MB | windows / cube | training / cube |\n|---|---:|---:|---:|")
    for kind in ("short", "long"):
        m = found[f"memory {kind}"] = memory(12_000, 449, kind)
        print(f"| {kind} past | {m['cube'] / 1e6:.0f} | {m['windows'] / m['cube']:.2f} | {m['whole'] / m['cube']:.2f} |", flush=True)
    if out is not None:
        out.write_text(json.dumps(found, indent=1), encoding="utf-8")


if __name__ == "__main__":
    app()

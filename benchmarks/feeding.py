"""Ways to feed a training with shuffled windows of one cube, each giving the same tensors: ours, DataLoaders, xbatcher, bare copies."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.batch import Batch
from models.gather import Gatherer, tensor, usual_values
from pipeline.contracts.windows import DomainWindows

BATCH = 64
MOST = 1_500_000_000
"""Bytes of windows that are materialised at most: every k-th window where all of them take more, which is to their advantage."""

Feed = Callable[[], Iterator[int]]
"""Batches one after the other, for ever: how many windows each held."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Way:
    """One way, and with how many threads."""

    feed: Feed
    threads: int = 1


def shuffled(index: NDArray[np.int64], size: int) -> Iterator[NDArray[np.int64]]:
    """Batches of indices in random order, for ever, sorted within a batch as training has them."""
    chance = np.random.default_rng(0)
    while True:
        order = chance.permutation(index)
        for k in range(0, len(order) - size + 1, size):
            yield np.sort(order[k : k + size])


def parts(batch: Batch) -> list[Tensor]:
    """All that a batch of a domain without seasons holds of its own; anchors and units are views of these, for everyone."""
    c = batch.context
    return [
        torch.cat([c.x_BCNV, batch.y_BLNV], 1),
        torch.cat([c.seen_BCNV, batch.good_BLNV], 1),
        c.last_BNV,
        c.has_BNV,
        c.age_BNV,
        batch.base_BNV,
        batch.time_of_day_B,
        batch.day_of_week_B,
        batch.issue_time_B,
    ]


def ours(d: DomainWindows) -> Feed:
    """Whole batches, as training has them."""
    gatherer = Gatherer(d, usual_values(d), often=True)

    def feed() -> Iterator[int]:
        for index in shuffled(d.windows_of("train"), BATCH):
            yield len(gatherer.batch(index).y_BLNV)

    return feed


def ours_alone(d: DomainWindows) -> Feed:
    """Values and masks, and nothing that is made of them."""
    gatherer = Gatherer(d, usual_values(d), often=True)

    def feed() -> Iterator[int]:
        for index in shuffled(d.windows_of("train"), BATCH):
            first = d.end_W[index] - (d.context - 1)
            values, _ = gatherer._steps(("value", "good"), first.astype(np.int64), d.context + d.horizon, "alone")
            yield len(values)

    return feed


def copies(d: DomainWindows, *, whole: bool) -> Feed:
    """The bound: as many bytes in one piece each for values and masks, from a random place; with those of newest values and ages."""
    sources = [tensor(a).flatten() for a in (d.values_TNV, d.good_TNV)]
    cells, nodes = BATCH * (d.context + d.horizon) * d.values_TNV[0].size, BATCH * d.values_TNV[0].size
    sizes = [(sources[0], cells), (sources[1], cells), *([(sources[0], nodes)] * 2 + [(sources[1], nodes)] if whole else [])]

    def feed() -> Iterator[int]:
        buffers = [torch.empty(size, dtype=source.dtype) for source, size in sizes]
        starts = np.random.default_rng(0).integers(0, len(sources[0]) - cells, 4096).tolist()
        while True:
            for start in starts:
                for buffer, (source, size) in zip(buffers, sizes, strict=True):
                    buffer.copy_(source[start : start + size])
                yield BATCH

    return feed


class Materialised(torch.utils.data.Dataset[Any]):
    """Every window's tensors, made beforehand; by one index, or by a list of them.

    Args:
        d: The windows.
        whole: With newest values, ages and what else a batch holds.
    """

    def __init__(self, d: DomainWindows, *, whole: bool) -> None:
        index = d.windows_of("train")
        size = 5 * (d.context + d.horizon + (3 if whole else 0)) * d.values_TNV[0].size
        self.index = index[:: max(1, -(-len(index) * size // MOST))]
        gatherer = Gatherer(d, usual_values(d), often=True)
        example = parts(gatherer.batch(self.index[:1]))[: None if whole else 2]
        self.tensors = [torch.empty(len(self.index), *part.shape[1:], dtype=part.dtype) for part in example]
        for start in range(0, len(self.index), BATCH):
            batch = parts(gatherer.batch(self.index[start : start + BATCH]))
            for held, part in zip(self.tensors, batch, strict=False):
                held[start : start + len(part)] = part

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, item: Any) -> tuple[Tensor, ...]:
        return tuple(t[item] for t in self.tensors)


class Slices(torch.utils.data.Dataset[Any]):
    """Values and masks of a window as slices of the cube."""

    def __init__(self, d: DomainWindows) -> None:
        self.arrays = [tensor(a) for a in (d.values_TNV, d.good_TNV)]
        self.first = (d.end_W[d.windows_of("train")] - (d.context - 1)).tolist()
        self.steps = d.context + d.horizon

    def __len__(self) -> int:
        return len(self.first)

    def __getitem__(self, item: int) -> tuple[Tensor, ...]:
        start = self.first[item]
        return tuple(a[start : start + self.steps] for a in self.arrays)


def loader(dataset: Any, *, by_batch: bool = False, workers: int = 0) -> Feed:
    """A DataLoader that asks for one window at a time and puts them together, or for a whole batch at once."""
    from torch.utils.data import BatchSampler, DataLoader, RandomSampler

    kept: dict[str, Any] = {"num_workers": workers, "persistent_workers": workers > 0}
    made: DataLoader[Any]
    if by_batch:
        made = DataLoader(dataset, sampler=BatchSampler(RandomSampler(dataset), BATCH, drop_last=True), batch_size=None, **kept)
    else:
        made = DataLoader(dataset, batch_size=BATCH, shuffle=True, drop_last=True, **kept)

    def feed() -> Iterator[int]:
        while True:
            for held in made:
                yield len(held[0])

    return feed


def same(d: DomainWindows, dataset: Materialised) -> None:
    """Refuse a comparison of unlike tensors: what the loader gives must be what we give, bit for bit."""
    gatherer, chosen = Gatherer(d, usual_values(d), often=True), [0, len(dataset) // 2, len(dataset) - 1]
    for one, other in zip(dataset[chosen], parts(gatherer.batch(dataset.index[chosen])), strict=True):
        if one.dtype != other.dtype or not torch.equal(one, other):
            raise AssertionError("a DataLoader gives other tensors than we do")


def speed(way: Way, seconds: float) -> float:
    """Windows per second, the first batches left out."""
    before = torch.get_num_threads()
    torch.set_num_threads(way.threads)
    try:
        feed = way.feed()
        for _ in range(3):
            next(feed)
        began, count = time.perf_counter(), 0
        while (now := time.perf_counter()) < began + seconds:
            count += next(feed)
        return count / (now - began)
    finally:
        torch.set_num_threads(before)


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
    held = [batches[int(k)] for k in order[count:count + 64]]
    values, good = (np.stack([one[name].values for one in held]) for name in ("value", "good"))
    count += len(held)
print(json.dumps(count / (time.perf_counter() - began)))
"""


def xbatcher(python: str, steps: int, nodes: int, variables: int, seconds: float) -> float:
    """Windows per second of xbatcher in another environment: values and masks of 64 random windows, put together."""
    given = [str(steps), str(nodes), str(variables), str(seconds)]
    child = subprocess.run([python, "-c", _XBATCHER, *given], capture_output=True, text=True, check=True, env=dict(os.environ))
    return float(child.stdout.strip().splitlines()[-1])


def ways_alone(d: DomainWindows, cores: int) -> dict[str, Way]:
    """Values and masks; the bound comes first."""
    made = Materialised(d, whole=False)
    return {
        "a copy of as many bytes (bound)": Way(feed=copies(d, whole=False)),
        "ours": Way(feed=ours_alone(d)),
        "DataLoader, materialised, window by window": Way(feed=loader(made)),
        "DataLoader, materialised, batch by batch": Way(feed=loader(made, by_batch=True)),
        "DataLoader, slices of the cube, window by window": Way(feed=loader(Slices(d))),
        f"a copy of as many bytes (bound), {cores} threads": Way(feed=copies(d, whole=False), threads=cores),
        f"ours, {cores} threads": Way(feed=ours_alone(d), threads=cores),
        f"DataLoader, materialised, batch by batch, {cores} threads": Way(feed=loader(made, by_batch=True), threads=cores),
        f"DataLoader, materialised, window by window, {cores} workers": Way(feed=loader(made, workers=cores)),
    }


def ways_whole(d: DomainWindows, cores: int) -> dict[str, Way]:
    """The whole batch, with newest values, ages and all else; the bound comes first."""
    made = Materialised(d, whole=True)
    same(d, made)
    return {
        "a copy of as many bytes (bound)": Way(feed=copies(d, whole=True)),
        "ours": Way(feed=ours(d)),
        "DataLoader, materialised, window by window": Way(feed=loader(made)),
        "DataLoader, materialised, batch by batch": Way(feed=loader(made, by_batch=True)),
        f"a copy of as many bytes (bound), {cores} threads": Way(feed=copies(d, whole=True), threads=cores),
        f"ours, {cores} threads": Way(feed=ours(d), threads=cores),
        f"DataLoader, materialised, batch by batch, {cores} threads": Way(feed=loader(made, by_batch=True), threads=cores),
        f"DataLoader, materialised, window by window, {cores} workers": Way(feed=loader(made, workers=cores)),
    }


def measured(ways: dict[str, Way], rounds: int, seconds: float) -> dict[str, float]:
    """Windows per second of each, the median of its rounds, measured in turns."""
    found: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            found[name].append(speed(way, seconds))
    return {name: float(np.median(each)) for name, each in found.items()}

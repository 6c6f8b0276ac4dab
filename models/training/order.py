"""Which windows make which step of an epoch.

A segment is a part of an epoch whose arrays lie in memory together: the whole epoch where they all do.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
import torch
from numpy.typing import NDArray

from models.config import ModelConfig
from models.feeds import Feeds
from models.training.excerpt import Layout, excerpt, layout_of, spans_of
from pipeline.contracts.windows import WindowSet

Step = tuple[str, NDArray[np.int64]]
"""A leading domain, and windows of it."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Segment:
    """Arrays in memory, and the steps that are made from them; windows count in these arrays."""

    feeds: Feeds
    steps: Sequence[Step]


@dataclass(frozen=True, kw_only=True)
class StepPlan:
    """Windows of one step, and steps of one epoch, of one domain."""

    size: int
    steps: int


def step_plan(windows: int, nodes: int, config: ModelConfig, processes: int = 1) -> StepPlan:
    """So many windows as `rows` allows, at least one a process; enough steps to see all once, within the bounds."""
    size = max(processes, min(config.batch, config.rows // nodes, windows))
    return StepPlan(size=size, steps=min(max(-(-windows // size), config.least_steps), config.steps))


def streaming_layout(
    windows: WindowSet, train: Mapping[str, NDArray[np.int64]], plans: Mapping[str, StepPlan], reach: Mapping[str, int], config: ModelConfig
) -> Layout:
    """What of the windows a streamed training holds; reach: newest steps that others see of each domain."""
    share = min(1.0, config.stream_together / config.stream_chunks)
    drawn = {d: (windows.domains[d].issue_time_W[train[d]], math.ceil(plan.size * plan.steps * share)) for d, plan in plans.items()}
    return layout_of(windows, drawn, share, reach)


def generator(seed: int, epoch: int) -> torch.Generator:
    """The random numbers of one epoch's order and dropout."""
    return torch.Generator().manual_seed(seed * 1_000_003 + epoch + 1)


def shuffled(counts: Mapping[str, int], chance: torch.Generator) -> list[str]:
    """Each domain as often as it has steps, in random order."""
    names = list(counts)
    turns = np.repeat(np.arange(len(names)), [counts[name] for name in names])
    return [names[k] for k in turns[torch.randperm(len(turns), generator=chance).numpy()]]


def batches(train_W: NDArray[np.int64], size: int, steps: int, chance: torch.Generator) -> Iterator[NDArray[np.int64]]:
    """Windows of each step, in time order within it; none comes again before all have come."""
    passes = -(-size * steps // len(train_W))
    order = torch.cat([torch.randperm(len(train_W), generator=chance) for _ in range(passes)]).numpy()
    for k in range(steps):
        yield train_W[np.sort(order[k * size : (k + 1) * size])]


class Resident:
    """All arrays lie in memory: an epoch is one segment."""

    def __init__(self, feeds: Feeds, train: Mapping[str, NDArray[np.int64]], plans: Mapping[str, StepPlan]) -> None:
        self._feeds, self._train, self._plans = feeds, train, plans

    def segments(self, active: Sequence[str], chance: torch.Generator) -> Iterator[Segment]:
        """The segments of one epoch, for the domains that still train."""
        order = shuffled({d: self._plans[d].steps for d in active}, chance)
        windows = {d: batches(self._train[d], self._plans[d].size, self._plans[d].steps, chance) for d in active}
        yield Segment(feeds=self._feeds, steps=[(d, next(windows[d])) for d in order])


class Streamed:
    """Arrays that need not fit in memory: an epoch goes chunk by chunk of time, in random order, a few chunks at once.

    Windows are shuffled within the chunks that are in memory together; every chunk comes at most once an epoch, and as many
    come as the steps of the domain with the most windows ask for. Small domains lie in memory whole: their windows come from
    all of time, with what those see of the others.

    Args:
        feeds: Makes the feeds of an excerpt.
        windows: All arrays, such as memory-mapped ones.
        train: Training windows of each leading domain.
        plans: Steps of each.
        chunks, together: In how many chunks time is cut, and how many are in memory at once.
        layout: Which domains lie in memory whole.
    """

    def __init__(
        self,
        feeds: Callable[[WindowSet], Feeds],
        windows: WindowSet,
        train: Mapping[str, NDArray[np.int64]],
        plans: Mapping[str, StepPlan],
        chunks: int,
        together: int,
        layout: Layout,
    ) -> None:
        self._feeds, self._windows, self._train, self._plans, self._together = feeds, windows, train, plans, together
        self._layout = layout
        streamed = [windows.domains[d].issue_time_W[w] for d, w in train.items() if d not in layout.whole]
        self._cuts = _cuts(streamed or [windows.domains[d].issue_time_W[w] for d, w in train.items()], chunks)
        self._chunk_of = {d: np.searchsorted(self._cuts, windows.domains[d].issue_time_W[w], side="right") - 1 for d, w in train.items()}

    def segments(self, active: Sequence[str], chance: torch.Generator) -> Iterator[Segment]:
        """The segments of one epoch, for the domains that still train."""
        count = len(self._cuts) - 1
        largest = max(self._train, key=lambda d: len(self._train[d]))
        share = min(1.0, self._plans[largest].size * self._plans[largest].steps / len(self._train[largest]))
        order = torch.randperm(count, generator=chance).numpy()
        pools = [np.sort(order[k : k + self._together]) for k in range(0, max(1, math.ceil(count * share)), self._together)]
        visited = sum(len(pool) for pool in pools) / count
        whole = {d: batches(self._train[d], self._plans[d].size, self._plans[d].steps, chance) for d in active if d in self._layout.whole}
        made = dict.fromkeys(active, 0.0)
        for pool in pools:
            inside = {d: np.flatnonzero(np.isin(self._chunk_of[d], pool)) for d in active if d not in whole}
            shares = {d: len(inside[d]) / len(self._train[d]) if d in inside else len(pool) / count for d in active}
            steps = {}
            for d in active:
                before = made[d]
                made[d] += self._plans[d].steps * shares[d] / visited
                steps[d] = round(made[d]) - round(before)
            turns: dict[str, Iterator[NDArray[np.int64]]] = {
                d: batches(np.arange(len(w)), self._plans[d].size, steps[d], chance) for d, w in inside.items() if len(w)
            }
            lone = {d: list(islice(w, steps[d])) for d, w in whole.items()}
            turns |= {d: iter(w) for d, w in lone.items()}
            excerpted = self._excerpt(pool, {d: self._train[d][w] for d, w in inside.items()}, lone)
            drawn = shuffled({d: n for d, n in steps.items() if d in turns}, chance)
            yield Segment(feeds=self._feeds(excerpted), steps=[(d, next(turns[d])) for d in drawn])

    def _excerpt(
        self, pool: NDArray[np.int64], index: Mapping[str, NDArray[np.int64]], lone: Mapping[str, Sequence[NDArray[np.int64]]]
    ) -> WindowSet:
        chunks = [(float(self._cuts[k]), float(self._cuts[k + 1])) for k in pool]
        instants = np.concatenate(
            [np.zeros(0, np.int64), *(self._windows.domains[d].issue_time_W[w] for d, ws in lone.items() for w in ws)]
        )
        none = np.zeros(0, np.int64)
        domains = dict(self._windows.domains)
        for name in self._layout.rows:
            kept = spans_of(domains[name], chunks, instants, self._layout.reach.get(name, 0))
            domains[name] = excerpt(domains[name], kept, index.get(name, none))
        return replace(self._windows, domains=domains)


def _cuts(issue_times: Sequence[NDArray[np.int64]], chunks: int) -> NDArray[np.float64]:
    """Instants between which about as many windows are issued, those of each domain counted as one."""
    times = np.concatenate(issue_times)
    weight = np.concatenate([np.full(len(t), 1 / len(t)) for t in issue_times])
    order = np.argsort(times, kind="stable")
    done = np.cumsum(weight[order]) / weight.sum()
    inner = times[order][np.searchsorted(done, np.arange(1, chunks) / chunks).clip(max=len(times) - 1)]
    return np.unique(np.concatenate([[times.min()], inner, [times.max() + 1]]).astype(np.float64))

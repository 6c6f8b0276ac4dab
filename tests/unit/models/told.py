"""Forecasts by others and documents, planted so that what they tell is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from pipeline.contracts.windows import DomainWindows, Future, Scaler, Texts, WindowSet
from tests.unit.models.conftest import START
from tests.unit.models.planted import Planted, plant, together

STEP = 1800
JAM = 7
"""The token after which counts rise for four steps at the nodes of its place."""


def jammed(days: int = 10, nodes: int = 4, seed: int = 3) -> tuple[DomainWindows, Texts, NDArray[np.float32]]:
    """Counts that jump when a document says so, and by a drift that only others can foresee; the drift itself."""
    chance = np.random.default_rng(seed)
    steps, horizon = 48 * days, 4
    drift = chance.normal(0, 1, (steps + horizon, nodes)).astype(np.float32)
    values = 10 + 2 * drift + chance.normal(0, 0.2, drift.shape)
    at = np.sort(chance.choice(steps - 8, steps // 8, replace=False))
    place = chance.integers(0, 2, len(at))
    for step, where in zip(at, place, strict=True):
        values[step + 1 : step + 5, where::2] += 4
    values[steps:] = np.nan
    domain = plant(
        Planted(
            domain="road",
            values_TNV=values[..., None].astype(np.float32),
            valid_time_T=START + STEP * np.arange(steps + horizon, dtype=np.int64),
            variables=("count",),
            context=6,
            horizon=horizon,
            slots_per_day=48,
            step_seconds=STEP,
        )
    )
    noise = np.sort(chance.choice(steps, steps // 4))
    when = np.concatenate([at, noise])
    order = np.argsort(when, kind="stable")
    tokens = [np.array([JAM, 100 + k % 50, JAM], np.int32) if k < len(at) else chance.integers(20, 90, 2).astype(np.int32) for k in order]
    links = (np.array([[0, 1, 2, 3], [0, 1, 0, 1]], np.int32), np.ones(4, np.float32))
    texts = Texts(
        reach=4 * STEP,
        buckets=256,
        place_ids=("north", "south"),
        available_time_D=START + STEP * when[order].astype(np.int64),
        valid_time_D=START + STEP * when[order].astype(np.int64),
        place_D=np.concatenate([place, chance.integers(0, 2, len(noise))])[order].astype(np.int32),
        token_start_D=np.concatenate([[0], np.cumsum([len(t) for t in tokens])]).astype(np.int64),
        token=np.concatenate(tokens),
        links={"road": links},
    )
    return domain, texts, drift


def foreseen(domain: DomainWindows, drift_TN: NDArray[np.float32], every: int = 2, length: int = 7) -> DomainWindows:
    """The domain with runs, one every few steps and known a step later, that foresee the drift."""
    first = np.arange(0, len(drift_TN), every, dtype=np.int32)
    inside = first[:, None] + np.arange(length) < len(drift_TN)
    values = drift_TN[np.minimum(first[:, None] + np.arange(length), len(drift_TN) - 1)][..., None] * inside[..., None, None]
    init = START + STEP * first.astype(np.int64)
    available = init + STEP
    one = np.ones((1, 1), np.float32)
    future = Future(
        scaler=Scaler(center_NV=0 * one, scale_NV=one, relative_NV=0 * one),
        variables=("drift",),
        units=("1",),
        init_time_I=init,
        available_time_I=available,
        first_step_I=first,
        values_IHNF=values.astype(np.float32),
        good_IHNF=np.broadcast_to(inside[..., None, None], values.shape).copy(),
        run_W=(np.searchsorted(available, domain.issue_time_W, side="right") - 1).astype(np.int32),
    )
    return replace(domain, future=future)


def informed(days: int = 10) -> WindowSet:
    """A road whose jumps are written of and whose drift others foresee."""
    domain, texts, drift = jammed(days)
    return replace(together(foreseen(domain, drift)), texts={"news": texts})

from __future__ import annotations

import numpy as np
import pytest

from pipeline.contracts.windows import DomainWindows, WindowSet
from tests.unit.models.planted import Planted, plant, together

START = 1_406_851_200


def road(days: int = 8, nodes: int = 5, seed: int = 0) -> DomainWindows:
    """Half-hourly counts with a daily rhythm, a shock that reaches all nodes four steps after node 0, and 5 % missing."""
    chance = np.random.default_rng(seed)
    steps, horizon = 48 * days, 4
    slot = np.arange(steps + horizon) % 48
    rhythm = 10 + 8 * np.sin(2 * np.pi * slot / 48)
    shock = chance.normal(0, 2, steps + horizon)
    for s in range(1, len(shock)):
        shock[s] = 0.8 * shock[s - 1] + 0.6 * shock[s]
    values = np.stack([rhythm * (1 + 0.2 * n) + (shock if n == 0 else np.roll(shock, 4)) for n in range(nodes)], 1)
    second = values * 0.5 + chance.normal(0, 0.3, values.shape)
    both = np.stack([values + chance.normal(0, 0.3, values.shape), second], -1).astype(np.float32)
    both[chance.random(both.shape) < 0.05] = np.nan
    both[steps:] = np.nan
    edges = np.array([[0] * (nodes - 1), list(range(1, nodes))], np.int32)
    return plant(
        Planted(
            domain="road",
            values_TNV=both,
            valid_time_T=START + 1800 * np.arange(steps + horizon, dtype=np.int64),
            variables=("count", "speed"),
            context=8,
            horizon=horizon,
            slots_per_day=48,
            step_seconds=1800,
            seasons=(("1d", 48),),
            coarse=(4, 3),
            lower=0.0,
            edges_2E=edges,
        )
    )


def sky(days: int = 8, seed: int = 1) -> DomainWindows:
    """Hourly cells of a 2 x 3 grid, known ten minutes late."""
    chance = np.random.default_rng(seed)
    steps, horizon = 24 * days, 3
    values = np.cumsum(chance.normal(0, 1, (steps + horizon, 6, 1)), 0).astype(np.float32)
    values[steps:] = np.nan
    return plant(
        Planted(
            domain="sky",
            values_TNV=values,
            valid_time_T=START + 3600 * np.arange(steps + horizon, dtype=np.int64),
            variables=("temperature",),
            context=5,
            horizon=horizon,
            slots_per_day=24,
            step_seconds=3600,
            latency=600,
            grid_shape=(2, 3),
        )
    )


def shop(sessions: int = 60, seed: int = 2) -> DomainWindows:
    """Daily prices, scaled relative to the newest one; the second variable is no target."""
    chance = np.random.default_rng(seed)
    prices = 50 * np.exp(np.cumsum(chance.normal(0, 0.01, (sessions + 2, 3, 2)), 0)).astype(np.float32)
    prices[sessions:] = np.nan
    start = START + 8 * 86400 - sessions * 86400
    return plant(
        Planted(
            domain="shop",
            values_TNV=prices,
            valid_time_T=start + 86400 * np.arange(sessions + 2, dtype=np.int64) + 72000,
            variables=("close", "open"),
            context=4,
            horizon=2,
            slots_per_day=1,
            step_seconds=86400,
            relative=True,
            targets=(0,),
        )
    )


@pytest.fixture(scope="session")
def city() -> WindowSet:
    return together(road(), sky(), shop())

"""A made-up domain for tests of monitoring: many sensors with days, weeks, weather in common, noise and holes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from pipeline.contracts.cubes import DomainCube, Revisions
from pipeline.contracts.flags import Flag
from pipeline.contracts.nodes import NodeSet
from pipeline.contracts.world_files import load_world
from pipeline.contracts.worlds import World

DAY = 86400
START = 1_700_006_400
"""A midnight in UTC."""

TOWN = """
name = "town"
title = "A town of sensors"
start = "2023-11-15T00:00Z"
[sources.road]
adapter = "csv"
latency = "5min"
[sources.road.variables]
speed = { unit = "km/h", to = "m s-1" }
count = { unit = "count" }
[sources.sky]
adapter = "csv"
[sources.sky.variables]
temperature = { unit = "degC" }
rain = { unit = "mm/h" }
[domains.road]
title = "Roads"
clock = { step = "30min" }
context = 12
horizon = 4
seasons = ["1d"]
[domains.road.variables]
speed = { source = "road", scale = "node" }
count = { source = "road", scale = "node", lower = 0.0 }
[domains.sky]
title = "Sky"
clock = { step = "1h" }
context = 12
horizon = 4
seasons = ["1d"]
[domains.sky.variables]
temperature = { source = "sky" }
rain = { source = "sky", lower = 0.0 }
"""


def town(folder: Path, more: str = "") -> World:
    file = folder / "town.toml"
    file.write_text(TOWN + more)
    return load_world(str(file))


def drawn(random: np.random.Generator, steps: int, a_day: int, nodes: int) -> np.ndarray:
    """Days, weeks and what all have in common; a share of days differs from node to node."""
    hour = np.arange(steps) / a_day
    common = np.repeat(random.normal(0, 0.5, steps // a_day + 1), a_day)[:steps]
    own = np.repeat(random.normal(0, 0.2, (steps // a_day + 1, nodes)), a_day, axis=0)[:steps]
    weekend = (np.floor(hour) % 7 >= 5) * 0.7
    return (np.sin(2 * np.pi * hour) + common - weekend)[:, None] + own + random.normal(0, 0.4, (steps, nodes))


def cube_of(world: World, name: str, days: int, nodes: int, seed: int = 3) -> DomainCube:
    """All of a domain's values over some days, in its units, 5 % missing and a day off now and then."""
    random = np.random.default_rng(seed)
    domain = world.domains[name]
    step = int(domain.clock.step.total_seconds())
    a_day, steps = DAY // step, days * DAY // step
    wave = drawn(random, steps, a_day, nodes)
    if name == "road":
        speed = (14 + random.normal(0, 2, nodes) + 2.0 * wave).round(1)
        first, second = speed, random.poisson(np.exp(0.8 * drawn(random, steps, a_day, nodes)))
    else:
        season = np.linspace(0, 1, steps)[:, None]
        first = (12 + season + 4 * wave).round(1)
        falls = np.repeat(random.random(steps // 8 + 1) < 0.6, 8)[:steps]
        second = np.where(falls[:, None], random.gamma(0.7, 1.0, (steps, nodes)), 0.0).round(1)
    values = np.stack([first, second], axis=-1).astype(np.float32)
    values[random.random(values.shape) < 0.05] = np.nan
    flags = np.where(np.isfinite(values), 0, int(Flag.MISSING)).astype(np.uint16)
    places = random.uniform(0, 1, (2, nodes))
    return DomainCube(
        domain=name,
        as_of=START + days * DAY,
        snapshot="S",
        valid_time=START + step * np.arange(1, steps + 1, dtype=np.int64),
        nodes=NodeSet(ids=tuple(f"n{n:03d}" for n in range(nodes)), latitude=places[0], longitude=places[1]),
        variables=tuple(domain.variables),
        units=("1", "1"),
        values_TNV=values,
        flags_TNV=flags,
        latency_TNV=np.zeros(values.shape, np.int32),
        revisions=Revisions.empty(),
    )


def until(cube: DomainCube, moment: int) -> DomainCube:
    """A cube as of an instant."""
    keep = cube.valid_time <= moment
    return replace(
        cube, as_of=moment, valid_time=cube.valid_time[keep], values_TNV=cube.values_TNV[keep].copy(), flags_TNV=cube.flags_TNV[keep].copy()
    )

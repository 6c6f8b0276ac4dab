"""A made-up forecast of realistic size, for the page's tests and for looking at it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from pipeline.contracts.cubes import NEVER, DomainCube, Revisions
from pipeline.contracts.flags import Flag
from pipeline.contracts.forecasts import DomainForecast, Forecast
from pipeline.contracts.nodes import NodeSet
from pipeline.contracts.scores import Promotion, Scorecard
from pipeline.contracts.world_files import parse_world
from pipeline.contracts.worlds import World
from pipeline.monitoring.freshness import freshness, inputs
from pipeline.publishing.page_inputs import Earlier, PageInputs, ReplayCard
from pipeline.verification.events import event_probability
from pipeline.verification.grounds import Grounds
from pipeline.verification.metrics import score_rows
from pipeline.verification.promotion import verdicts
from pipeline.verification.scoring import score_windows
from pipeline.verification.statistics import Axis, Statistics

ISSUE_TIME = 1412092800
SPREAD = np.array([-1.64, -1.28, -0.67, 0, 0.67, 1.28, 1.64])
LEVELS = {
    "vehicle_count": (9.0, 2.0),
    "average_speed": (58.0, 6.0),
    "temperature": (14.0, 1.2),
    "occupied": (320.0, 20.0),
    "close": (75.0, 1.1),
}
WORLD = """
name = "demo"
title = "Demo city, September 2014"
description = "A made-up city: road segments, weather, car parks and a market, each on its own clock."
timezone = "Europe/Copenhagen"
start = "2014-08-01T00:00Z"
[sources.made]
adapter = "synthetic"
[sources.made.variables]
vehicle_count = { unit = "count" }
average_speed = { unit = "km/h" }
temperature = { unit = "degC" }
occupied = { unit = "count" }
close = { unit = "USD" }
[sources.foreseen]
adapter = "synthetic"
runs = "6h"
ahead = "1d"
[sources.foreseen.variables]
temperature = { unit = "degC" }
[sources.said]
adapter = "synthetic"
text = { column = "text" }
[texts.road_notices]
source = "said"
reach = "6h"
[texts.events]
source = "said"
reach = "7d"
[domains.traffic]
title = "Road traffic"
clock = { step = "5min" }
context = 24
horizon = 12
[domains.traffic.future]
source = "foreseen"
[domains.traffic.future.variables]
temperature = {}
[domains.traffic.variables]
vehicle_count = { source = "made", long_name = "vehicles per 5 minutes", lower = 0.0 }
average_speed = { source = "made", long_name = "average speed", lower = 0.0 }
[domains.traffic.events.slow]
variable = "average_speed"
below = 40.0
title = "slow traffic"
[domains.traffic.events.rush]
variable = "vehicle_count"
above = 20.0
title = "a rush of vehicles"
warn_at = 0.4
[domains.weather]
title = "City weather"
clock = { step = "1h" }
context = 48
horizon = 24
[domains.weather.future]
source = "foreseen"
[domains.weather.future.variables]
temperature = {}
[domains.weather.variables]
temperature = { source = "made", long_name = "air temperature" }
[domains.weather.events.frost]
variable = "temperature"
below = 0.0
title = "frost"
[domains.parking]
title = "Car parks"
clock = { step = "30min" }
context = 48
horizon = 8
[domains.parking.variables]
occupied = { source = "made", long_name = "occupied spaces", lower = 0.0 }
[domains.market]
title = "Shares"
clock = { calendar = "XNYS" }
context = 20
horizon = 5
[domains.market.variables]
close = { source = "made", long_name = "closing price", scale = "relative" }
"""
RUN = {"init_time": "2014-09-30T12:00:00Z", "known_time": "2014-09-30T15:00:00Z", "age_seconds": 14400, "share_present": 0.875}
SEEN = {
    "future": {"traffic": RUN, "weather": None},
    "texts": {"road_notices": {"documents": 1204, "age_seconds": 1500}, "events": {"documents": 0, "age_seconds": None}},
}
NODES = {"traffic": 500, "weather": 1, "parking": 8, "market": 481}


def demo_world() -> World:
    return parse_world(WORLD, "demo.toml")


def _step(domain: str) -> int:
    return {"traffic": 300, "weather": 3600, "parking": 1800, "market": 86400}[domain]


def _nodes(domain: str, count: int, random: np.random.Generator) -> NodeSet:
    ids = tuple(f"{domain[:3].upper()}{158000 + 7 * i}" for i in range(count))
    if domain == "market":
        return NodeSet(ids=ids, latitude=np.full(count, np.nan), longitude=np.full(count, np.nan))
    if domain != "traffic":
        return NodeSet(ids=ids, latitude=56.15 + random.normal(0, 0.01, count), longitude=10.2 + random.normal(0, 0.02, count))
    angle, radius = random.choice(14, count) * 2 * np.pi / 14 + random.normal(0, 0.03, count), random.beta(1.1, 1.6, count)
    length = random.uniform(0.02, 0.05, count)
    start = np.stack([56.15 + 0.11 * radius * np.cos(angle), 10.19 + 0.2 * radius * np.sin(angle)], axis=1)
    end = start + np.stack([0.11 * length * np.cos(angle), 0.2 * length * np.sin(angle)], axis=1)
    return NodeSet(ids=ids, latitude=start[:, 0], longitude=start[:, 1], ends=np.concatenate([start, end], axis=1))


def _cube(domain: str, world: World, count: int, random: np.random.Generator) -> DomainCube:
    settings, step = world.domains[domain], _step(domain)
    variables = tuple(settings.variables)
    times = np.arange(ISSUE_TIME - 96 * step, ISSUE_TIME + 1, step, dtype=np.int64) // step * step
    level = np.array([LEVELS[v][0] for v in variables]) * random.lognormal(0, 0.6 if domain in ("traffic", "market") else 0.2, (count, 1))
    walk = (
        np.cumsum(random.normal(0, 0.25, (len(times), count, len(variables))), axis=0) * np.array([LEVELS[v][1] for v in variables]) * 0.3
    )
    values = np.maximum(0, level + walk + random.normal(0, 0.2, walk.shape)).astype(np.float32)
    values[random.random(values.shape) < 0.06] = np.nan
    flags = np.where(np.isfinite(values), 0, int(Flag.MISSING)).astype(np.uint16)
    return DomainCube(
        domain=domain,
        as_of=ISSUE_TIME,
        snapshot="DEMOSNAPSHOT",
        valid_time=times,
        nodes=_nodes(domain, count, random),
        variables=variables,
        units=tuple(world.sources["made"].variables[v].unit for v in variables),
        values_TNV=values,
        flags_TNV=flags,
        latency_TNV=np.where(flags == 0, np.int32(0), NEVER),
        revisions=Revisions.empty(),
    )


def _domain_forecast(world: World, cube: DomainCube, leads: int, parts: tuple[str, ...], random: np.random.Generator) -> DomainForecast:
    step, nodes, variables = _step(cube.domain), len(cube.nodes), cube.variables
    valid = cube.valid_time[-1] + step * np.arange(1, leads + 1, dtype=np.int64)
    last = np.nan_to_num(cube.values_TNV[-1], nan=float(np.nanmean(cube.values_TNV)))
    split = random.normal(0, 0.4, (leads, nodes, len(variables), len(parts))) * np.array([LEVELS[v][1] for v in variables])[:, None] * 0.4
    split[..., 0] = last
    median = split.sum(axis=-1)
    width = np.array([LEVELS[v][1] for v in variables]) * np.sqrt(1 + np.arange(leads))[:, None, None] * 0.35
    quantiles = np.maximum(0, median[..., None] + width[..., None] * SPREAD).astype(np.float32)
    declared = world.domains[cube.domain].events.items()
    events = {name: event_probability(event, quantiles[:, :, variables.index(event.variable)]) for name, event in declared}
    return DomainForecast(
        domain=cube.domain,
        variables=variables,
        units=cube.units,
        node_ids=cube.nodes.ids,
        valid_time_L=valid,
        lead_time_L=valid - ISSUE_TIME,
        quantiles_LNVQ=quantiles,
        parts=parts,
        split_LNVP=split.astype(np.float32),
        events={name: probability.astype(np.float32) for name, probability in events.items()},
        model_V=tuple("ridge" if v == "close" else "joint" for v in variables),
    )


def scored(
    world: World,
    domain: str,
    leads: int,
    random: np.random.Generator,
    models: dict[str, float],
    windows: int,
    grounds: Grounds | None = None,
) -> Statistics:
    variables = tuple(world.domains[domain].variables)
    axis = Axis(
        variables=variables,
        units=tuple(world.sources["made"].variables[v].unit for v in variables),
        lead_times=tuple(_step(domain) * (i + 1) for i in range(leads)),
    )
    size = np.array([LEVELS[v][1] for v in variables]) * np.linspace(0.7, 1.4, leads)[:, None, None]
    truth = np.full((windows, leads, 5, len(variables)), 50, np.float32)
    noise = random.normal(0, 1, truth.shape)
    found = Statistics.zero()
    for model, error in models.items():
        grow = np.linspace(1, 1.5 if model == "persistence" else 1.05, leads)[:, None, None]
        quantiles = (truth + noise * size * error * grow)[..., None] + (size * error * grow)[..., None] * SPREAD
        found = found + score_windows(
            domain=domain,
            axis=axis,
            model=model,
            issue_time_W=ISSUE_TIME - 12 * 86400 + np.arange(windows, dtype=np.int64) * 14400,
            truth_WLNV=truth,
            good_WLNV=np.ones(truth.shape, bool),
            quantiles_WLNVQ=quantiles.astype(np.float32),
            grounds=grounds or Grounds(),
        )
    return found


def _before(domains: dict[str, DomainForecast], hours: int, random: np.random.Generator) -> Earlier:
    """What was issued some hours before, and what came of it."""
    shift = 3600 * hours
    moved = {
        name: replace(
            d,
            valid_time_L=d.valid_time_L - shift,
            quantiles_LNVQ=d.quantiles_LNVQ + np.float32(random.normal(0, 0.02) * LEVELS[d.variables[0]][0]),
        )
        for name, d in domains.items()
    }
    came = {n: d.quantiles_LNVQ[..., 3] + random.normal(0, 0.6, d.split_LNVP.shape[:3]).astype(np.float32) for n, d in moved.items()}
    return Earlier(forecast=Forecast(world="demo", issue_time=ISSUE_TIME - shift, domains=moved, provenance={}), came=came)


def _looked(d: DomainForecast, world: World, random: np.random.Generator) -> dict[str, Any]:
    """Occlusion and attention of three changes per variable."""
    count, step, regions = len(d.node_ids), _step(d.domain), min(9, len(d.node_ids))
    changes = [
        {
            "variable": variable,
            "node": d.node_ids[(17 * i) % count],
            "lead": i,
            "last": float(d.quantiles_LNVQ[i, (17 * i) % count, v, 3] - (2 - i)),
            "time": random.normal(0, 0.5, 4).tolist(),
            "space": random.normal(0, 0.3, regions).tolist() if count > 1 else [],
            "modality": {name: float(random.normal(0, 0.2)) for name in world.domains if name != d.domain},
            "attention": {
                "time": [[step * 6, 0.2], [step * 3, 0.3], [0, 0.5]],
                "nodes": [[d.node_ids[int(n)], 0.1] for n in random.choice(count, min(8, count), replace=False)],
            },
        }
        for v, variable in enumerate(d.variables)
        for i in range(3)
    ]
    blocks = [[step * 24, step * 18], [step * 18, step * 12], [step * 12, step * 6], [step * 6, 0]]
    region = (np.arange(count) * regions // count).tolist()
    return {"blocks": blocks, "regions": regions, "region_N": region, "node_ids": list(d.node_ids), "changes": changes}


def demo_page(*, verified: bool = True, nodes: dict[str, int] | None = None) -> PageInputs:
    """The inputs of a page with 449 road segments, 12 leads and two variables, and three more domains."""
    random, world = np.random.default_rng(7), demo_world()
    cubes, domains, came, explanation = {}, {}, {}, {}
    statistics = later = walked = Statistics.zero()
    for name, settings in world.domains.items():
        cubes[name] = _cube(name, world, (nodes or NODES)[name], random)
        others = [d for d in world.domains if d != name]
        domains[name] = _domain_forecast(world, cubes[name], settings.horizon, ("anchor", "series", "space", *others), random)
        outcome = domains[name].quantiles_LNVQ[..., 3] + random.normal(0, 1, domains[name].split_LNVP.shape[:3]).astype(np.float32)
        outcome[settings.horizon // 2 :] = np.nan if name == "market" else outcome[settings.horizon // 2 :]
        came[name] = outcome
        count = len(cubes[name].nodes)
        explanation[name] = {
            "node_ids": list(cubes[name].nodes.ids),
            "alpha": random.uniform(0.4, 0.8, count).tolist(),
            "beta": random.uniform(0.3, 0.8, (count, settings.horizon)).tolist(),
            "w_x": dict.fromkeys(others, 0.02),
            "w_y": {d: random.normal(0, 0.05, settings.horizon).tolist() for d in others},
        }
        joint = 1.02 if name == "market" else 0.85
        models = {"joint": joint, "persistence": 1.2, "historical_average": 1.05, "ridge": 0.95}
        statistics = statistics + scored(world, name, settings.horizon, random, models, 72)
        later = later + scored(world, name, settings.horizon, random, {"published": 0.9, **models}, 3)
        walked = walked + scored(world, name, settings.horizon, random, {"published": 0.92, **models, "joint": joint + 0.04}, 60)
    state = inputs({d: freshness(cubes[d], as_of=ISSUE_TIME, steps=world.domains[d].context) for d in cubes})
    provenance = {
        "world": "demo",
        "world_digest": "ab" * 32,
        "code_version": "0.1.0+demo",
        "snapshot": "DEMOSNAPSHOT",
        "model_id": "demo-20140930-cafe",
        "issue_time": ISSUE_TIME,
        "inputs": state,
        "absent": [],
        **SEEN,
    }
    card = Scorecard(
        world="demo",
        model_id="demo-20140930-cafe",
        as_of="2014-09-30T16:00:00Z",
        fold="test",
        periods=dict.fromkeys(("traffic", "weather", "parking", "market"), ("2014-09-18T16:00:00Z", "2014-09-30T14:00:00Z")),
        snapshot="DEMOSNAPSHOT",
        windows=dict.fromkeys(world.domains, 72),
        rows=score_rows(statistics),
    )
    replay = card.model_copy(
        update={"model_id": "lane", "fold": "replay", "windows": dict.fromkeys(world.domains, 60), "rows": score_rows(walked)}
    )
    first = Promotion(
        world="demo",
        as_of="2014-09-23T16:00:00Z",
        model_id="demo-20140923-f00d",
        previous=None,
        verdicts=verdicts(statistics),
        reason="first",
    )
    why = "MAE 2.41 against 2.63 on 72 windows, better in 11 of 12 leads"
    second = first.model_copy(update={"as_of": card.as_of, "model_id": card.model_id, "previous": first.model_id, "reason": why})
    provenance["explanation"] = {name: _looked(d, world, random) for name, d in domains.items()}
    return PageInputs(
        world=world,
        forecast=Forecast(world="demo", issue_time=ISSUE_TIME, domains=domains, provenance=provenance),
        revision=0,
        cubes=cubes,
        came=came if verified else {},
        scorecard=card,
        replay=ReplayCard(card=replay, retrain="daily") if verified else None,
        verified=score_rows(later) if verified else (),
        verified_issues=3 if verified else 0,
        explanation=explanation,
        earlier=tuple(_before(domains, hours, random) for hours in (3, 2, 1)) if verified else (),
        promotions=(first, second),
        card={"recipe": "small", "parameters": 161234, "seed": 0, "as_of": "2014-09-30T16:00:00Z", "trained_seconds": 312.4},
        products={"Parquet": "parquet/", "Zarr, traffic": "zarr/domain=traffic/20140930T160000Z-r0-1234.zarr"},
        version="0.1.0",
    )


def weather_on_a_grid(page: PageInputs, rows: int) -> PageInputs:
    """The same page, its weather the cells of a grid."""
    cube = page.cubes["weather"]
    columns = len(cube.nodes) // rows
    latitude, longitude = np.meshgrid(56 + 0.1 * np.arange(rows)[::-1], 10 + 0.1 * np.arange(columns), indexing="ij")
    nodes = replace(cube.nodes, shape=(rows, columns), latitude=latitude.ravel(), longitude=longitude.ravel())
    return replace(page, cubes={**page.cubes, "weather": replace(cube, nodes=nodes)})

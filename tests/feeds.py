"""A small world with hand-made observations: two nodes or more, late, revised, repeated and flagged readings."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import numpy as np
import pyarrow as pa

from pipeline.api import BuildCubeRequest, Receipt
from pipeline.contracts.nodes import NodeSet
from pipeline.contracts.observations import REJECTION_SCHEMA, RowCounts
from pipeline.contracts.times import from_seconds, parse_instant, to_seconds
from pipeline.contracts.world_files import load_world
from pipeline.contracts.worlds import Source, World
from pipeline.settings import Settings
from pipeline.steps import build_cube
from pipeline.stores.objects import ObjectStore
from pipeline.stores.observations import ObservationStore
from pipeline.telemetry import QUIET

START = to_seconds(parse_instant("2025-10-24T00:00Z"))
"""Two days before the clocks of Copenhagen go back."""

WORLD = """
name = "little"
title = "A little world"
timezone = "Europe/Copenhagen"
start = "2025-10-24T00:00Z"

[sources.road]
adapter = "csv"
latency = "20min"
[sources.road.variables]
speed = { unit = "km/h" }
count = { unit = "count" }

[sources.shares]
adapter = "csv"
latency = "15min"
[sources.shares.variables]
close = { unit = "USD" }

[domains.traffic]
title = "Roads"
clock = { step = "30min" }
context = 6
horizon = 3
seasons = ["2h", "4h"]
coarse = { steps = 3, count = 2 }
chunk_steps = 10
graph = { kind = "none" }
[domains.traffic.variables]
speed = { source = "road", aggregate = "mean", anchor = "season" }
count = { source = "road", aggregate = "sum", scale = "node" }

[domains.slow]
title = "Roads by the hour"
clock = { step = "1h" }
context = 3
horizon = 2
chunk_steps = 7
[domains.slow.variables]
speed = { source = "road", aggregate = "last", max_age = "3h" }

[domains.market]
title = "Shares"
clock = { calendar = "XNYS" }
start = "2025-10-01T00:00Z"
context = 4
horizon = 2
[domains.market.variables]
close = { source = "shares", aggregate = "last", scale = "relative" }
"""


@dataclass(frozen=True)
class Row:
    """One row of a source: values are (value, flag) per variable; of a forecast with its run, of a document with its text."""

    node: str
    valid_time: int
    available_time: int
    values: dict[str, tuple[float, int]] = field(default_factory=dict)
    init_time: int = 0
    text: str = ""


@dataclass(frozen=True)
class Place:
    """A store and a world in a folder of their own."""

    settings: Settings
    file: str
    world: World


def make_place(folder: Path, text: str = WORLD, *, dask: str | None = None) -> Place:
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "little.toml"
    file.write_text(text)
    return Place(Settings(store=str(folder / "store"), data=None, dask=dask), str(file), load_world(str(file)))


def observe(place: Place, source: str, rows: Iterable[Row]) -> None:
    """Append rows as one batch of observations."""
    store = ObservationStore(ObjectStore(place.settings.store), place.world, source)
    rows = sorted(rows, key=lambda r: (r.valid_time, r.node, r.available_time))
    stamp = pa.timestamp("s", tz="UTC")
    columns = {
        "node": pa.array([r.node for r in rows], pa.string()).dictionary_encode(),
        "valid_time": pa.array([r.valid_time for r in rows], pa.int64()).cast(stamp),
        "available_time": pa.array([r.available_time for r in rows], pa.int64()).cast(stamp),
        "received_time": pa.array([r.available_time for r in rows], pa.int64()).cast(stamp),
        "delivery": pa.array(["d"] * len(rows), pa.string()).dictionary_encode(),
        "row": pa.array(range(1, len(rows) + 1), pa.int64()),
    }
    if "init_time" in store.schema.names:
        columns["init_time"] = pa.array([r.init_time for r in rows], pa.int64()).cast(stamp)
    if "text" in store.schema.names:
        columns |= {"text": pa.array([r.text for r in rows], pa.string()), "text_flag": pa.array([0] * len(rows), pa.uint16())}
    for name in store.variables:
        values = [r.values.get(name, (math.nan, 1)) for r in rows]
        columns[name] = pa.array([None if math.isnan(v) else v for v, _ in values], pa.float32())
        columns[f"{name}_flag"] = pa.array([f for _, f in values], pa.uint16())
    counts = RowCounts(raw=len(rows), observations=len(rows), duplicates=0, rejected=0)
    done = len(store.commits())
    store.append(
        pa.table(columns),
        REJECTION_SCHEMA.empty_table(),
        counts,
        deliveries=[done],
        places=_places(place.world.sources[source]),
        expected=done,
    )


def _places(source: Source) -> NodeSet | None:
    if source.nodes is None:
        return None
    ids, latitude, longitude = zip(*source.nodes.rows, strict=True)
    return NodeSet(ids=ids, latitude=np.array(latitude), longitude=np.array(longitude))


def build(place: Place, as_of: datetime | int) -> Receipt:
    moment = as_of if isinstance(as_of, datetime) else from_seconds(as_of)
    return build_cube.run(BuildCubeRequest(world=place.file, as_of=moment), place.settings, QUIET)


def random_rows(rng: np.random.Generator, *, hours: int, nodes: int = 3, variables: tuple[str, ...] = ("speed", "count")) -> list[Row]:
    """Readings every ten minutes or so; some late, some revised (also to bad, also with equal values), some bad, some absent."""
    rows = []
    for node in range(nodes):
        for valid in range(START - 3600, START + hours * 3600, 600):
            if rng.random() < 0.15:
                continue
            stamp = valid + int(rng.integers(0, 2)) * 60
            value = {v: _reading(rng) for v in variables}
            arrival = stamp + int(rng.choice([0, 300, 1200, 1500, 4000, 9000, 30000], p=[0.3, 0.3, 0.2, 0.05, 0.05, 0.05, 0.05]))
            rows.append(Row(f"n{node}", stamp, arrival, value))
            while rng.random() < 0.15:
                arrival += int(rng.choice([60, 900, 3600, 20000]))
                again = value if rng.random() < 0.3 else {v: _reading(rng) for v in variables}
                rows.append(Row(f"n{node}", stamp, arrival, again))
    return rows


def _reading(rng: np.random.Generator) -> tuple[float, int]:
    kind = rng.random()
    if kind < 0.08:
        return math.nan, 1
    if kind < 0.16:
        return float(np.float32(rng.normal(50, 10))), int(rng.choice([2, 4, 128]))
    return float(np.float32(rng.choice([rng.normal(50, 10), 7.0]))), 0

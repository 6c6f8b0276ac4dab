"""What do two Dask workers gain over one?

A cube of made-up sensors (1,000 of them, every five minutes, six variables) is built by a worker process and by two, in turns. All have their
libraries loaded, calculate on one thread and are held to a processor each: a worker that may use both helps itself with the second. What is timed is the
stage that workers share, the making of regions; the whole step is beside it. Observations are made up at rest, as `observe` leaves them.
`python -m benchmarks.cube_build`
"""

from __future__ import annotations

import io
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
import typer

from benchmarks.measure import setting
from pipeline.api import BuildCubeRequest
from pipeline.contracts.observations import REJECTION_SCHEMA, RowCounts
from pipeline.contracts.world_files import load_world
from pipeline.parallel import local_cluster
from pipeline.settings import Settings
from pipeline.steps import build_cube
from pipeline.stores.objects import ObjectStore
from pipeline.stores.observation_tables import dictionary_column
from pipeline.stores.observations import ObservationStore
from pipeline.telemetry import json_lines

BEGIN, STEP, DAY = datetime(2026, 1, 1, tzinfo=UTC), 300, 86400
SENSORS, VARIABLES, BATCH_DAYS = 1000, 6, 2
WORLD = """
name = "sensors"
title = "Made-up sensors"
start = "2026-01-01T00:00Z"
[sources.field]
adapter = "csv"
locations = ["data://*.csv"]
options = { time = "time", node_column = "sensor" }
[sources.field.variables]
SOURCES
[domains.field]
title = "Made-up sensors"
clock = { step = "5min" }
context = 24
horizon = 12
graph = { kind = "none" }
[domains.field.variables]
DOMAINS
"""


def write_world(path: Path) -> None:
    """A world of one domain with so many variables."""
    names = [f"v{n}" for n in range(VARIABLES)]
    text = WORLD.replace("SOURCES", "\n".join(f'{n} = {{ unit = "K", valid_min = 0.0 }}' for n in names))
    path.write_text(text.replace("DOMAINS", "\n".join(f'{n} = {{ source = "field" }}' for n in names)))


def write_observations(store: ObservationStore, days: int) -> int:
    """What `observe` would leave, in batches of two days; returns the rows."""
    random = np.random.default_rng(1)
    each = DAY // STEP
    names = [f"sensor-{n:04d}" for n in range(SENSORS)]
    node_R = np.repeat(np.arange(SENSORS, dtype=np.int32), each)
    stamp, total = pa.timestamp("s", tz="UTC"), 0
    for number, first in enumerate(range(0, days, BATCH_DAYS)):
        count = min(BATCH_DAYS, days - first)
        begin = int(BEGIN.timestamp()) + first * DAY
        valid = np.concatenate([np.tile(begin + d * DAY + np.arange(each) * STEP, SENSORS) for d in range(count)])
        rows = len(valid)
        columns = {"node": dictionary_column(np.tile(node_R, count), names)}
        columns |= {name: pa.array(valid, pa.int64()).cast(stamp) for name in ("valid_time", "available_time", "received_time")}
        columns |= {"delivery": dictionary_column(np.zeros(rows, np.int32), ["made up"]), "row": pa.array(np.arange(1, rows + 1))}
        for name in store.variables:
            walk = 280 + np.cumsum(random.normal(0, 0.3, rows).astype(np.float32)) % 20
            columns |= {name: pa.array(walk.round(1).astype(np.float32)), f"{name}_flag": pa.array(np.zeros(rows, np.uint16))}
        counts = RowCounts(raw=rows, observations=rows, duplicates=0, rejected=0)
        spans = [(begin + d * DAY, d * rows // count, (d + 1) * rows // count) for d in range(count)]
        table = pa.table(columns)
        store.append(table, REJECTION_SCHEMA.empty_table(), counts, deliveries=[number], expected=number, spans=spans)
        total += rows
    return total


def _hold(address: str) -> None:
    """Let each worker of a cluster use one processor."""
    import distributed

    Client: Any = distributed.Client
    with Client(address) as client:
        for n, worker in enumerate(sorted(client.scheduler_info(n_workers=-1)["workers"])):
            client.run(_held_to, sorted(os.sched_getaffinity(0))[n], workers=[worker])


def _held_to(processor: int) -> None:
    for thread in Path("/proc/self/task").iterdir():
        os.sched_setaffinity(int(thread.name), {processor})


def regions_seconds(stream: io.StringIO) -> float:
    """How long the stage took that the workers share."""
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    return next(float(line["seconds"]) for line in lines if line["stage"] == "regions" and line["event"] == "end")


def measured(base: Path, days: int, runs: int) -> tuple[int, dict[int, list[tuple[float, float]]]]:
    """The rows; and per count of workers, seconds of the regions and of the step, run by run."""
    found: dict[int, list[tuple[float, float]]] = {1: [], 2: []}
    world, settings = base / "sensors.toml", Settings(store=f"{base}/store", data=base, dask=None)
    write_world(world)
    rows = write_observations(ObservationStore(ObjectStore(settings.store), load_world(str(world)), "field"), days)
    with ExitStack() as stack:
        clusters = {processes: stack.enter_context(local_cluster(processes)).scheduler_address for processes in found}
        for address in clusters.values():
            _hold(address)
        for turn in range(runs + 1):
            for processes, address in clusters.items():
                shutil.rmtree(base / "store" / "cubes", ignore_errors=True)
                stream, began = io.StringIO(), time.perf_counter()
                until = BEGIN + timedelta(days=days if turn else 4)  # the first turn loads the libraries
                request = BuildCubeRequest(world=str(world), as_of=until)
                build_cube.run(request, Settings(store=settings.store, data=base, dask=address), json_lines(stream))
                found[processes] += [(regions_seconds(stream), time.perf_counter() - began)] if turn else []
    return rows, found


def report(rows: int, found: dict[int, list[tuple[float, float]]]) -> str:
    """As Markdown."""
    lines = ["| made by | regions, s | from–to | the step, s |", "|---|---:|---:|---:|"]
    medians = {n: [statistics.median(column) for column in zip(*times, strict=True)] for n, times in found.items()}
    for n, times in found.items():
        regions = [first for first, _ in times]
        lines.append(f"| {n} worker(s) | {medians[n][0]:.2f} | {min(regions):.2f}–{max(regions):.2f} | {medians[n][1]:.2f} |")
    gain = [one / two for one, two in zip(medians[1], medians[2], strict=True)]
    said = f"{rows:,} rows of {VARIABLES} variables; {len(found[1])} turns. {gain[0]:.2f} × on the regions (at least 1.6), {gain[1]:.2f} × on the step."
    return "\n".join([*lines, "", said])


def main(
    runs: Annotated[int, typer.Option(help="Turns.")] = 3,
    days: Annotated[int, typer.Option(help="Days of the sensors.")] = 100,
) -> None:
    """Measure, and print the table."""
    where = setting("distributed", "zarr", "icechunk", "pyarrow")
    with tempfile.TemporaryDirectory() as base:
        table = report(*measured(Path(base), days, runs))
    sys.stdout.write(f"## Two workers\n\n`python -m benchmarks.cube_build`: {where}.\n\n{table}\n")


if __name__ == "__main__":
    typer.run(main)

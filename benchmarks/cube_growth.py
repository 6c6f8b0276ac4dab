"""What does a day's append cost in a cube of ten years, against one of ten days?

A made-up network of 100 sensors that reports hourly; every day its provider puts up one file, which is landed, observed and built into the
cube. Two stores that differ in the length of their history alone take in the same days in turns, each day in a process of its own. Landing and
observations have a commit for each day of the history, the cube one for each of its last `--commits` days: more than a retention leaves.
`python -m benchmarks.cube_growth`
"""

from __future__ import annotations

import io
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any
from unittest import mock

import numpy as np
import typer

from benchmarks.measure import setting
from pipeline.api import BuildCubeRequest, LandRequest, ObserveRequest
from pipeline.contracts.deliveries import Delivery, Part
from pipeline.contracts.times import to_seconds
from pipeline.settings import Settings
from pipeline.steps import build_cube, land, observe
from pipeline.stores.cubes import CubeStore
from pipeline.stores.landing import LandingStore, _Writes
from pipeline.stores.objects import ObjectStore
from pipeline.telemetry import QUIET

END, SENSORS = datetime(2026, 1, 1, tzinfo=UTC), 100
WORLD = """
name = "growing"
title = "A network"
start = "START"
[sources.feed]
adapter = "csv"
locations = ["data://today.csv"]
options = { time = "time", node_column = "sensor" }
[sources.feed.variables]
flow = { unit = "count", valid_min = 0.0 }
[domains.roads]
title = "Roads"
clock = { step = "1h" }
context = 24
horizon = 12
graph = { kind = "none" }
[domains.roads.variables]
flow = { source = "feed" }
"""


def day_file(begin: datetime) -> bytes:
    """What the provider says of a day."""
    values = np.random.default_rng(to_seconds(begin)).poisson(50, (24, SENSORS)).tolist()
    out = io.StringIO("time,sensor,flow\n")
    out.seek(0, io.SEEK_END)
    for hour, row in enumerate(values, start=1):
        stamp = f"{begin + timedelta(hours=hour):%Y-%m-%dT%H:%M:%SZ}"
        out.writelines(f"{stamp},s{n:03d},{value}\n" for n, value in enumerate(row))
    return out.getvalue().encode()


def _part(data: bytes) -> Part:
    return Part(name="today.csv", location="data://today.csv", read=lambda: data)


class Store:
    """A store with a history of so many days before END."""

    def __init__(self, folder: Path, days: int, commits: int) -> None:
        folder.mkdir()
        self.folder, self._days, self._commits = folder, days, min(commits, days)
        self.world = folder / "growing.toml"
        self.world.write_text(WORLD.replace("START", f"{END - timedelta(days=days):%Y-%m-%dT%H:%MZ}"))
        self.settings = Settings(store=str(folder / "store"), data=folder, dask=None)

    def make_history(self) -> None:
        """Day by day into landing and observations, at once into the cube; nothing of this is measured, so nothing waits for the disk."""
        with mock.patch("os.fsync"), mock.patch.object(observe, "BATCH_BYTES", 1):
            objects = ObjectStore(self.settings.store)
            landing, writes = LandingStore(objects, "growing", "feed"), _Writes(objects)
            for number in range(self._days):
                begin = END + timedelta(days=number - self._days)
                delivery = Delivery(name="today.csv", parts=(_part(day_file(begin)),))
                landed = landing._landed(delivery, None, number, to_seconds(begin + timedelta(days=1)), writes)
                landing._commit([landed], number, writes)
            writes.close()
            observe.run(ObserveRequest(world=str(self.world), as_of=END), self.settings, QUIET)
        for back in reversed(range(self._commits)):
            build_cube.run(BuildCubeRequest(world=str(self.world), as_of=END - timedelta(days=back)), self.settings, QUIET)

    @property
    def commits(self) -> int:
        """Of the cube."""
        return len(CubeStore(self.settings.store, "growing").history())

    def append(self, number: int) -> dict[str, float]:
        """Take in day `number` after END in a process of its own: seconds of each step and of the process, and its peak of memory."""
        (self.folder / "today.csv").write_bytes(day_file(END + timedelta(days=number)))
        began = time.perf_counter()
        command = [sys.executable, "-m", "benchmarks.cube_growth", "--folder", str(self.folder), "--day", str(number)]
        done = subprocess.run(command, capture_output=True, check=True)
        found: dict[str, float] = json.loads(done.stdout)
        return found | {"process": time.perf_counter() - began}


def append_here(folder: Path, number: int) -> dict[str, float]:
    """The three steps of one day in this process."""
    world, as_of = str(folder / "growing.toml"), END + timedelta(days=number + 1)
    settings = Settings(store=str(folder / "store"), data=folder, dask=None)
    steps: dict[str, Any] = {
        "land": lambda: land.run(LandRequest(world=world, as_of=as_of, received_time=as_of), settings, QUIET),
        "observe": lambda: observe.run(ObserveRequest(world=world, as_of=as_of), settings, QUIET),
        "build-cube": lambda: build_cube.run(BuildCubeRequest(world=world, as_of=as_of), settings, QUIET),
    }
    found: dict[str, float] = {}
    for name, step in steps.items():
        began = time.perf_counter()
        if step().outcome != "done":
            sys.exit(f"{name} found nothing to do")
        found[name] = time.perf_counter() - began
    return found | {"all steps": sum(found.values()), "peak MiB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


def report(found: dict[int, list[dict[str, float]]]) -> str:
    """The figures as Markdown."""
    short, long = sorted(found)
    lines = [f"| what | {short:,} days | {long:,} days | ratio |", "|---|---:|---:|---:|"]
    for name in ("land", "observe", "build-cube", "all steps", "process", "peak MiB"):
        one, other = (statistics.median(turn[name] for turn in found[days]) for days in (short, long))
        digits = 0 if name == "peak MiB" else 3
        word = {"process": "the process, with its start, s", "peak MiB": "peak of memory, MiB"}.get(name, f"{name}, s")
        lines.append(f"| {word} | {one:,.{digits}f} | {other:,.{digits}f} | {other / one:.2f} |")
    return "\n".join([*lines, "", "At most: time 1.2, memory 1.2."])


def main(
    days: Annotated[int, typer.Option(help="Days of the long history.")] = 3650,
    runs: Annotated[int, typer.Option(help="Days appended to each.")] = 7,
    commits: Annotated[int, typer.Option(help="Days of the history that have a commit of their own in the cube, the last ones.")] = 365,
    folder: Annotated[Path | None, typer.Option(help="Append a day to this store; for the benchmark itself.")] = None,
    day: Annotated[int, typer.Option(help="Which.")] = 0,
) -> None:
    """Measure, and print the table."""
    if folder is not None:
        sys.stdout.write(json.dumps(append_here(folder, day)))
        return
    where = setting("pyarrow", "zarr", "icechunk")
    with tempfile.TemporaryDirectory() as base:
        stores = {length: Store(Path(base) / str(length), length, commits) for length in (10, days)}
        for length, store in stores.items():
            began = time.perf_counter()
            store.make_history()
            seconds = time.perf_counter() - began
            sys.stderr.write(f"a history of {length:,} days, {store.commits:,} commits of the cube, made in {seconds:.0f} s\n")
        made = " and ".join(f"{store.commits:,}" for store in stores.values())
        found: dict[int, list[dict[str, float]]] = {length: [] for length in stores}
        for number in range(runs + 1):
            for length, store in stores.items():
                turn = store.append(number)
                found[length] += [turn] if number else []  # the first finds cold files
    text = f"{SENSORS} sensors, hourly, a delivery and a commit each day, {made} commits of the cube before; median of {runs} days."
    sys.stdout.write(f"## A day's append\n\n`python -m benchmarks.cube_growth`: {where}.\n\n{text}\n\n{report(found)}\n")


if __name__ == "__main__":
    typer.run(main)

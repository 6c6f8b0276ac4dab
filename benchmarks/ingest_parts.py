"""Where does the time go while raw files become a cube?

The three steps of `benchmarks.ingest`, with a clock around their parts: processor seconds of the threads that work on each, without the
parts within it, and how long these threads took, waiting included. Threads overlap: their seconds add up to more than the step takes.
`python -m benchmarks.ingest_parts`
"""

from __future__ import annotations

import functools
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks.ingest import Ours
from benchmarks.measure import Cost, Costs, cost_of, setting
from pipeline.settings import read_settings

PARTS = {
    "read from disk": "stores.objects:ObjectStore.get sources.locations:_bytes_at",
    "sha256": "stores.landing:digest_bytes stores.observations:digest_bytes stores.objects:digest_bytes",
    "gunzip": "sources.csv:unpacked",
    "parse": "sources.delimited:_parse sources.delimited:_columns_of sources.delimited:_fast",
    "is each line one row": "sources.delimited:_all_lines sources.delimited:_short_lines sources.delimited:_well_quoted",
    "stamps, nodes, availability": "sources.csv:readings_of sources.csv:time_kind steps.intake:available_times",
    "rules": "steps.intake:screen steps.intake:findings steps.intake:accepted",
    "repeats": "steps.intake:orderly steps.intake:unrepeated steps.intake:by_series steps.intake:value_bits steps.intake:_taken",
    "order of days and nodes": "steps.observe:joined",
    "encode and compress Parquet": "stores.observations:ObservationStore._write_month",
    "write and fsync": "stores.objects:ObjectStore.put_if_absent stores.objects:ObjectStore.refresh",
    "decode Parquet": "stores.observations:ObservationStore.read",
    "onto the axis": "steps.build_cube:assemble steps.build_cube:gaps",
    "encode, prove, write chunks": "stores.cube_writer:RegionWriter.write",
    "books and commit": "stores.cube_writer:CubeWriter.prepare stores.cube_writer:CubeWriter.keep_books stores.cube_writer:CubeWriter.commit",
}


class Clock:
    """Seconds of parts; what a part calls that is a part itself is not counted twice."""

    def __init__(self) -> None:
        self.found: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
        self._threads, self._lock = threading.local(), threading.Lock()

    def around(self, part: str, work: Callable[..., Any]) -> Callable[..., Any]:
        """The same, timed."""

        @functools.wraps(work)
        def timed(*args: Any, **kwargs: Any) -> Any:
            within = self._threads.__dict__.setdefault("within", [])
            within.append([0.0, 0.0])
            began = time.perf_counter(), time.thread_time()
            try:
                return work(*args, **kwargs)
            finally:
                took = time.perf_counter() - began[0], time.thread_time() - began[1]
                inner = within.pop()
                with self._lock:
                    for n in (0, 1):
                        self.found[part][n] += took[n] - inner[n]
                        if within:
                            within[-1][n] += took[n]

        return timed

    def wind(self) -> None:
        """Put a clock around every part."""
        for part, places in PARTS.items():
            for place in places.split():
                module, _, path = place.partition(":")
                owner: Any = import_module(f"pipeline.{module}")
                *classes, name = path.split(".")
                for one in classes:
                    owner = getattr(owner, one)
                setattr(owner, name, self.around(part, getattr(owner, name)))


def start_cost(step: str) -> Cost:
    """What a process costs that loads a step and ends."""
    return cost_of(lambda: subprocess.run([sys.executable, "-c", f"import pipeline.steps.{step}"], check=True))


def main(runs: Annotated[int, typer.Option(help="Turns.")] = 5) -> None:
    """Measure, and print the table."""
    data = read_settings().data
    if data is None:
        sys.exit("no shared data: set CUBECAST_DATA")
    where, clock = setting("pyarrow", "numpy", "icechunk"), Clock()
    found: dict[tuple[str, str], list[tuple[float, float]]] = defaultdict(list)
    whole: dict[str, list[Cost]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as folder:
        ours = Ours(Path(folder), data, "*.csv.gz")
        steps = {"land": ours.land, "observe": ours.observe, "build_cube": ours.build}
        clock.wind()
        for turn in range(runs + 1):
            for name, step in steps.items():
                clock.found.clear()
                cost, start = cost_of(step), start_cost(name)
                if turn:  # the first loads the libraries
                    whole[name].append(cost)
                    known = [sum(v[n] for v in clock.found.values()) for n in (0, 1)]
                    for part, (wall, processor) in clock.found.items():
                        found[name, part].append((wall, processor))
                    found[name, "all else (Python between the parts)"].append((0.0, cost.processor - known[1]))
                    found[name, "start of the process, not counted above"].append((start.wall, start.processor))
    lines = ["| step | part | processor s | of the threads, s |", "|---|---|---:|---:|"]
    for name in steps:
        costs = Costs(runs=tuple(whole[name]))
        lines.append(f"| **{name}** | all | **{costs.processor:.2f}** | {costs.wall:.2f} wall |")
        rows = [(part, *map(statistics.median, zip(*seconds, strict=True))) for (of, part), seconds in found.items() if of == name]
        for part, wall, processor in sorted(rows, key=lambda row: (row[0].startswith("start"), -row[2])):
            if max(wall, processor) >= 0.01:
                lines.append(f"| | {part} | {processor:.2f} | {f'{wall:.2f}' if wall else '–'} |")
    sys.stdout.write(f"## Where the time of an ingest goes\n\n`python -m benchmarks.ingest_parts`: {where}.\n\n")
    sys.stdout.write(f"{ours.rows:,} rows; medians of {runs}.\n\n" + "\n".join(lines) + "\n")


if __name__ == "__main__":
    typer.run(main)

"""What do two Dask workers gain, and does a build keep to its plan when the cube is ten times what a process may use?

Speed-up: the regions of a cube of the road traffic of Aarhus, made by a worker process and by two that have all libraries loaded, in turns; what
is timed is the stage that they share. Memory: made-up GRIB grids of 500 x 1000 cells become a cube whose arrays are ten times the 1 GiB that each of two
workers may use; the memory of each worker, with the process that decodes for it, is looked at ten times a second.
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
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from benchmarks.ingest import AS_OF as ROADS_AS_OF
from benchmarks.ingest import Ours
from benchmarks.measure import setting
from pipeline.api import BuildCubeRequest, LandRequest, ObserveRequest
from pipeline.parallel import local_cluster
from pipeline.settings import Settings, read_settings
from pipeline.steps import build_cube, land, observe
from pipeline.telemetry import QUIET, json_lines

ROWS, COLUMNS, EACH, GIB = 500, 1000, 12, 2**30
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
WORLD = """
name = "wide"
title = "Wide"
start = "2026-01-01T00:00Z"
[sources.grids]
adapter = "grib"
locations = ["data://*.grib2"]
slabs = true
[sources.grids.variables]
warmth = { column = "t", unit = "K" }
[domains.warmth]
title = "Warmth"
kind = "grid"
clock = { step = "1h" }
chunk_steps = 12
context = 2
horizon = 1
graph = { kind = "none" }
[domains.warmth.variables]
warmth = { source = "grids", aggregate = "last" }
"""


def write_grids(folder: Path, steps: int) -> None:
    """Files of 12 hourly grids, the same noise packed in 10 bits in each of a file."""
    import eccodes

    random = np.random.default_rng(1)
    handle = eccodes.codes_grib_new_from_samples("regular_ll_sfc_grib2")
    keys: dict[str, float | str] = {
        "Ni": COLUMNS,
        "Nj": ROWS,
        "latitudeOfFirstGridPointInDegrees": 50.0,
        "longitudeOfFirstGridPointInDegrees": 0.0,
    }
    keys |= {"latitudeOfLastGridPointInDegrees": 50.0 - 0.01 * (ROWS - 1), "longitudeOfLastGridPointInDegrees": 0.01 * (COLUMNS - 1)}
    keys |= {"iDirectionIncrementInDegrees": 0.01, "jDirectionIncrementInDegrees": 0.01, "shortName": "t", "bitsPerValue": 10}
    for key, value in keys.items():
        eccodes.codes_set(handle, key, value)
    smooth = 280 + 10 * np.sin(np.arange(ROWS * COLUMNS) / 5000)
    for first in range(0, steps, EACH):
        pieces = []
        eccodes.codes_set_values(handle, smooth + random.normal(0, 0.5, ROWS * COLUMNS))
        for n in range(EACH):
            stamp = BEGIN + timedelta(hours=first + n + 1)
            eccodes.codes_set(handle, "dataDate", int(f"{stamp:%Y%m%d}"))
            eccodes.codes_set(handle, "dataTime", stamp.hour * 100)
            pieces.append(eccodes.codes_get_message(handle))
        (folder / f"{first:06d}.grib2").write_bytes(b"".join(pieces))


def regions_seconds(stream: io.StringIO) -> float:
    """How long the stage took that the workers share."""
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    return next(float(line["seconds"]) for line in lines if line["stage"] == "regions" and line["event"] == "end")


def speed_up(data: Path, runs: int) -> str:
    """One process against two, as Markdown."""
    found: dict[int, list[float]] = {1: [], 2: []}
    with tempfile.TemporaryDirectory() as base, ExitStack() as stack:
        ours = Ours(Path(base), data, "*.csv.gz")
        ours.land()
        ours.observe()
        clusters = {processes: stack.enter_context(local_cluster(processes)).scheduler_address for processes in found}
        for turn in range(runs + 1):
            for processes, address in clusters.items():
                settings = replace(ours._settings, dask=address)
                shutil.rmtree(Path(settings.store) / "cubes", ignore_errors=True)
                stream = io.StringIO()
                build_cube.run(BuildCubeRequest(world=str(ours.world), as_of=ROADS_AS_OF), settings, json_lines(stream))
                found[processes] += [regions_seconds(stream)] if turn else []  # the first loads the libraries
    one, two = (statistics.median(found[n]) for n in (1, 2))
    lines = ["| regions made by | seconds, median | from–to |", "|---|---:|---:|"]
    lines += [f"| {n} process(es) | {statistics.median(s):.2f} | {min(s):.2f}–{max(s):.2f} |" for n, s in found.items()]
    return "\n".join([*lines, "", f"{one / two:.2f} × (at least 1.6); {runs} turns."])


def _tree() -> dict[int, list[int]]:
    """Process -> its children, on this machine."""
    found: dict[int, list[int]] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            except (FileNotFoundError, ProcessLookupError):
                continue
            found.setdefault(parent, []).append(int(folder.name))
    return found


def _resident(process: int, tree: dict[int, list[int]]) -> int:
    """Bytes of a process and all below it."""
    try:
        own = int(Path(f"/proc/{process}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (FileNotFoundError, ProcessLookupError):
        own = 0
    return own + sum(_resident(child, tree) for child in tree.get(process, []))


@contextmanager
def peaks() -> Iterator[dict[int, int]]:
    """The most that each child of this process took, with all below it, while this lasts."""
    found: dict[int, int] = {}
    over = threading.Event()

    def look() -> None:
        while not over.wait(0.1):
            tree = _tree()
            for child in tree.get(os.getpid(), []):
                found[child] = max(found.get(child, 0), _resident(child, tree))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield found
    finally:
        over.set()
        thread.join()


def wide_cube(gib: float) -> str:
    """A cube of so many GiB on two workers of a tenth each, as Markdown."""
    steps = int(gib * GIB / (ROWS * COLUMNS * 10)) // EACH * EACH + EACH
    end = BEGIN + timedelta(hours=steps)
    with tempfile.TemporaryDirectory() as base:
        folder, world = Path(base) / "data", Path(base) / "wide.toml"
        folder.mkdir()
        world.write_text(WORLD)
        write_grids(folder, steps)
        settings = Settings(store=f"{base}/store", data=folder, dask=None)
        land.run(LandRequest(world=str(world), as_of=end, received_time=end), settings, QUIET)
        observe.run(ObserveRequest(world=str(world), as_of=end), settings, QUIET)
        began = time.perf_counter()
        with peaks() as found:
            limited = replace(settings, dask="processes:2", memory=GIB)
            receipt = build_cube.run(BuildCubeRequest(world=str(world), as_of=end), limited, QUIET)
        took = time.perf_counter() - began
        stored = sum(f.stat().st_size for f in (Path(base) / "store" / "cubes").rglob("*") if f.is_file())
    workers = sorted(found.values())[-2:]
    cells, planned = receipt.counts["written_cells"], receipt.details["planned_peak_bytes"]
    return (
        f"{cells:,} cells ({cells * 10 / GIB:.1f} GiB of arrays, {cells * 4 / GIB:.1f} of them float32 values; {stored / GIB:.1f} GiB at rest) "
        f"in {took:.0f} s, {cells / took / 1e6:.1f} million cells/s. Limit 1,024 MiB a worker, planned {planned / 2**20:,.0f} MiB, "
        f"seen at most {', '.join(f'{peak / 2**20:,.0f}' for peak in workers)} MiB: "
        f"{'within' if max(workers) <= planned else '**beyond**'} the plan."
    )


def main(
    runs: Annotated[int, typer.Option(help="Turns of the speed-up.")] = 5,
    gib: Annotated[float, typer.Option(help="GiB of the arrays of the large cube.")] = 10.0,
) -> None:
    """Measure, and print both."""
    data = read_settings().data
    if data is None:
        sys.exit("no shared data: set CUBECAST_DATA")
    where = setting("distributed", "zarr", "icechunk", "eccodes")
    sys.stdout.write(f"## Two workers, and a cube ten times as large as their memory\n\n`python -m benchmarks.cube_build`: {where}.\n\n")
    if runs:
        sys.stdout.write(speed_up(data, runs) + "\n\n")
    sys.stdout.flush()
    if gib:
        sys.stdout.write(wide_cube(gib) + "\n")


if __name__ == "__main__":
    typer.run(main)

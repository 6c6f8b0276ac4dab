"""Does a build keep to its plan when the cube is ten times what a process may use?

Made-up GRIB grids of 500 x 1000 cells become a cube whose arrays are ten times the 1 GiB that each of two workers may use; the memory of each
worker, with the process that decodes for it, and of the process that commits is looked at ten times a second. Needs 12 GB of disk where
temporary files lie (TMPDIR). `python -m benchmarks.cube_tenfold`
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from benchmarks.measure import peaks, setting
from pipeline.api import BuildCubeRequest, LandRequest, ObserveRequest
from pipeline.settings import Settings
from pipeline.steps import build_cube, land, observe
from pipeline.telemetry import plain_lines

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


def wide_cube(gib: float) -> str:
    """A cube of so many GiB on two workers that may use one each, as a row of Markdown."""
    steps = int(gib * GIB / (ROWS * COLUMNS * 10)) // EACH * EACH + EACH
    end = BEGIN + timedelta(hours=steps)
    with tempfile.TemporaryDirectory() as base:
        folder, world = Path(base) / "data", Path(base) / "wide.toml"
        folder.mkdir()
        world.write_text(WORLD)
        progress = plain_lines(sys.stderr)
        write_grids(folder, steps)
        settings = Settings(store=f"{base}/store", data=folder, dask=None)
        land.run(LandRequest(world=str(world), as_of=end, received_time=end), settings, progress)
        observe.run(ObserveRequest(world=str(world), as_of=end), settings, progress)
        began = time.perf_counter()
        with peaks(own=True) as found:
            limited = replace(settings, dask="processes:2", memory=GIB)
            receipt = build_cube.run(BuildCubeRequest(world=str(world), as_of=end), limited, progress)
        took = time.perf_counter() - began
        stored = sum(f.stat().st_size for f in (Path(base) / "store" / "cubes").rglob("*") if f.is_file())
    committing = found.pop(os.getpid())
    workers = sorted(found.values())[-2:]
    cells, planned = receipt.counts["written_cells"], receipt.details["planned_peak_bytes"]
    kept = "within" if max(workers) <= planned else "**beyond**"
    mib = [f"{size / 2**20:,.0f}" for size in (GIB, planned, *workers, committing)]
    return f"| {cells * 10 / GIB:.1f} | {cells / 1e6:,.0f} | {stored / GIB:.1f} | {mib[0]} | {mib[1]} | {mib[2]}, {mib[3]} ({kept}) | {mib[4]} | {took:.0f} |"


def main(gib: Annotated[float, typer.Option(help="GiB of the arrays of the cube.")] = 10.0) -> None:
    """Measure, and print it; how far it is goes to stderr."""
    where = setting("distributed", "zarr", "icechunk", "eccodes")
    sys.stdout.write(f"## A cube ten times as large as the memory of a worker\n\n`python -m benchmarks.cube_tenfold`: {where}.\n\n")
    sys.stdout.write(
        "| GiB of arrays | million cells | GiB at rest | limit a worker, MiB | planned, MiB | seen at most, MiB | the process that commits, MiB | s |\n"
    )
    sys.stdout.write("|---:|---:|---:|---:|---:|---:|---:|---:|\n")
    sys.stdout.flush()
    sys.stdout.write(wide_cube(gib) + "\n")


if __name__ == "__main__":
    typer.run(main)

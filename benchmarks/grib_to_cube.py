"""How fast does a large GRIB2 grid become a cube, beside decoding it and nothing else?

Twelve radar grids of 3500 x 7000 cells (98 MB each as float32): decoded by eccodes in this process, one after the other and two at a
time; then landed, observed and built into a cube of cells of 0.1 degrees, as `cubecast` does it, in turns. `python -m benchmarks.grib_to_cube`
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.measure import in_turns, setting
from pipeline.api import BuildCubeRequest, LandRequest, ObserveRequest
from pipeline.settings import Settings, read_settings
from pipeline.steps import build_cube, land, observe
from pipeline.telemetry import QUIET

CELLS = 12 * 3500 * 7000
AS_OF = datetime(2019, 6, 10, 1, tzinfo=UTC)
WORLD = """
name = "radar"
title = "Radar"
start = "2019-06-10T00:00Z"
[sources.mrms]
adapter = "grib"
locations = ["data://grids/mrms/*.grib2"]
slabs = true
[sources.mrms.variables]
rain = { column = "unknown", unit = "mm/h", missing = [-3.0], valid_min = 0.0, valid_max = 500.0 }
[domains.rain]
title = "Rain"
kind = "grid"
grid = { bounds = [20.0, -130.0, 55.0, -60.0], step = 0.1, method = "conservative" }
clock = { step = "2min" }
context = 2
horizon = 1
graph = { kind = "none" }
[domains.rain.variables]
rain = { source = "mrms", aggregate = "last" }
"""


def decoded(path: Path) -> int:
    """Decode a file of one message, and nothing else."""
    import eccodes

    handle = eccodes.codes_new_from_message(path.read_bytes())
    values = eccodes.codes_get_values(handle)
    eccodes.codes_release(handle)
    return len(values)


def both(work: Callable[[Path], int], files: list[Path]) -> None:
    """Two files at a time."""
    with ThreadPoolExecutor(2) as pool:
        assert sum(pool.map(work, files)) == CELLS  # noqa: S101


def ours(folder: Path, data: Path) -> dict[str, Callable[[], object]]:
    """Our three steps on a fresh store; the observations and the cube of a turn before are forgotten."""
    world, store = folder / "radar.toml", folder / "store"
    world.write_text(WORLD)
    settings = Settings(store=str(store), data=data, dask=None)

    def landed() -> None:
        shutil.rmtree(store, ignore_errors=True)
        land.run(LandRequest(world=str(world), as_of=AS_OF, received_time=AS_OF), settings, QUIET)

    return {
        "land": landed,
        "observe": lambda: observe.run(ObserveRequest(world=str(world), as_of=AS_OF), settings, QUIET),
        "build the cube": lambda: build_cube.run(BuildCubeRequest(world=str(world), as_of=AS_OF), settings, QUIET),
    }


def main(runs: Annotated[int, typer.Option(help="Turns.")] = 5) -> None:
    """Measure, and print the table."""
    data = read_settings().data
    if data is None:
        sys.exit("no shared data: set CUBECAST_DATA")
    files = sorted((data / "grids" / "mrms").glob("*.grib2"))
    where = setting("eccodes", "numpy", "scipy", "zarr", "icechunk")
    with tempfile.TemporaryDirectory() as folder:
        ways: dict[str, Callable[[], object]] = {
            "decode only, one at a time": lambda: [decoded(f) for f in files],
            "decode only, two at a time": lambda: both(decoded, files),
            **ours(Path(folder), data),
        }
        found = in_turns(ways, runs=runs)
    sys.stdout.write(
        f"## Large GRIB2 grids to a cube\n\n`python -m benchmarks.grib_to_cube`: {where}.\n\n12 x 3500 x 7000 cells to cells of 0.1 degrees, "
        f"conservative; median of {runs}.\n\n| what | wall s | from–to | processor s | million cells/s |\n|---|---:|---:|---:|---:|\n"
    )
    for name, costs in found.items():
        sys.stdout.write(f"| {name} | {costs.wall:.1f} | {costs.spread} | {costs.processor:.1f} | {CELLS / costs.wall / 1e6:.1f} |\n")
    wall, processor = (sum(getattr(found[name], key) for name in ("land", "observe", "build the cube")) for key in ("wall", "processor"))
    one, two = (found[f"decode only, {n} at a time"] for n in ("one", "two"))
    sys.stdout.write(
        f"| **all three steps** | {wall:.1f} | | {processor:.1f} | {CELLS / wall / 1e6:.1f} |\n\n"
        f"Speed against decoding alone (at least 0.7): {one.wall / wall:.2f} of one file at a time, {two.wall / wall:.2f} of two. Our processor "
        "seconds leave out the decoders, which are no children of this process.\n"
    )


if __name__ == "__main__":
    typer.run(main)

"""How fast does a large GRIB2 grid become a cube, beside decoding it and nothing else?

Twelve radar grids of 3500 x 7000 cells (98 MB each as float32): decoded by eccodes in this process, one after the other and two at a
time; then observed and built into a cube of cells of 0.1 degrees, as `cubecast` does it. `python -m benchmarks.grib_to_cube`
"""

from __future__ import annotations

import os
import platform
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

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


@dataclass(frozen=True)
class Cost:
    """What something took: wall and processor seconds, children included."""

    name: str
    wall: float
    processor: float


def measured(name: str, work: Callable[[], object]) -> Cost:
    """The cost of some work."""

    def processor() -> float:
        usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        return sum(u.ru_utime + u.ru_stime for u in usages)

    began, before = time.monotonic(), processor()
    work()
    return Cost(name, time.monotonic() - began, processor() - before)


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


def main() -> int:
    """Measure, and print the table."""
    data = read_settings().data
    if data is None:
        sys.exit("no shared data: set CUBECAST_DATA")
    files = sorted((data / "grids" / "mrms").glob("*.grib2"))
    with tempfile.TemporaryDirectory() as folder:
        world, settings = Path(folder) / "radar.toml", Settings(store=f"{folder}/store", data=data, dask=None)
        world.write_text(WORLD)
        rows = [
            measured("decode only, one at a time", lambda: [decoded(f) for f in files]),
            measured("decode only, two at a time", lambda: both(decoded, files)),
            measured("land", lambda: land.run(LandRequest(world=str(world), as_of=AS_OF, received_time=AS_OF), settings, QUIET)),
            measured("observe", lambda: observe.run(ObserveRequest(world=str(world), as_of=AS_OF), settings, QUIET)),
            measured("build the cube", lambda: build_cube.run(BuildCubeRequest(world=str(world), as_of=AS_OF), settings, QUIET)),
        ]
    bound, ours = rows[1], [r for r in rows if r.name in ("observe", "build the cube")]
    libraries = ", ".join(f"{name} {version(name)}" for name in ("eccodes", "numpy", "scipy", "zarr", "icechunk"))
    sys.stdout.write(
        f"12 x 3500 x 7000 cells, {datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} cores, {platform.platform(terse=True)}, "
        f"Python {platform.python_version()}, {libraries}\n\n| what | wall s | processor s | million cells/s |\n|---|---:|---:|---:|\n"
    )
    for row in rows:
        sys.stdout.write(f"| {row.name} | {row.wall:.1f} | {row.processor:.1f} | {CELLS / row.wall / 1e6:.1f} |\n")
    wall, processor = (sum(getattr(r, key) for r in ours) for key in ("wall", "processor"))
    sys.stdout.write(
        f"| **observe and build** | {wall:.1f} | {processor:.1f} | {CELLS / wall / 1e6:.1f} |\n\n"
        f"Speed against decoding alone, two at a time: {bound.wall / wall:.2f} by wall, {bound.processor / processor:.2f} by processor seconds.\n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""How fast do raw files become a cube?

The road traffic of Aarhus (449 gzip CSV files, 7.1 million rows, two variables kept) from the provider's files to landing,
observations and cube, as the three steps do it. Beside it, in turns: a script as one writes it first (pandas read_csv, pivot, to_zarr),
which keeps the cube only; and the bound: pyarrow parses the columns that the world reads of the same files on as many threads as there are
processors, numpy scatters the rows into the array by instant and node, nothing is kept. A lower bound still does not read the node, which
here is known from the file. `python -m benchmarks.ingest`
"""

from __future__ import annotations

import os
import sys
import tempfile
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

from benchmarks.measure import Costs, in_turns, setting
from pipeline.api import BuildCubeRequest, LandRequest, ObserveRequest
from pipeline.settings import Settings, read_settings
from pipeline.steps import build_cube, land, observe
from pipeline.telemetry import QUIET

BEGIN, STEP, STEPS = 1_406_851_200, 300, 17_568
BOUND, LOWER = "bound: pyarrow parse and scatter", "the same, the node of a file known"
AS_OF = datetime(2014, 10, 1, tzinfo=UTC)
COLUMNS, NODE = ("avgSpeed", "vehicleCount"), "REPORT_ID"
WORLD = """
name = "roads"
title = "Road traffic of Aarhus"
start = "2014-08-01T00:00Z"
[sources.traffic]
adapter = "csv"
locations = ["data://aarhus/traffic/FILES"]
options = { time = "TIMESTAMP", node_column = "REPORT_ID" }
[sources.traffic.variables]
vehicle_count = { column = "vehicleCount", unit = "count", valid_min = 0.0, valid_max = 500.0 }
average_speed = { column = "avgSpeed", unit = "km/h", missing = [0.0], valid_min = 1.0, valid_max = 160.0 }
[domains.traffic]
title = "Road traffic"
clock = { step = "5min" }
context = 24
horizon = 12
graph = { kind = "none" }
[domains.traffic.variables]
vehicle_count = { source = "traffic" }
average_speed = { source = "traffic" }
"""


class Ours:
    """The three steps, each turn in a folder of its own."""

    def __init__(self, folder: Path, data: Path, files: str) -> None:
        self.world, self._folder, self._data = folder / "roads.toml", folder, data
        self.world.write_text(WORLD.replace("FILES", files))
        self._turn = self.rows = 0

    @property
    def _settings(self) -> Settings:
        return Settings(store=str(self._folder / f"store-{self._turn}"), data=self._data, dask=None)

    def land(self) -> None:
        """The provider's bytes to landing."""
        self._turn += 1
        land.run(LandRequest(world=str(self.world), as_of=AS_OF, received_time=AS_OF), self._settings, QUIET)

    def observe(self) -> None:
        """Landing to observations."""
        receipt = observe.run(ObserveRequest(world=str(self.world), as_of=AS_OF), self._settings, QUIET)
        self.rows = receipt.counts["traffic.raw"]

    def build(self) -> None:
        """Observations to a cube."""
        build_cube.run(BuildCubeRequest(world=str(self.world), as_of=AS_OF), self._settings, QUIET)


def pandas_script(files: list[Path], target: Path) -> None:
    """The cube only, as one writes it first."""
    import xarray

    pd: Any = import_module("pandas")
    frames = [pd.read_csv(f, usecols=["TIMESTAMP", "REPORT_ID", *COLUMNS], parse_dates=["TIMESTAMP"]) for f in files]
    table = pd.concat(frames).drop_duplicates(["TIMESTAMP", "REPORT_ID"], keep="last")
    wide = table.pivot(index="TIMESTAMP", columns="REPORT_ID", values=list(COLUMNS)).astype(np.float32)
    arrays: Any = {name: wide[name].stack(future_stack=True).to_xarray() for name in COLUMNS}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        xarray.Dataset(arrays).to_zarr(target, mode="w", consolidated=False)


def pyarrow_bound(files: list[Path], *, with_node: bool) -> NDArray[np.float32]:
    """Parsed and scattered, and nothing else; the node of a row from its column, or of a file from its place among all."""
    import pyarrow as pa
    import pyarrow.csv as pv

    types = {"TIMESTAMP": pa.timestamp("s"), **dict.fromkeys(COLUMNS, pa.float32()), **({NODE: pa.int64()} if with_node else {})}
    ids = np.array(sorted(int(file.name.split(".")[0]) for file in files))
    cube = np.full((len(COLUMNS), STEPS, len(files)), np.nan, np.float32)

    def one(node: int) -> None:
        with pa.CompressedInputStream(pa.OSFile(str(files[node])), "gzip") as stream:
            table = pv.read_csv(
                stream,
                read_options=pv.ReadOptions(use_threads=False),
                convert_options=pv.ConvertOptions(include_columns=list(types), column_types=types),
            )
        step = (table["TIMESTAMP"].cast(pa.int64()).to_numpy() - BEGIN) // STEP
        place = np.searchsorted(ids, table[NODE].to_numpy()) if with_node else node
        for n, name in enumerate(COLUMNS):
            cube[n, step, place] = table[name].to_numpy()

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(one, range(len(files))))
    return cube


def report(rows: int, found: dict[str, Costs], ours: tuple[str, ...]) -> str:
    """The figures as Markdown."""
    lines = [f"{rows:,} rows; median of {len(found[ours[0]].runs)}.", "", "| what | wall s | from–to | processor s | million rows/s |"]
    lines.append("|---|---:|---:|---:|---:|")
    for name, costs in found.items():
        lines.append(f"| {name} | {costs.wall:.2f} | {costs.spread} | {costs.processor:.2f} | {rows / costs.wall / 1e6:.2f} |")
    wall, processor = sum(found[n].wall for n in ours), sum(found[n].processor for n in ours)
    lines.append(f"| **ours, from file to cube** | **{wall:.2f}** | | {processor:.2f} | **{rows / wall / 1e6:.2f}** |")
    script, bound, lower = (costs for name, costs in found.items() if name not in ours)
    shares = f"{bound.wall / wall:.2f} × the bound (at least 0.3; by processor seconds {bound.processor / processor:.2f})"
    lines += ["", f"{script.wall / wall:.2f} × the script (at least 1.5), {shares}, {lower.wall / wall:.2f} × without the node."]
    return "\n".join(lines)


def main(
    runs: Annotated[int, typer.Option(help="Turns.")] = 5,
    files: Annotated[str, typer.Option(help="Which files of the folder.")] = "*.csv.gz",
) -> None:
    """Measure, and print the table."""
    data = read_settings().data
    if data is None:
        sys.exit("no shared data: set CUBECAST_DATA")
    paths = sorted((data / "aarhus" / "traffic").glob(files))
    where = setting("pyarrow", "pandas", "numpy", "zarr", "icechunk", "dask", "xarray")
    with tempfile.TemporaryDirectory() as folder:
        ours = Ours(Path(folder), data, files)
        for step in (ours.land, ours.observe, ours.build):  # loads the libraries
            step()
        ways: dict[str, Callable[[], object]] = {
            BOUND: lambda: pyarrow_bound(paths, with_node=True),
            LOWER: lambda: pyarrow_bound(paths, with_node=False),
            "land": ours.land,
            "observe": ours.observe,
            "build-cube": ours.build,
            "pandas read_csv, pivot, to_zarr": lambda: pandas_script(paths, Path(tempfile.mkdtemp(dir=folder)) / "script.zarr"),
        }
        found = in_turns(ways, runs=runs)
    order = ("land", "observe", "build-cube", "pandas read_csv, pivot, to_zarr", BOUND, LOWER)
    table = report(ours.rows, {name: found[name] for name in order}, order[:3])
    sys.stdout.write(f"## Raw files to a cube\n\n`python -m benchmarks.ingest`: {where}.\n\n{table}\n")


if __name__ == "__main__":
    typer.run(main)

"""The recipe for a new source (docs/new-source.md), run as it stands there."""

from __future__ import annotations

import importlib.util
import re
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from pipeline.__main__ import main
from pipeline.alignment.graph import edges
from pipeline.api import BuildCubeRequest, LandRequest, ObserveRequest
from pipeline.contracts.world_files import load_world, worlds_folder
from pipeline.contracts.worlds import Graph
from pipeline.settings import Settings, read_settings
from pipeline.sources.adapter import Adapter
from pipeline.sources.probe import probe, probe_lines
from pipeline.sources.registry import check_sources
from pipeline.steps import build_cube, land, observe
from pipeline.stores.cubes import CubeStore
from pipeline.telemetry import QUIET
from tests.unit.sources.made import source

RECIPE = (Path(__file__).resolve().parents[3] / "docs" / "new-source.md").read_text(encoding="utf-8")
END = datetime(2012, 3, 8, 8, tzinfo=UTC)


def block(language: str) -> str:
    [found] = re.findall(rf"```{language}\n(.*?)```", RECIPE, re.DOTALL)
    return str(found)


def test_the_world_of_the_recipe_is_the_one_that_comes_with_the_project() -> None:
    assert block("toml") == (worlds_folder() / "los_loop.toml").read_text(encoding="utf-8")
    check_sources(load_world("los_loop"))


@pytest.mark.shared
def test_the_recipe_brings_a_week_of_los_angeles_from_files_to_a_cube_with_its_graph(tmp_path: Path) -> None:
    data = read_settings().data
    if data is None:
        pytest.skip("no shared data")
    settings = Settings(store=str(tmp_path / "store"), data=data, dask=None)
    world = load_world("los_loop")
    text = "\n".join(probe_lines(probe(world, "speed", settings, END)))
    assert "rows 417,312: readings 417,312, rejected 0" in text
    assert "valid_time 2012-03-01T08:00:00Z .. 2012-03-08T07:55:00Z" in text
    land.run(LandRequest(world="los_loop", as_of=END, received_time=END), settings, QUIET)
    receipt = observe.run(ObserveRequest(world="los_loop", as_of=END), settings, QUIET)
    assert receipt.counts == {"speed.raw": 417_312, "speed.observations": 417_312, "speed.duplicates": 0, "speed.rejected": 0}
    assert build_cube.run(BuildCubeRequest(world="los_loop", as_of=END), settings, QUIET).outcome == "done"
    nodes = CubeStore(settings.store, "los_loop").nodes("traffic")
    assert np.isfinite(nodes.latitude).all()
    matrix = np.loadtxt(data / "benchmarks" / "los_loop" / "los_adj.csv", delimiter=",")
    pairs, weight = edges(nodes, Graph(kind="matrix", neighbours=207))
    found = np.eye(207)
    found[pairs[1], pairs[0]] = weight
    assert np.allclose(_in_table_order(found, nodes.ids, data), matrix, atol=1e-6)


def _in_table_order(found: np.ndarray, ids: tuple[str, ...], data: Path) -> np.ndarray:
    lines = (data / "benchmarks" / "los_loop" / "graph_sensor_locations.csv").read_text().splitlines()[1:]
    order = np.array([ids.index(line.split(",")[1]) for line in lines])
    return found[np.ix_(order, order)]


def test_the_adapter_of_the_recipe_reads_its_format(tmp_path: Path) -> None:
    path = tmp_path / "pipes.py"
    path.write_text(block("python"))
    spec = importlib.util.spec_from_file_location("pipes", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    adapter: Adapter = module.PipesAdapter()
    made = source("pipes", {}, {"a": {"column": "value", "unit": "count"}})
    adapter.check(made)
    found = adapter.parse(made, {"x.pipes": b"1406851200|north|3.5\n1406851260|south|-\n1406851320|south|fast\n"})
    assert [found.node_ids[n] for n in found.node] == ["north", "south"]
    assert found.values["a"][0] == 3.5
    assert np.isnan(found.values["a"][1])
    assert found.rejected.row == (3,)


US = """
name = "minneapolis"
title = "The I-94 and the air above it"
timezone = "America/Chicago"
start = "2016-12-01T00:00Z"
[recorded]
end = "2017-11-01T00:00Z"
as_of = "2017-10-26T18:00Z"

[sources.air]
adapter = "csv"
locations = ["data://us/weather/temperature.csv.gz"]
latency = "10min"
options = { layout = "wide", separator = ";", time = "datetime", time_format = "%d.%m.%Y %H:%M" }
nodes = { location = "data://us/city_attributes.csv", id = "City", latitude = "Latitude", longitude = "Longitude", separator = ";" }
[sources.air.variables]
temperature = { column = "temperature", unit = "K", to = "degC", valid_min = -60.0, valid_max = 60.0 }

[sources.road]
adapter = "csv"
locations = ["data://us/metro_interstate_traffic.csv.gz"]
timezone = "America/Chicago"
latency = "10min"
options = { time = "date_time", node = "i94", interval = "1h", ambiguous = "second" }
nodes = { rows = [["i94", 44.964, -93.181]] }
[sources.road.variables]
volume = { column = "traffic_volume", unit = "count", valid_min = 0.0, valid_max = 12000.0 }

[domains.air]
title = "Air"
clock = { step = "1h" }
context = 24
horizon = 12
[domains.air.variables]
temperature = { source = "air" }

[domains.road]
title = "The I-94"
clock = { step = "1h" }
context = 24
horizon = 12
[domains.road.variables]
volume = { source = "road", lower = 0.0 }
"""
"""What someone writes who has the two files of folder us before them, and the recipe."""


@pytest.mark.shared
@pytest.mark.parametrize(("name", "source_name"), [("los_loop", "speed"), ("minneapolis", "road")])
def test_the_commands_of_the_recipe_bring_a_world_written_by_it_to_observations_that_add_up(
    tmp_path: Path, name: str, source_name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data = read_settings().data
    if data is None:
        pytest.skip("no shared data")
    monkeypatch.setenv("CUBECAST_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("CUBECAST_DATA", str(data))
    path = tmp_path / f"{name}.toml"
    path.write_text(block("toml") if name == "los_loop" else US)
    [block_of_commands] = re.findall(r"```\n(cubecast worlds check.*?)```", RECIPE, re.DOTALL)
    said = {}
    for command in re.split(r"\n|&&", block_of_commands.strip()):
        words = command.partition("#")[0].replace("./los_loop.toml", str(path)).replace(" speed ", f" {source_name} ").split()
        assert words[0] == "cubecast"
        assert main(words[1:]) == 0, words
        said[words[1]] = capsys.readouterr().out
    assert set(said) == {"worlds", "sources", "land", "observe", "status"}
    assert "is right" in said["worlds"]
    [line] = [line for line in said["status"].splitlines() if line.startswith(f"{source_name} ") and "✓" in line]
    numbers = [int(word.replace(",", "")) for word in line.split()[1:5]]
    assert numbers[0] == sum(numbers[1:])
    assert numbers[0] == {"speed": 417_312, "road": 48_204}[source_name]

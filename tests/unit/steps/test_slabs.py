"""Whole grids from landing to the cube: the same cells as a row per cell gives, brought to other cells, sampled at nodes."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from scipy.interpolate import RegularGridInterpolator

from pipeline.api import BuildCubeRequest, LandRequest, ObserveRequest
from pipeline.contracts.cubes import DomainCube
from pipeline.contracts.flags import Flag
from pipeline.contracts.times import parse_instant
from pipeline.contracts.world_files import load_world, parse_world
from pipeline.errors import ConfigError, ContractError
from pipeline.settings import Settings, read_settings
from pipeline.sources.probe import probe, probe_lines
from pipeline.steps import build_cube, land, observe
from pipeline.stores.cubes import CubeStore
from pipeline.stores.objects import ObjectStore
from pipeline.stores.observations import ObservationStore
from pipeline.telemetry import QUIET
from tests.unit.sources.made import netcdf
from tests.world import tiny_world

END = datetime(2025, 10, 31, tzinfo=UTC)
LATER = datetime(2026, 1, 1, tzinfo=UTC)
SLABS = '[sources.weather]\nadapter = "synthetic"\nslabs = true\n'


def world_file(folder: Path, *changes: tuple[str, str]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = tiny_world(folder)
    text = path.read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path.write_text(text)
    return path


def built(path: Path, *, at: tuple[datetime, ...] = (END.replace(day=27), END), dask: str | None = None) -> CubeStore:
    own = Settings(store=str(path.parent / "store"), data=None, dask=None)
    for moment in at:
        for source in ("weather", "roads"):
            land.run(LandRequest(world=str(path), as_of=moment, received_time=LATER, source=source), own, QUIET)
            observe.run(ObserveRequest(world=str(path), as_of=moment, source=source), own, QUIET)
        build_cube.run(BuildCubeRequest(world=str(path), as_of=moment), replace(own, dask=dask), QUIET)
    assert build_cube.run(BuildCubeRequest(world=str(path), as_of=END), own, QUIET).outcome == "unchanged"
    return CubeStore(own.store, "tiny")


WHOLE = ('[sources.weather]\nadapter = "synthetic"\n', SLABS)


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> CubeStore:
    return built(world_file(tmp_path_factory.mktemp("rows")))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> CubeStore:
    return built(world_file(tmp_path_factory.mktemp("whole"), WHOLE))


GRIDS = """
name = "air"
title = "Air"
start = "2020-03-01T00:00Z"
[sources.air]
adapter = "netcdf"
locations = ["data://x.nc"]
slabs = true
[sources.air.variables]
t = { column = "t2m", unit = "K" }
[domains.air]
title = "Air"
kind = "grid"
clock = { step = "1h" }
context = 1
horizon = 1
[domains.air.variables]
t = { source = "air" }
"""


def assert_same(one: DomainCube, other: DomainCube) -> None:
    for name in ("valid_time", "values_TNV", "flags_TNV", "latency_TNV"):
        assert getattr(one, name).tobytes() == getattr(other, name).tobytes(), name
    for name in ("step", "node", "variable", "value", "flag", "available_time", "superseded_time"):
        np.testing.assert_array_equal(getattr(one.revisions, name), getattr(other.revisions, name), err_msg=name)
    assert one.nodes.digest == other.nodes.digest


@pytest.mark.parametrize("as_of", ["2025-10-31T00:00Z", "2025-10-29T13:07Z", "2025-10-24T03:00Z"])
def test_whole_grids_become_the_cube_that_a_row_per_cell_becomes(rows: CubeStore, whole: CubeStore, as_of: str) -> None:
    moment = parse_instant(as_of)
    found = [store.open(moment, "weather") for store in (rows, whole)]
    assert_same(*found)
    assert len(found[0].revisions) or as_of < "2025-10-30"
    assert found[0].flags_TNV.any()


def test_a_row_per_slab_is_observed_and_every_slab_is_accounted_for(whole: CubeStore) -> None:
    path = Path(whole.root).parent / "tiny.toml"
    store = ObservationStore(ObjectStore(whole.root), load_world(str(path)), "weather")
    counts, table = store.counts(), store.read(0, 2**35)
    assert table.num_rows == counts.observations == 217
    assert (counts.raw, counts.duplicates, counts.rejected) == (218, 1, 0)
    assert set(table["node"].to_pylist()) == {"grid"}
    assert set(table["cells"].to_pylist()) == {16}
    assert "temperature" not in table.column_names


def test_grids_are_brought_to_the_cells_that_the_domain_declares(rows: CubeStore, tmp_path: Path) -> None:
    target = 'kind = "grid"\ngrid = { bounds = [55.975, 9.975, 56.175, 10.175], step = 0.1, method = "conservative" }'
    store = built(world_file(tmp_path, WHOLE, ('kind = "grid"', target)))
    coarse, fine = store.open(END, "weather"), rows.open(END, "weather")
    assert coarse.nodes.shape == (2, 2)
    assert coarse.nodes.latitude.tolist() == pytest.approx([56.125, 56.125, 56.025, 56.025])
    order = np.lexsort((fine.nodes.longitude, -fine.nodes.latitude))
    table = fine.values_TNV[:, order, 0].reshape(-1, 4, 4)
    wanted = table.reshape(-1, 2, 2, 2, 2).mean(axis=(2, 4)).reshape(-1, 4)
    np.testing.assert_allclose(coarse.values_TNV[..., 0], wanted, rtol=1e-3)  # a cell in the south is a little larger
    suspect = fine.flags_TNV[..., 0].max(axis=1)
    assert (coarse.flags_TNV[..., 0].max(axis=1) == suspect).all()


def test_a_probe_tells_of_whole_grids_and_the_values_of_the_newest_though_their_cells_are_too_many_to_have_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.sources.grids.MAX_NODES", 3)
    (tmp_path / "x.nc").write_bytes(netcdf())
    world = parse_world(GRIDS, "air")
    found = probe(world, "air", Settings(store="", data=tmp_path, dask=None), END)
    assert "\n".join(probe_lines(found)).split("\n")[2:] == [
        "rows 3: whole grids 3, rejected 0",
        "valid_time 2020-03-01T00:00:00Z .. 2020-03-01T02:00:00Z",
        "grids of 2 x 3 cells, latitude 51 .. 52, longitude -1 .. 1; in the newest:",
        "t: 200 .. 211, 16.7% missing",
    ]


def test_a_domain_of_nodes_samples_a_grid_at_them(rows: CubeStore, tmp_path: Path) -> None:
    sampled = ("[domains.traffic.variables]\n", '[domains.traffic.variables]\nrain = { source = "weather", target = false }\n')
    path = world_file(tmp_path, WHOLE, sampled)
    text = path.read_text()
    future = text[text.index("[domains.traffic.future]") : text.index("[domains.traffic.variables]")]
    path.write_text(text.replace(future, ""))
    cube, field = built(path).open(END, "traffic"), rows.open(END, "weather")
    assert cube.variables == ("rain", "speed", "count")
    hours = np.flatnonzero(cube.valid_time % 3600 == 0)
    rain, steps = cube.values_TNV[hours, :, 0], field.values_TNV[:, :, 1]
    assert np.isfinite(rain).mean() > 0.95
    assert np.isnan(cube.values_TNV[hours[:-1] + 1, :, 0]).all()
    whole = np.flatnonzero(np.isfinite(steps).all(axis=1) & np.isfinite(rain).all(axis=1))
    axes, places = [np.unique(a) for a in (field.nodes.latitude, field.nodes.longitude)], (cube.nodes.latitude, cube.nodes.longitude)
    for t in whole[::20].tolist():
        wanted = RegularGridInterpolator(axes, steps[t].reshape(4, 4))(np.stack(places, axis=1))
        np.testing.assert_allclose(rain[t], wanted, atol=1e-4)


def test_two_worker_processes_make_the_same_bytes(whole: CubeStore, tmp_path: Path) -> None:
    made = built(world_file(tmp_path, WHOLE), at=(END,), dask="processes:2")
    assert_same(made.open(END, "weather"), whole.open(END, "weather"))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ([WHOLE, ("valid_max = 50.0 }", "valid_max = 50.0, spike = 3.0 }")], "spike and stuck_after need rows"),
        ([('kind = "grid"', 'kind = "grid"\ngrid = { bounds = [0, 0, 1, 1], step = 0.5 }')], "a source with slabs = true"),
        ([WHOLE, ('kind = "grid"', 'kind = "grid"\ngrid = { bounds = [0, 0, 1, 1], step = 0.3 }')], "a whole number of steps"),
        ([WHOLE, ('kind = "grid"', 'kind = "node"')], "no source with nodes"),
        ([("[sources.roads]\n", "[sources.roads]\nslabs = true\n")], "spike and stuck_after need rows"),
    ],
)
def test_a_world_whose_grids_make_no_sense_is_refused(tmp_path: Path, changes: list[tuple[str, str]], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        parse_world(world_file(tmp_path, *changes).read_text(), "tiny.toml")


@pytest.mark.shared
def test_the_grids_of_era5_become_a_coarser_cube(tmp_path: Path) -> None:
    settings = read_settings()
    if settings.data is None or not (settings.data / "grids").is_dir():
        pytest.skip("no shared data")
    own, end = Settings(store=str(tmp_path), data=settings.data, dask=None), parse_instant("2019-03-04T00:00Z")
    land.run(LandRequest(world="uk", as_of=end, received_time=LATER), own, QUIET)
    counts = observe.run(ObserveRequest(world="uk", as_of=end), own, QUIET).counts
    assert [counts[f"era5.{name}"] for name in ("raw", "observations", "duplicates", "rejected")] == [744, 744, 0, 0]
    build_cube.run(BuildCubeRequest(world="uk", as_of=end), own, QUIET)
    cube = CubeStore(own.store, "uk").open(end, "temperature")
    assert cube.nodes.shape == (8, 12)
    assert cube.units == ("degC",)
    good = cube.values_TNV[1:]
    assert np.isfinite(good[np.isfinite(good).any(axis=(1, 2))]).all()
    assert -15 < np.nanmin(good) < np.nanmax(good) < 25


def test_a_file_with_other_cells_is_refused_where_the_domain_has_the_grid_as_it_comes(whole: CubeStore, tmp_path: Path) -> None:
    from pipeline.alignment.regrid import unchanged

    nodes = whole.open(END, "weather").nodes
    with pytest.raises(ContractError, match="a grid of its own"):
        unchanged(nodes.latitude[::4] + 0.1, nodes.longitude[:4], nodes)
    assert unchanged(nodes.latitude[::4], nodes.longitude[:4], replace(nodes)).targets == 16


EARLY = """
name = "early"
title = "Grids that tell of hours to come"
start = "2020-02-29T23:00Z"
[sources.grid]
adapter = "netcdf"
locations = ["data://*.nc"]
slabs = {slabs}
[sources.grid.variables]
t2m = {{ unit = "count" }}
[domains.d]
title = "D"
kind = "grid"
clock = {{ step = "1h" }}
context = 2
horizon = 1
[domains.d.variables]
t2m = {{ source = "grid" }}
"""


@pytest.mark.parametrize("slabs", ["true", "false"])
def test_a_grid_that_came_too_early_is_taken_when_it_comes_again_in_time_in_another_file(tmp_path: Path, slabs: str) -> None:
    path, own = tmp_path / "early.toml", Settings(store=str(tmp_path / "store"), data=tmp_path / "data", dask=None)
    path.write_text(EARLY.format(slabs=slabs))
    (tmp_path / "data").mkdir()
    found = []
    for hour, file in ((0, netcdf()), (3, netcdf()), (4, netcdf(written="again"))):
        (tmp_path / "data" / "a.nc").write_bytes(file)
        now = datetime(2020, 3, 1, hour, 10, tzinfo=UTC)
        landed = land.run(LandRequest(world=str(path), as_of=now, received_time=now), own, QUIET)
        assert landed.outcome == ("unchanged" if hour == 3 else "done")  # the same bytes say nothing new
        notes = observe.run(ObserveRequest(world=str(path), as_of=now), own, QUIET).notes
        assert any("stamped later than received" in note for note in notes) == (hour == 0)
        build_cube.run(BuildCubeRequest(world=str(path), as_of=now), own, QUIET)
        cube = CubeStore(own.store, "early").open(now, "d")
        found.append(cube.flags_TNV[1:4, 0, 0].tolist())
    assert found == [[0], [0, Flag.FUTURE, Flag.FUTURE], [0, 0, 0]]
    assert cube.values_TNV[1:4, 0, 0].tolist() == [0, 100, 200]

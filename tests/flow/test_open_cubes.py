"""The cube as its users open it: in place by xarray, and as copies by xarray, tensorstore and a CF checker."""

from __future__ import annotations

import runpy
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from pipeline.__main__ import main
from pipeline.alignment.graph import edges
from pipeline.api import BuildCubeRequest, LandRequest, ObserveRequest
from pipeline.contracts.world_files import load_world
from pipeline.settings import Settings
from pipeline.steps import build_cube, land, observe
from pipeline.stores.cubes import CubeStore
from pipeline.telemetry import QUIET
from tests.cf_checker import cf_faults
from tests.world import tiny_world

END = datetime(2025, 10, 31, tzinfo=UTC)
GROUPS = ("weather", "traffic", "market", "traffic.future")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """Where the store of the tiny world is, with its cube built, and its world file."""
    folder = tmp_path_factory.mktemp("tiny")
    path = tiny_world(folder)
    settings = Settings(store=str(folder / "store"), data=None, dask=None)
    land.run(LandRequest(world=str(path), as_of=END, received_time=END), settings, QUIET)
    observe.run(ObserveRequest(world=str(path), as_of=END), settings, QUIET)
    build_cube.run(BuildCubeRequest(world=str(path), as_of=END), settings, QUIET)
    return settings.store, path


def test_the_recipe_of_the_documentation_opens_a_cube_in_place_with_labelled_dimensions(store: tuple[str, Path]) -> None:
    text = (Path(__file__).resolve().parents[2] / "docs" / "reading-cubes.md").read_text(encoding="utf-8")
    code = text.split("```python\n")[1].split("```")[0].replace("store/cubes/aarhus", f"{store[0]}/cubes/tiny").replace("average_", "")
    recipe = store[1].with_name("recipe.py")
    recipe.write_text(code)
    names = runpy.run_path(str(recipe))
    found, cube = names["ds"], CubeStore(store[0], "tiny").open(END + timedelta(days=1), "traffic")
    assert found["speed"].dims == ("valid_time", "node")
    assert found["speed"].attrs["units"] == "km/h"
    assert found["valid_time"].values[0] == np.datetime64("2025-10-22T00:00")
    assert found["node_id"].values.tolist() == list(cube.nodes.ids)
    assert set(found["speed"].coords) >= {"valid_time", "latitude", "longitude", "node_id"}
    np.testing.assert_array_equal(found["speed"].values, cube.values_TNV[..., cube.variables.index("speed")])
    assert names["good"].isnull().sum() == (cube.flags_TNV[..., cube.variables.index("speed")] != 0).sum()


def exported(store: tuple[str, Path], group: str, form: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    to = folder / ("a.nc" if form == "netcdf" else "a.zarr")
    monkeypatch.setenv("CUBECAST_STORE", store[0])
    assert main(["cube", "export", "--world", str(store[1]), "--domain", group, "--to", str(to), "--format", form]) == 0
    return to


@pytest.mark.parametrize("group", GROUPS)
def test_the_netcdf_of_each_group_passes_a_cf_checker_without_error(
    store: tuple[str, Path], tmp_path: Path, group: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cf_faults(exported(store, group, "netcdf", tmp_path, monkeypatch), tmp_path) == []


@pytest.mark.parametrize("group", GROUPS)
def test_the_zarr_of_each_group_is_read_alike_by_xarray_and_tensorstore(
    store: tuple[str, Path], tmp_path: Path, group: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    to = exported(store, group, "zarr", tmp_path, monkeypatch)
    cube = CubeStore(store[0], "tiny").open(END, group)
    with xr.open_zarr(to, consolidated=False) as found:
        values = {name: found[name].values for name in cube.variables}
        flags = {name: found[f"{name}_flag"].values for name in cube.variables}
    for v, name in enumerate(cube.variables):
        np.testing.assert_array_equal(values[name].reshape(cube.values_TNV.shape[:2]), cube.values_TNV[..., v])
        np.testing.assert_array_equal(flags[name].reshape(cube.flags_TNV.shape[:2]), cube.flags_TNV[..., v])
    if group == "traffic":
        source, target, weight = (found[f"edge_{name}"].values for name in ("source", "target", "weight"))
        pairs, weights = edges(cube.nodes, load_world(str(store[1])).domains[group].graph)
        assert len(weights)
        np.testing.assert_array_equal(np.stack([source, target]), pairs)
        np.testing.assert_array_equal(weight, weights)
    import tensorstore

    for name in cube.variables:
        spec = {"driver": "zarr3", "kvstore": {"driver": "file", "path": str(to / name)}}
        np.testing.assert_array_equal(tensorstore.open(spec).result().read().result(), values[name])

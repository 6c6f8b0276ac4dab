from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from pipeline.contracts.cubes import NEVER, DomainCube, Revisions
from pipeline.contracts.nodes import NodeSet
from pipeline.cube.differences import DomainBook
from pipeline.stores.cube_export import Format, export, to_dataset
from pipeline.stores.cube_format import GroupTemplate, VariableTemplate, small_arrays, value_arrays

STEPS, NODES = 5, 6


def dataset(*, shape: tuple[int, int] | None = None, placed: bool = True) -> tuple[DomainCube, xr.Dataset]:
    place = np.arange(NODES) + 1.0 if placed else np.full(NODES, np.nan)
    nodes = NodeSet(ids=tuple(f"n{i}" for i in range(NODES)), latitude=place + 50, longitude=place, shape=shape)
    variables = (
        VariableTemplate(name="temperature", units="degC", aggregate="mean", standard_name="air_temperature"),
        VariableTemplate(name="price", units="GBP/MWh", aggregate="last"),
    )
    template = GroupTemplate(
        domain="a",
        title="A",
        axis_T=np.arange(STEPS) * 3600,
        even_step=3600,
        nodes=nodes,
        variables=variables,
        chunk_steps=3,
        chunk_nodes=NODES,
        recipe="",
    )
    book = DomainBook(
        title="A",
        valid_time=template.axis_T,
        nodes=nodes,
        variables=("temperature", "price"),
        chunk_steps=3,
        recipe="",
        chunk_digests=np.zeros((2, 32), np.uint8),
        revisions=Revisions.empty(),
        attributes={a.path: a.attributes for a in (*value_arrays(template), *small_arrays(template))},
    )
    values = np.random.default_rng(0).normal(size=(STEPS, NODES, 2)).astype(np.float32)
    cube = DomainCube(
        domain="a",
        as_of=10**6,
        snapshot="S",
        valid_time=template.axis_T,
        nodes=nodes,
        variables=book.variables,
        units=("degC", "GBP/MWh"),
        values_TNV=values,
        flags_TNV=np.zeros(values.shape, np.uint16),
        latency_TNV=np.full(values.shape, NEVER),
        revisions=Revisions.empty(),
    )
    return cube, to_dataset(cube, book, {})


@pytest.mark.parametrize(("form", "name"), [("zarr", "a.zarr"), ("netcdf", "a.nc")])
def test_a_grid_is_exported_as_rows_and_columns_with_its_places(tmp_path: Path, form: Format, name: str) -> None:
    cube, made = dataset(shape=(2, 3))
    export(made, tmp_path / name, form, chunk_steps=3)
    read = xr.open_zarr(tmp_path / name, consolidated=False) if form == "zarr" else xr.open_dataset(tmp_path / name, engine="h5netcdf")
    with read as found:
        assert found["price"].dims == ("valid_time", "y", "x")
        assert found["price"].encoding["chunks" if form == "zarr" else "chunksizes"] == (3, 2, 3)
        np.testing.assert_array_equal(found["price"].values.reshape(STEPS, NODES), cube.values_TNV[..., 1])
        np.testing.assert_array_equal(found["latitude"].values.ravel(), cube.nodes.latitude)
        assert np.isnan(found["price_latency"].values).all()


@pytest.mark.parametrize(("form", "name"), [("zarr", "a.zarr"), ("netcdf", "a.nc")])
def test_the_graph_of_a_road_comes_back_as_it_went(tmp_path: Path, form: Format, name: str) -> None:
    cube, made = dataset()
    ends = np.arange(NODES * 4.0).reshape(NODES, 4)
    pairs, weight = np.array([[1, 2, 0], [0, 0, 5]], np.int32), np.array([0.5, 0.25, 1.0], np.float32)
    book = DomainBook(
        title="A",
        valid_time=cube.valid_time,
        nodes=cube.nodes,
        variables=cube.variables,
        chunk_steps=3,
        recipe="",
        chunk_digests=np.zeros((2, 32), np.uint8),
        revisions=Revisions.empty(),
        attributes={str(n): dict(v.attrs) | {"flag_masks": [1]} for n, v in made.variables.items()},
    )
    whole = to_dataset(replace(cube, nodes=replace(cube.nodes, ends=ends)), book, {}, (pairs, weight))
    export(whole, tmp_path / name, form, chunk_steps=3)
    read = xr.open_zarr(tmp_path / name, consolidated=False) if form == "zarr" else xr.open_dataset(tmp_path / name, engine="h5netcdf")
    with read as found:
        np.testing.assert_array_equal(np.stack([found["edge_source"].values, found["edge_target"].values]), pairs)
        np.testing.assert_array_equal(found["edge_weight"].values, weight)
        assert found["edge_source"].dtype == np.int32
        np.testing.assert_array_equal(found["end_longitude"].values, ends[:, 3])


def test_series_at_known_places_say_so_and_others_do_not() -> None:
    _, placed = dataset()
    _, unplaced = dataset(placed=False)
    assert placed.attrs["featureType"] == "timeSeries"
    assert placed["node_id"].attrs["cf_role"] == "timeseries_id"
    assert "featureType" not in unplaced.attrs
    assert "latitude" not in unplaced.coords


def test_money_is_no_unit_of_cf_and_is_kept_beside() -> None:
    _, made = dataset()
    assert made["price"].attrs["units"] == "1"
    assert made["price"].attrs["currency_units"] == "GBP/MWh"
    assert made["temperature"].attrs["units"] == "degC"
    assert made["temperature"].attrs["standard_name"] == "air_temperature"

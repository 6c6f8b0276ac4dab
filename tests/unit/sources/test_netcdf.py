"""NetCDF 3 and 4, with known answers."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from pipeline.errors import ConfigError, ContractError
from pipeline.settings import Settings
from pipeline.sources import grids
from pipeline.sources.netcdf import NetcdfAdapter
from pipeline.sources.slabs import times_of
from tests.unit.sources.made import HOURS, at, netcdf, source

GRID = source("netcdf", {}, {"a": {"column": "t2m", "unit": "K"}})
FORMATS = ("NETCDF4", "NETCDF3_64BIT", "NETCDF3_CLASSIC")


@pytest.mark.parametrize("form", FORMATS)
def test_a_grid_is_read_cell_by_cell_with_its_places(form: str) -> None:
    found = NetcdfAdapter().parse(GRID, {"x.nc": netcdf(form)})
    assert found.raw_rows == len(found) == 18
    assert found.node_ids[4] == "y001x001"
    assert found.valid_time[::6].tolist() == [at("2020-03-01T00:00"), at("2020-03-01T01:00"), at("2020-03-01T02:00")]
    assert found.values["a"][6:12].tolist() == [100, 101, 102, 110, 111, 112]
    assert np.isnan(found.values["a"][-1])
    places = NetcdfAdapter().parse_places(GRID, {"x.nc": netcdf(form)})
    assert (places.shape, places.ids) == ((2, 3), found.node_ids)
    assert places.longitude.tolist() == [-1, 0, 1] * 2
    assert places.latitude.tolist() == [52] * 3 + [51] * 3


@pytest.mark.parametrize("form", FORMATS)
def test_whole_grids_need_no_names_and_are_the_rows_of_their_cells(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = NetcdfAdapter().parse(GRID, {"x.nc": netcdf(form)})
    monkeypatch.setattr(grids, "MAX_NODES", 5)
    with pytest.raises(ContractError, match=r"2 x 3 cells, more than 5.*slabs = true"):
        NetcdfAdapter().parse(GRID, {"x.nc": netcdf(form)})
    whole = GRID.model_copy(update={"slabs": True})
    times, wanted = NetcdfAdapter().slab_times(whole, {"x.nc": netcdf(form)}), times_of(rows, 6)
    assert times.valid_time.tolist() == wanted.valid_time.tolist()
    assert (times.row.tolist(), times.cells, times.raw_rows) == (wanted.row.tolist(), 6, 3)
    assert times.content is not None
    assert wanted.content is not None
    assert times.content.tolist() == wanted.content.tolist()
    found = NetcdfAdapter().slabs(whole, {"x.nc": netcdf(form)}, np.array([3, 1]))
    assert (found.latitude.tolist(), found.longitude.tolist()) == ([52, 51], [-1, 0, 1])
    np.testing.assert_array_equal(found.values["a"], rows.values["a"].reshape(3, 6)[[2, 0]])
    series = source("netcdf", {"layout": "one", "node": "here"}, {"a": {"column": "t2m", "unit": "K"}})
    one = bytes(xr.Dataset({"t2m": ("time", [1.0, 2.0, 3.0])}, coords={"time": HOURS}).to_netcdf(None, engine="scipy"))
    with pytest.raises(ContractError, match="drop slabs = true"):
        NetcdfAdapter().slab_times(series, {"x.nc": one})


def test_an_area_takes_its_cells_under_their_own_names() -> None:
    read = source("netcdf", {"area": [50.0, -0.5, 51.5, 2.0]}, {"a": {"column": "t2m", "unit": "K"}})
    found = NetcdfAdapter().parse(read, {"x.nc": netcdf()})
    assert found.node_ids == ("y001x001", "y001x002")
    assert found.values["a"][:2].tolist() == [11, 12]
    with pytest.raises(ContractError, match="area"):
        NetcdfAdapter().parse(source("netcdf", {"area": [0.0, 0.0, 1.0, 1.0]}, {"a": {"column": "t2m", "unit": "K"}}), {"x.nc": netcdf()})


def test_scaled_integers_series_of_nodes_and_one_series_are_read() -> None:
    data = xr.Dataset({"v": (("station", "time"), [[1.5, 2.5, np.nan], [3.0, 4.0, 5.0]])}, coords={"time": HOURS, "station": ["p", "q"]})
    raw = data.to_netcdf(None, engine="h5netcdf", encoding={"v": {"dtype": "i2", "scale_factor": 0.5, "_FillValue": -1}})
    read = source("netcdf", {"layout": "nodes", "node": "station", "interval": "1h"}, {"a": {"column": "v", "unit": "K"}})
    found = NetcdfAdapter().parse(read, {"x.nc": bytes(raw)})
    assert found.node_ids == ("p", "q")
    assert found.values["a"][:4].tolist() == [1.5, 3.0, 2.5, 4.0]
    assert np.isnan(found.values["a"][4])
    assert found.valid_time[0] == at("2020-03-01T01:00")
    single = bytes(data.isel(station=0, drop=True).to_netcdf(None, engine="scipy"))
    one = source("netcdf", {"layout": "one", "node": "here"}, {"a": {"column": "v", "unit": "K"}})
    assert NetcdfAdapter().parse(one, {"x.nc": single}).values["a"][:2].tolist() == [1.5, 2.5]


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.97])
def test_a_truncated_file_is_refused_or_read_whole(form: str, share: float) -> None:
    whole = netcdf(form)
    with pytest.raises(ContractError, match=r"x\.nc"):
        NetcdfAdapter().parse(GRID, {"x.nc": whole[: int(len(whole) * share)]})


def test_a_terabyte_declared_in_a_kilobyte_is_refused_at_once() -> None:
    import h5py

    for name in ("t2m", "time", "latitude"):
        out = io.BytesIO()
        with h5py.File(out, "w") as file:
            for other in ("t2m", "time", "latitude", "longitude"):
                file.create_dataset(other, shape=(2**40,) if other == name else (2,), dtype="f4", chunks=(2,) if other != name else (1024,))
        with pytest.raises(ContractError, match=r"declared|units"):
            NetcdfAdapter().parse(GRID, {"x.nc": out.getvalue()})


def test_what_does_not_fit_is_refused_by_name() -> None:
    plain = xr.Dataset({"t2m": (("time",), [1.0])}, coords={"time": [5.0], "latitude": [95.0], "longitude": [1.0]})
    with pytest.raises(ContractError, match=r"times 'time'.*units"):
        NetcdfAdapter().parse(GRID, {"x.nc": bytes(plain.to_netcdf(None, engine="scipy"))})
    swapped = plain.assign_coords(time=HOURS[:1])
    with pytest.raises(ContractError, match="swapped"):
        NetcdfAdapter().parse(GRID, {"x.nc": bytes(swapped.to_netcdf(None, engine="scipy"))})
    with pytest.raises(ContractError, match="column 'sst'"):
        NetcdfAdapter().parse(source("netcdf", {}, {"a": {"column": "sst", "unit": "K"}}), {"x.nc": netcdf()})
    with pytest.raises(ConfigError, match="layout"):
        NetcdfAdapter().check(source("netcdf", {"layout": "nodes"}))


def test_the_places_come_from_the_first_file(tmp_path: Path) -> None:
    for name in ("b.nc", "a.nc"):
        (tmp_path / name).write_bytes(netcdf())
    read = source("netcdf", {}, {"a": {"column": "t2m", "unit": "K"}}, locations=["data://*.nc"])
    found = list(NetcdfAdapter().deliveries(read, Settings(store="", data=tmp_path, dask=None), datetime(2021, 1, 1, tzinfo=UTC)))
    assert [(d.name, d.role) for d in found] == [("a.nc", "readings"), ("b.nc", "readings"), ("a.nc", "nodes")]

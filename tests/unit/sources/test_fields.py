"""Some grids of a file are those of the whole file, by their numbers, and an area may lie where a grid begins."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import xarray as xr

from pipeline.sources.registry import adapter_named
from pipeline.sources.slabs import slab_times, slabs
from tests.unit.sources.made import source

LATITUDE, LONGITUDE = np.linspace(60, 50, 6), np.arange(0.0, 360, 10)
VALUES = np.random.default_rng(1).random((6, 6, 36), np.float32)
HOURS = np.datetime64("2020-03-01", "ns") + np.arange(6) * np.timedelta64(1, "h")
GREENWICH = {"area": (51.0, -25.0, 57.0, 25.0)}
PLACES = {"layout": "grid", "latitude": "latitude", "longitude": "longitude", "time": "time", "order": ("longitude", "time", "latitude")}


def dataset() -> xr.Dataset:
    return xr.Dataset({"v": (("time", "latitude", "longitude"), VALUES)}, {"time": HOURS, "latitude": LATITUDE, "longitude": LONGITUDE})


def of_netcdf(_: Path) -> dict[str, bytes]:
    data = dataset().transpose("latitude", "longitude", "time")
    data = data.assign_coords(time=("time", np.where(np.arange(6) == 2, np.datetime64("NaT"), HOURS)))
    return {"x.nc": bytes(data.to_netcdf(None, engine="h5netcdf"))}


def of_hdf5(_: Path) -> dict[str, bytes]:
    out = io.BytesIO()
    with h5py.File(out, "w") as file:
        file.create_dataset("v", data=VALUES.transpose(2, 0, 1), chunks=(7, 2, 4), compression="gzip")
        file["latitude"], file["longitude"] = LATITUDE, LONGITUDE
        file["time"] = np.where(np.arange(6) == 2, np.nan, 1583020800.0 + 3600 * np.arange(6))
    return {"x.h5": out.getvalue()}


def of_zarr(folder: Path) -> dict[str, bytes]:
    encoding: Any = {"v": {"chunks": (2, 4, 20)}}
    values = dataset()
    values["v"][2] = np.nan  # a step of which there is nothing
    values.to_zarr(folder / "x.zarr", zarr_format=2, consolidated=False, encoding=encoding)
    files = [path for path in (folder / "x.zarr").rglob("*") if path.is_file()]
    return {path.relative_to(folder / "x.zarr").as_posix(): path.read_bytes() for path in files}


@pytest.mark.parametrize(
    ("adapter", "made", "options"),
    [("netcdf", of_netcdf, {}), ("hdf5", of_hdf5, PLACES), ("zarr", of_zarr, {})],
    ids=["netcdf", "hdf5", "zarr"],
)
@pytest.mark.parametrize("numbers", [[1, 2, 3, 4, 5], [4], [5, 2], [2, 3]])
def test_grids_are_read_by_their_numbers_and_an_area_in_two_pieces(
    tmp_path: Path, adapter: str, made: Any, options: dict[str, Any], numbers: list[int]
) -> None:
    read, parts, one = source(adapter, options | GREENWICH, {"v": {"unit": "count"}}, slabs=True), made(tmp_path), adapter_named(adapter)
    times = slab_times(one, read, parts)
    there = np.array([0, 1, 3, 4, 5])  # the third has no stamp, or no value
    assert times.valid_time.tolist() == (1583020800 + 3600 * there).tolist()
    found = slabs(one, read, parts, np.array(numbers))
    columns = [0, 1, 2, 34, 35]
    assert found.longitude.tolist() == [0, 10, 20, -20, -10]
    wanted = VALUES[there[np.array(numbers) - 1]][:, 2:5][:, :, columns]
    np.testing.assert_array_equal(found.values["v"], wanted.reshape(len(numbers), -1))


def test_an_hdf5_grid_whose_dimensions_are_in_another_order_is_refused(tmp_path: Path) -> None:
    turned = source("hdf5", PLACES | {"order": ("latitude", "time", "longitude")}, {"v": {"unit": "count"}}, slabs=True)
    with pytest.raises(Exception, match=r"shape \(6, 36, 6\), not 6 stamps of 6 x 36 values"):
        slab_times(adapter_named("hdf5"), turned, of_hdf5(tmp_path))

"""What whole grids take while they are read is what a plan says of it, whatever the format."""

from __future__ import annotations

import io
import tracemalloc
from importlib.util import find_spec
from typing import Any

import h5py
import numpy as np
import pytest
import xarray as xr

from pipeline.sources.registry import adapter_named
from pipeline.sources.slabs import slab_times, slabs
from pipeline.steps.slab_fields import slabs_bytes
from tests.unit.sources.made import png, source

SIDE, SLABS = 400, 8
AREA = (53.0, 3.0, 56.2, 6.2)
LATITUDE, LONGITUDE = np.linspace(60, 50, SIDE), np.linspace(0, 10, SIDE)


def grids(form: str, engine: Any, **encoding: Any) -> bytes:
    values = np.random.default_rng(1).random((SLABS, SIDE, SIDE), np.float32)
    hours = np.datetime64("2020-03-01", "ns") + np.arange(SLABS) * np.timedelta64(1, "h")
    where = {"time": hours, "latitude": LATITUDE, "longitude": LONGITUDE}
    data = xr.Dataset({"v": (("time", "latitude", "longitude"), values)}, coords=where)
    return bytes(data.to_netcdf(None, engine=engine, format=form, encoding={"v": encoding}))  # type: ignore[call-overload]


def hdf5() -> bytes:
    out = io.BytesIO()
    with h5py.File(out, "w") as file:
        file["v"] = np.random.default_rng(1).random((SLABS, SIDE, SIDE), np.float32)
        file["latitude"], file["longitude"] = LATITUDE, LONGITUDE
    return out.getvalue()


PACKED = {"dtype": "i2", "scale_factor": 1e-4, "_FillValue": -1, "zlib": True}
STAMPED = {"time_pattern": "x(\\d{12})"}
BOUNDS = {"bounds": [50.0, 0.0, 60.0, 10.0]}
LEGEND = {"legend": [["#000000", 0.0], ["#0000ff", 5.0]]}
PLACES = {"layout": "grid", "latitude": "latitude", "longitude": "longitude", "first_time": "2020-03-01T00:00Z", "step": "1h"}
KINDS: dict[str, tuple[str, dict[str, Any], str, Any]] = {
    "netcdf": ("netcdf", {}, "x.nc", lambda: grids("NETCDF4", "h5netcdf")),
    "netcdf, packed": ("netcdf", {}, "x.nc", lambda: grids("NETCDF4", "h5netcdf", **PACKED)),
    "netcdf 3": ("netcdf", {}, "x.nc", lambda: grids("NETCDF3_64BIT", "scipy")),
    "hdf5": ("hdf5", PLACES, "x.h5", hdf5),
    "png": ("images", STAMPED | BOUNDS, "x202003010000.png", lambda: png(np.zeros((SIDE, SIDE), np.uint8))),
    "png, by a legend": ("images", STAMPED | BOUNDS | LEGEND, "x202003010000.png", lambda: png(np.zeros((3, SIDE, SIDE), np.uint8))),
}


@pytest.mark.parametrize("all_of_them", [False, True])
@pytest.mark.parametrize(("kind", "area"), [(k, a) for k in KINDS for a in (None, AREA) if a is None or "png" not in k])
def test_grids_take_no_more_than_is_planned_for_them_and_not_much_less(kind: str, area: Any, all_of_them: bool) -> None:
    adapter, options, file, bytes_of = KINDS[kind]
    if adapter == "images" and find_spec("rasterio") is None:
        pytest.skip("the extra 'images' is not installed")
    column = {"column": "1"} if adapter == "images" else {}
    read = source(adapter, options | ({"area": area} if area else {}), {"v": {"unit": "count"} | column}, slabs=True)
    data, one = bytes_of(), adapter_named(adapter)
    times = slab_times(one, read, {file: data})
    numbers = np.arange(1, len(times) + 1)
    numbers, cells = numbers if all_of_them else numbers[len(numbers) // 2 :][:1], times.cells
    tracemalloc.start()
    try:
        taken = slabs(one, read, {file: bytes(memoryview(data))}, numbers)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert taken.values["v"].shape == (len(numbers), cells)
    planned = slabs_bytes(read, cells, len(numbers), len(data), 0)
    assert peak <= planned <= 3 * peak

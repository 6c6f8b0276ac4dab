"""Small files of every format, made on the spot, and sources that read them."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.contracts.times import to_seconds
from pipeline.contracts.worlds import Source

HOURS = np.array(["2020-03-01T00", "2020-03-01T01", "2020-03-01T02"], "datetime64[ns]")


def at(text: str) -> int:
    return to_seconds(datetime.fromisoformat(text).replace(tzinfo=UTC))


def source(adapter: str, options: dict[str, Any], variables: dict[str, Any] | None = None, **fields: Any) -> Source:
    content = {"adapter": adapter, "locations": ["data://x"], "options": options, "variables": variables or {"a": {"unit": "count"}}}
    return Source.model_validate({**content, **fields})


def parquet(**columns: Any) -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.table(columns), out)
    return out.getvalue()


def netcdf(form: str = "NETCDF4", **attributes: Any) -> bytes:
    """A grid of 3 hours x 2 latitudes x 3 longitudes: 100 * hour + 10 * row + column, the last one missing."""
    import xarray as xr

    values = (100 * np.arange(3)[:, None, None] + 10 * np.arange(2)[:, None] + np.arange(3)).astype("f4")
    values[-1, -1, -1] = np.nan
    data = xr.Dataset(
        {"t2m": (("time", "latitude", "longitude"), values, attributes)},
        coords={"time": HOURS, "latitude": [52.0, 51.0], "longitude": [359.0, 0.0, 1.0]},
    )
    encoding = {"t2m": {"_FillValue": np.float32(-999)}, "time": {"units": "hours since 2000-01-01", "dtype": "i4"}}
    engine: Any = "h5netcdf" if form == "NETCDF4" else "scipy"
    out = data.to_netcdf(None, engine=engine, format=form, encoding=encoding)  # type: ignore[call-overload]
    return bytes(out)


def grib(hours: int = 3, step: int = 0, name: str = "2t", edition: int = 2) -> bytes:
    """Messages of a grid of 2 latitudes x 3 longitudes: 100 * hour + 10 * row + column, the last cell missing."""
    import eccodes as codes

    out = b""
    for hour in range(hours):
        handle = codes.codes_grib_new_from_samples(f"regular_ll_sfc_grib{edition}")
        where = {"latitudeOfFirstGridPointInDegrees": 52.0, "latitudeOfLastGridPointInDegrees": 51.0, "jDirectionIncrementInDegrees": 1.0}
        where |= {
            "longitudeOfFirstGridPointInDegrees": 359.0,
            "longitudeOfLastGridPointInDegrees": 1.0,
            "iDirectionIncrementInDegrees": 1.0,
        }
        for key, value in {"Ni": 3, "Nj": 2, **where, "dataDate": 20200301, "dataTime": hour * 100, "shortName": name}.items():
            codes.codes_set(handle, key, value)
        if step:
            codes.codes_set(handle, "step", step)
        codes.codes_set(handle, "bitmapPresent", 1)
        codes.codes_set(handle, "missingValue", 9999.0)
        values = (100.0 * hour + 10 * np.arange(2)[:, None] + np.arange(3)).ravel()
        values[-1] = 9999.0
        codes.codes_set(handle, "bitsPerValue", 24)
        codes.codes_set_values(handle, values)
        out += codes.codes_get_message(handle)
        codes.codes_release(handle)
    return out


def png(values: Any, palette: dict[int, tuple[int, ...]] | None = None) -> bytes:
    """An image of one band, or of several along the first dimension."""
    return _image("PNG", values, palette=palette)


def tiff(
    values: Any,
    *,
    west: float = -1.0,
    north: float = 52.0,
    south_up: bool = False,
    crs: str | None = "EPSG:4326",
    tags: dict[str, str] | None = None,
    descriptions: tuple[str, ...] = (),
    scales: tuple[float, ...] = (),
    offsets: tuple[float, ...] = (),
    **fields: Any,
) -> bytes:
    """An image whose pixels are one degree wide and high."""
    from rasterio import Affine

    high = np.shape(values)[-2]
    transform = Affine(1, 0, west, 0, 1 if south_up else -1, north - high if south_up else north)
    said = {"tags": tags or {}, "descriptions": descriptions, "scales": scales, "offsets": offsets}
    return _image("GTiff", values, said=said, crs=crs, transform=transform, **fields)


def _image(
    driver: str, values: Any, palette: dict[int, tuple[int, ...]] | None = None, said: dict[str, Any] | None = None, **fields: Any
) -> bytes:
    import warnings

    from rasterio.io import MemoryFile

    bands = np.asarray(values)
    bands = bands if bands.ndim == 3 else bands[None]
    shape = {"count": bands.shape[0], "height": bands.shape[1], "width": bands.shape[2], "dtype": bands.dtype.name}
    with warnings.catch_warnings(action="ignore"), MemoryFile() as memory:
        with memory.open(driver=driver, **shape, **fields) as out:
            if palette is not None:
                out.write_colormap(1, palette)
            for name in ("descriptions", "scales", "offsets"):
                if said and said[name]:
                    setattr(out, name, said[name])
            if said and said["tags"]:
                out.update_tags(**said["tags"])
            out.write(bands)
        return bytes(memory.read())


def zarr_store(version: int = 2, *, hours: int = 3, chunk: int = 1, **fields: Any) -> dict[str, bytes]:
    """The objects of a store with the grid that `netcdf` holds; `fields` go to the encoding of `t2m`."""
    import tempfile
    from pathlib import Path

    import xarray as xr

    values = (100 * np.arange(hours)[:, None, None] + 10 * np.arange(2)[:, None] + np.arange(3)).astype("f4")
    values[-1, -1, -1] = np.nan
    data = xr.Dataset(
        {"t2m": (("time", "latitude", "longitude"), values, {"units": "K"})},
        coords={"time": HOURS[0] + np.arange(hours) * np.timedelta64(1, "h"), "latitude": [52.0, 51.0], "longitude": [359.0, 0.0, 1.0]},
    )
    encoding = {"t2m": {"chunks": (chunk, 2, 3), **fields}, "time": {"units": "hours since 1900-01-01", "dtype": "i8"}}
    with tempfile.TemporaryDirectory() as folder:
        data.to_zarr(folder, zarr_format=version, encoding=encoding, consolidated=False)  # type: ignore[call-overload]
        root = Path(folder)
        return {p.relative_to(root).as_posix(): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}

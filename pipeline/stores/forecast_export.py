"""Published forecasts as a file (NetCDF) or folder (plain Zarr) of their own, in our names or in those of WeatherBench."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from pipeline.contracts.times import format_instant, from_seconds
from pipeline.errors import ConfigError, NotYetAvailable
from pipeline.stores.exports import appearing

if TYPE_CHECKING:
    import xarray as xr

Form = Literal["netcdf", "zarr"]
Names = Literal["cubecast", "weatherbench"]
_LARGEST = 8 << 30
"""Bytes that an export may hold in memory."""


def chosen(dataset: xr.Dataset, *, start: int | None, end: int | None, variables: tuple[str, ...]) -> xr.Dataset:
    """The issue times from `start` to `end` (seconds UTC, both included) in order, of some variables or of all.

    Raises:
        NotYetAvailable: There is no such issue time.
        ConfigError: There is no such variable, or more than fits.
    """
    known = list(dataset.attrs["cubecast"]["units"])
    absent = [name for name in variables if name not in known]
    if absent:
        raise ConfigError(asked=f"variable {', '.join(absent)}", found=f"variables {', '.join(known)}", mend="ask for one of these")
    times = dataset["issue_time"].values
    keep = np.flatnonzero((times >= (times.min() if start is None else start)) & (times <= (times.max() if end is None else end)))
    if not keep.size:
        names = [format_instant(from_seconds(t)) for t in (times.min(), times.max())]
        raise NotYetAvailable(
            asked="forecasts issued then", found=f"{len(times)} issue times from {names[0]} to {names[1]}", mend="ask for some of these"
        )
    dropped = [f"{name}{suffix}" for name in known for suffix in ("", "_model") if variables and name not in variables]
    told = {str(name): array.attrs["variable"] for name, array in dataset.data_vars.items() if "event" in array.attrs}
    dropped += [name for name, variable in told.items() if variables and variable not in variables]
    found = dataset.drop_vars(dropped).isel(issue_time=keep[np.argsort(times[keep], kind="stable")])
    if found.nbytes > _LARGEST:
        raise ConfigError(
            asked=f"export {keep.size} issue times",
            found=f"{found.nbytes / 2**30:.1f} GiB, more than {_LARGEST >> 30}",
            mend="export fewer issue times (--from, --to) or one --variable at a time",
        )
    return found


def export(dataset: xr.Dataset, to: Path, form: Form) -> None:
    """Write a dataset to a path where there is nothing yet; it appears there whole or not at all.

    Raises:
        ConfigError: Something is there already, or its folder is not.
        StoreError: The disk refused.
    """
    with appearing(to) as part:
        whole = _plain(dataset.load())
        if form == "zarr":
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", message="Consolidated metadata is currently not part")
                whole.to_zarr(part, mode="w-", zarr_format=3, consolidated=True, encoding=_encoding(whole, "chunks"))
        else:
            # A coordinate variable of CF is a number; names of nodes are not.
            whole = whole.rename_vars({name: f"{name}_id" for name in ("node", "station") if name in whole.coords})
            whole.to_netcdf(part, mode="w", format="NETCDF4", engine="h5netcdf", encoding=_encoding(whole, "chunksizes"))


def weatherbench(dataset: xr.Dataset, renamed: Mapping[str, str], *, median: bool) -> xr.Dataset:
    """Dims `time`, `prediction_timedelta` and, for a grid, `latitude` and `longitude` (0 .. 360); else `station`.

    Args:
        dataset: As `chosen`.
        renamed: New names of variables, such as `2m_temperature`.
        median: Leave out the other quantiles, and the dimension.

    Raises:
        ConfigError: The leads are not the same for all issue times, as with a calendar of sessions.
    """
    import xarray as xr

    leads, periods = dataset["lead_time"].values, dataset["forecast_period"].values
    if (periods != leads).any():
        raise ConfigError(
            asked="names of WeatherBench",
            found="leads that differ between issue times (sessions, or issue times between two steps)",
            mend="export in the names of Cubecast, where forecast_period has the exact leads",
        )
    kept = [name for name in dataset.attrs["cubecast"]["units"] if name in dataset]
    found = dataset[kept].drop_vars(["forecast_period", "valid_time"])
    found = found.sel(quantile=0.5, drop=True) if median else found
    shape = dataset.attrs["cubecast"]["grid_shape"]
    found = found.rename({"node": "station"}) if shape is None else _unstacked(found, *shape)
    found = found.rename({"issue_time": "time", "lead_time": "prediction_timedelta", **{k: v for k, v in renamed.items() if k in kept}})
    for array in found.values():
        array.attrs.pop("ancillary_variables", None)
    deltas: Any = xr.Variable("prediction_timedelta", leads.astype("timedelta64[s]").astype("timedelta64[ns]"), {"long_name": "lead time"})
    instants = dataset["issue_time"].values.astype("datetime64[s]").astype("datetime64[ns]")
    time: Any = xr.Variable("time", instants, {"standard_name": "forecast_reference_time", "long_name": "issue time"})
    return found.assign_coords(time=time, prediction_timedelta=deltas)


def _unstacked(dataset: xr.Dataset, rows: int, columns: int) -> xr.Dataset:
    """A grid whose rows share a latitude and whose columns share a longitude, as rows and columns.

    Raises:
        ConfigError: It is another grid.
    """
    latitude, longitude = (dataset[name].values.reshape(rows, columns) for name in ("latitude", "longitude"))
    if not (np.allclose(latitude, latitude[:, :1]) and np.allclose(longitude, longitude[:1])):
        raise ConfigError(
            asked="names of WeatherBench",
            found="a grid that is not one of latitudes and longitudes",
            mend="export in the names of Cubecast",
        )
    places = {name: dict(dataset[name].attrs) for name in ("latitude", "longitude")}
    bare = dataset.drop_vars(["node", "latitude", "longitude"])
    found = bare.coarsen(node=columns).construct(node=("latitude", "longitude"))
    found = found.assign_coords(
        latitude=("latitude", latitude[:, 0], places["latitude"]), longitude=("longitude", longitude[0] % 360, places["longitude"])
    )
    return found.sortby(["latitude", "longitude"])


def _plain(dataset: xr.Dataset) -> xr.Dataset:
    """Strings as objects and no nested attributes, as files hold them."""
    found = dataset.copy()
    found.attrs = {key: value for key, value in dataset.attrs.items() if key != "cubecast"}
    for name, variable in found.variables.items():
        if variable.dtype.kind == "T":
            found[name] = variable.astype(object)
    for variable in found.variables.values():
        variable.encoding = {key: value for key, value in variable.encoding.items() if key == "coordinates"}
    return found


def _encoding(dataset: xr.Dataset, word: str) -> dict[str, dict[str, Any]]:
    encoding: dict[str, dict[str, Any]] = {}
    for name, variable in dataset.variables.items():
        if variable.dtype.kind in "OmM":
            continue
        floats = name in dataset.data_vars and variable.dtype.kind == "f"
        encoding[str(name)] = {"_FillValue": np.float32(np.nan) if floats else None}
        if floats:
            encoding[str(name)] |= {word: (1, *variable.shape[1:])} | ({"zlib": True, "complevel": 1} if word == "chunksizes" else {})
    return encoding

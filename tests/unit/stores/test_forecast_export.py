"""Copies of published forecasts: NetCDF that a CF checker passes, and the names that WeatherBench readers expect."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from pipeline.errors import ConfigError, NotYetAvailable
from pipeline.stores.forecast_arrays import ForecastArrays
from pipeline.stores.forecast_export import chosen, export, weatherbench
from tests.browser.demo import ISSUE_TIME
from tests.cf_checker import cf_faults
from tests.unit.stores.published_demo import FORECAST, PAGE, rows_of

WEATHER = FORECAST.domains["weather"]
GRID = (2, 3)


@pytest.fixture(scope="module")
def arrays(tmp_path_factory: pytest.TempPathFactory) -> ForecastArrays:
    """Two issue times, put in the wrong order, the weather as a grid of latitudes and longitudes."""
    store = ForecastArrays(str(tmp_path_factory.mktemp("store")), "demo")
    cells = GRID[0] * GRID[1]
    values = np.tile(WEATHER.quantiles_LNVQ, (1, cells, 1, 1)) + np.arange(cells, dtype=np.float32)[:, None, None]
    weather = replace(WEATHER, node_ids=tuple(f"c{i}" for i in range(cells)), quantiles_LNVQ=values)
    latitude, longitude = (a.ravel() for a in np.meshgrid([56.2, 56.1], [-0.1, 0.0, 0.1], indexing="ij"))
    grid = replace(PAGE.cubes["weather"].nodes, ids=weather.node_ids, latitude=latitude, longitude=longitude, shape=GRID)
    for hours in (1, 0):
        domains = {**FORECAST.domains, "weather": weather}
        rows = rows_of(replace(FORECAST, issue_time=ISSUE_TIME + hours * 3600, domains=domains))
        store.put(replace(rows, places={**rows.places, "weather": grid}))
    return store


def _chosen(arrays: ForecastArrays, domain: str, **options) -> xr.Dataset:
    return chosen(arrays.open(domain, decode=False), **({"start": None, "end": None, "variables": ()} | options))


@pytest.mark.parametrize("domain", ["weather", "market", "traffic"])
def test_the_netcdf_passes_a_cf_checker_without_error(arrays: ForecastArrays, tmp_path: Path, domain: str) -> None:
    export(_chosen(arrays, domain), tmp_path / "a.nc", "netcdf")
    assert cf_faults(tmp_path / "a.nc", tmp_path) == []


def test_xarray_reads_back_what_was_exported_in_order_of_issue_time(arrays: ForecastArrays, tmp_path: Path) -> None:
    export(_chosen(arrays, "traffic", variables=("average_speed",)), tmp_path / "a.nc", "netcdf")
    with xr.open_dataset(tmp_path / "a.nc", engine="h5netcdf") as found:
        assert "vehicle_count" not in found
        assert list(found.issue_time.values) == [np.datetime64("2014-09-30T16:00", "ns"), np.datetime64("2014-09-30T17:00", "ns")]
        assert np.array_equal(found.average_speed.values[1], FORECAST.domains["traffic"].quantiles_LNVQ[:, :, 1])
        assert list(found.node_id.values) == list(FORECAST.domains["traffic"].node_ids)
        assert found.average_speed.attrs["units"] == "km/h"
        assert "model_id" in str(found.provenance.values[0])


def test_plain_zarr_opens_without_icechunk(arrays: ForecastArrays, tmp_path: Path) -> None:
    later = _chosen(arrays, "traffic", start=ISSUE_TIME + 1)
    export(later, tmp_path / "a.zarr", "zarr")
    found = xr.open_zarr(tmp_path / "a.zarr")
    assert found.sizes["issue_time"] == 1
    assert np.array_equal(found.vehicle_count.values[0], FORECAST.domains["traffic"].quantiles_LNVQ[:, :, 0])


def test_readers_of_weatherbench_find_their_dimensions(arrays: ForecastArrays, tmp_path: Path) -> None:
    made = weatherbench(_chosen(arrays, "weather"), {"temperature": "2m_temperature"}, median=True)
    export(made, tmp_path / "wb.zarr", "zarr")
    found = xr.open_zarr(tmp_path / "wb.zarr").rename({"time": "init_time", "prediction_timedelta": "lead_time"})
    assert found["2m_temperature"].dims == ("init_time", "lead_time", "latitude", "longitude")
    assert list(found.latitude.values) == [56.1, 56.2]
    assert list(found.longitude.values) == [0.0, 0.1, 359.9]
    value = found["2m_temperature"].sel(
        init_time=np.datetime64("2014-09-30T16:00"), lead_time=np.timedelta64(3, "h"), latitude=56.2, longitude=359.9
    )
    assert float(value) == pytest.approx(float(WEATHER.quantiles_LNVQ[2, 0, 0, 3]))
    stations = weatherbench(_chosen(arrays, "parking"), {}, median=False)
    assert stations["occupied"].dims == ("time", "prediction_timedelta", "station", "quantile")


def test_leads_that_differ_between_issue_times_have_no_names_in_weatherbench(arrays: ForecastArrays) -> None:
    found = _chosen(arrays, "parking")
    uneven = found.assign_coords(forecast_period=found["forecast_period"] + 60)
    with pytest.raises(ConfigError, match="leads that differ"):
        weatherbench(uneven, {}, median=False)


def test_what_is_not_there_is_told(arrays: ForecastArrays, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="average_speed"):
        _chosen(arrays, "traffic", variables=("speed",))
    with pytest.raises(NotYetAvailable, match="2 issue times from 2014-09-30T16:00:00Z to 2014-09-30T17:00:00Z"):
        _chosen(arrays, "traffic", end=ISSUE_TIME - 1)
    (tmp_path / "there.nc").touch()
    with pytest.raises(ConfigError, match="already"):
        export(_chosen(arrays, "parking"), tmp_path / "there.nc", "netcdf")
    assert [p.name for p in tmp_path.iterdir()] == ["there.nc"]

"""Sources of every kind from landing to the cube and into windows: live providers, radar, series of images."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest

from pipeline.api import BuildCubeRequest, LandRequest, ObserveRequest
from pipeline.contracts.cubes import DomainCube
from pipeline.contracts.times import parse_instant, to_seconds
from pipeline.contracts.windows import DomainWindows
from pipeline.contracts.world_files import load_world, worlds_folder
from pipeline.settings import Settings, read_settings
from pipeline.sources.web import Policy
from pipeline.steps import build_cube, land, observe, reading
from pipeline.stores.cubes import CubeStore
from pipeline.telemetry import QUIET
from tests.unit.sources.live_feeds import reply
from tests.unit.sources.made import png, tiff
from tests.unit.sources.server import Answer, Asked, provider


def made(world: Path, settings: Settings, now: datetime) -> tuple[dict[str, DomainCube], dict[str, DomainWindows]]:
    """The cubes of a world whose feeds were fetched at once, and the windows of each domain."""
    land.run(LandRequest(world=str(world), as_of=now, received_time=now), settings, QUIET)
    counts = observe.run(ObserveRequest(world=str(world), as_of=now), settings, QUIET).counts
    assert [name for name, count in counts.items() if name.endswith("rejected") and count] == []
    build_cube.run(BuildCubeRequest(world=str(world), as_of=now), settings, QUIET)
    loaded = load_world(str(world))
    CubeStore(settings.store, loaded.name).verify(QUIET)
    inputs = reading.open_inputs(loaded, settings, now)
    return dict(inputs.cubes), reading.built(loaded, inputs, to_seconds(now), None).domains


# ---- London --------------------------------------------------------------------------------------------------------

LONDON_NOW = datetime(2026, 1, 9, tzinfo=UTC)


def days(first: str, last: str, form: str) -> Iterator[datetime]:
    day, end = (datetime.strptime(text, form).replace(tzinfo=UTC) for text in (first, last))
    while day <= min(end, LONDON_NOW):
        yield day
        day += timedelta(days=1)


def weather(asked: Asked) -> Answer:
    """Open-Meteo: the temperature is the hour, a run says a degree more."""
    run = asked.query.get("run")
    first = datetime.fromisoformat(run or asked.query["start_date"]).replace(tzinfo=UTC)
    last = first + timedelta(days=2) if run else datetime.fromisoformat(asked.query["end_date"]).replace(tzinfo=UTC)
    hours = [first + timedelta(hours=h) for h in range(24 * ((last - first).days + 1))]
    units = {"temperature_2m": "°C", "precipitation": "mm", "wind_speed_10m": "km/h"}
    values = {
        "temperature_2m": [h.hour + bool(run) for h in hours],
        "precipitation": [0.5] * len(hours),
        "wind_speed_10m": [36] * len(hours),
    }
    names = asked.query["hourly"].split(",")
    one = {
        "utc_offset_seconds": 0,
        "hourly_units": {"time": "iso8601", **{n: units[n] for n in names}},
        "hourly": {"time": [f"{h:%Y-%m-%dT%H:%M}" for h in hours], **{n: values[n] for n in names}},
    }
    return reply([one] * len(asked.query["latitude"].split(",")))


def traffic(asked: Asked) -> Answer:
    """WebTRIS: as many vehicles as quarters of an hour have passed, at 50 mph."""
    rows = [
        {
            "Report Date": f"{day:%Y-%m-%d}T00:00:00",
            "Time Period Ending": f"{q // 4:02d}:{q % 4 * 15 + 14}:00",
            "Avg mph": "50",
            "Total Volume": str(q),
        }
        for day in days(asked.query["start_date"], asked.query["end_date"], "%d%m%Y")
        for q in range(96)
    ]
    return reply({"Header": {"row_count": len(rows), "links": []}, "Rows": rows})


def electricity(asked: Asked) -> Answer:
    """Elexon: the price is the half-hour of the day."""
    rows = [
        {"startTime": f"{day:%Y-%m-%d}T{h // 2:02d}:{h % 2 * 30:02d}:00Z", "dataProvider": "APXMIDP", "price": h, "volume": 10}
        for day in days(asked.query["from"][:10], asked.query["to"][:10], "%Y-%m-%d")
        for h in range(48)
    ]
    return reply({"data": rows})


def answer(asked: Asked, _: int) -> Answer:
    return traffic(asked) if "sites" in asked.query else electricity(asked) if "dataProviders" in asked.query else weather(asked)


def test_london_becomes_cubes_with_its_forecasts_by_others_and_windows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.sources.web.POLICY", Policy(attempts=2, first_wait=0.01, spacing=0.0))
    text = (worlds_folder() / "london.toml").read_text()
    with provider(answer) as p:
        for source in load_world("london").sources.values():
            address = urlsplit(source.locations[0])
            text = text.replace(source.locations[0], p.url(address.path)).replace(f'["{address.hostname}"]', f'["{p.host}"]')
        (tmp_path / "london.toml").write_text(text)
        own = Settings(store=str(tmp_path / "store"), data=None, dask=None)
        cubes, windows = made(tmp_path / "london.toml", own, LONDON_NOW)
    assert set(windows) == {"traffic", "weather", "electricity"}
    at = to_seconds(parse_instant("2026-01-03T06:00Z"))
    said = {name: cube.values_TNV[np.flatnonzero(cube.valid_time == at)[0]] for name, cube in cubes.items()}
    assert said["weather"].tolist() == [[6.0, 0.5, 10.0]] * 4
    assert said["traffic"][:, 0].tolist() == [23.0] * 9  # the quarter that ends at 6:00
    np.testing.assert_allclose(said["traffic"][:, 1], 50 * 1.609344, rtol=1e-6)
    assert said["electricity"].tolist() == [[11.0, 10.0]]  # the half-hour that begins at 5:30 is known at its end
    for name in ("traffic", "weather"):
        future = windows[name].future
        assert future is not None
        assert (future.run_W[-1] >= 0, future.good_IHNF.any()) == (True, True)
        newest = int(future.init_time_I[future.run_W[-1]])
        assert newest <= int(windows[name].issue_time_W[-1]) - 8 * 3600  # no run is seen before it is out
    assert all(len(view.issue_time_W) for view in windows.values())
    view, known = windows["weather"], int(windows["weather"].end_W[-1]) - 7  # what came within the last hours is not known yet
    np.testing.assert_allclose(view.unscale(view.values_TNV)[known, :, 0], view.valid_time_T[known] // 3600 % 24, atol=1e-4)


# ---- Grids and images ----------------------------------------------------------------------------------------------

GRID_WORLD = """
name = "rain"
title = "Rain as images"
start = "2020-03-01T00:00Z"
[sources.rain]
{source}
[sources.rain.variables]
rain = {{ {variable} }}
[domains.rain]
title = "Rain"
kind = "grid"
clock = {{ step = "{step}" }}
context = 3
horizon = 2
graph = {{ kind = "none" }}
{grid}
[domains.rain.variables]
rain = {{ source = "rain", aggregate = "last" }}
"""
SHARED = """adapter = "grib"
locations = ["data://mrms/*.grib2"]
slabs = true"""
PNGS = """adapter = "images"
locations = ["data://*.png"]
slabs = true
options = { time_pattern = "_(\\\\d{12})", bounds = [50.0, -1.0, 52.0, 2.0], scale = 0.5 }"""
TIFFS = """adapter = "images"
locations = ["data://*.tif"]
options = { time_pattern = "_(\\\\d{12})" }"""


def world_of(folder: Path, source: str, *, variable: str = 'unit = "mm/h"', step: str = "5min", grid: str = "") -> tuple[Path, Settings]:
    (folder / "data").mkdir()
    path = folder / "rain.toml"
    path.write_text(GRID_WORLD.format(source=source, variable=variable, step=step, grid=grid))
    return path, Settings(store=str(folder / "store"), data=folder / "data", dask=None)


@pytest.mark.skipif(find_spec("rasterio") is None, reason="the extra 'images' is not installed")
@pytest.mark.parametrize("kind", ["png", "tif"])
def test_a_series_of_images_becomes_a_cube_and_windows(tmp_path: Path, kind: str) -> None:
    world, own = world_of(tmp_path, PNGS if kind == "png" else TIFFS)
    images: list[Any] = [np.array([[k, 0, 2], [10, 11, 12]], np.uint8) for k in range(1, 25)]
    for k, pixels in enumerate(images, start=1):
        data = png(pixels) if kind == "png" else tiff(pixels.astype("f4") / 2)
        (tmp_path / "data" / f"rain_20200301{k // 12:02d}{k % 12 * 5:02d}.{kind}").write_bytes(data)
    now = datetime(2020, 3, 1, 2, tzinfo=UTC)
    cubes, windows = made(world, own, now)
    cube, view = cubes["rain"], windows["rain"]
    assert cube.nodes.shape == (2, 3)
    assert (cube.nodes.latitude[::3].tolist(), cube.nodes.longitude[:3].tolist()) == ([51.5, 50.5], [-0.5, 0.5, 1.5])
    np.testing.assert_array_equal(cube.values_TNV[-24:, :, 0], np.stack([pixels.reshape(-1) / 2 for pixels in images]))
    assert not cube.flags_TNV[-24:].any()
    assert (view.grid_shape, len(view.issue_time_W)) == ((2, 3), len(cube.valid_time) - 2)
    np.testing.assert_allclose(view.unscale(view.values_TNV)[: len(cube.valid_time)][-24:, 0, 0], np.arange(1, 25) / 2, atol=1e-5)


@pytest.mark.shared
@pytest.mark.skipif(find_spec("eccodes") is None, reason="the extra 'grib' is not installed")
def test_the_radar_of_mrms_becomes_a_cube_and_windows(tmp_path: Path) -> None:
    data = read_settings().data
    if data is None or not (data / "grids" / "mrms").is_dir():
        pytest.skip("no shared data")
    files = sorted((data / "grids" / "mrms").glob("*.grib2"))[:2]
    coarse = 'grid = { bounds = [20.0, -130.0, 55.0, -60.0], step = 1.0, method = "conservative" }'
    variable = 'column = "unknown", unit = "mm/h", missing = [-3.0], valid_min = 0.0, valid_max = 500.0'
    world, own = world_of(tmp_path, SHARED, variable=variable, step="2min", grid=coarse)
    world.write_text(world.read_text().replace("2020-03-01T00:00Z", "2019-06-10T00:00Z"))
    (tmp_path / "data" / "mrms").mkdir()
    for file in files:
        (tmp_path / "data" / "mrms" / file.name).symlink_to(file)
    cubes, windows = made(world, own, datetime(2019, 6, 10, 0, 10, tzinfo=UTC))
    cube = cubes["rain"]
    assert cube.nodes.shape == (35, 70)
    held = np.flatnonzero(np.isfinite(cube.values_TNV[..., 0]).any(axis=1))
    assert len(held) == 2
    whole = decoded(files[0]).reshape(35, 100, 70, 100)
    whole = np.where(whole == -3, np.nan, whole)
    full = np.isfinite(whole).all(axis=(1, 3))
    assert full.any()
    mine = cube.values_TNV[held[0], :, 0].reshape(35, 70)
    np.testing.assert_allclose(mine[full], whole.mean(axis=(1, 3))[full], rtol=0.05, atol=2e-3)  # cells in the south are a little larger
    assert mine[full].max() > 0.5
    assert windows["rain"].grid_shape == (35, 70)


def decoded(path: Path) -> np.ndarray:
    import eccodes

    handle = eccodes.codes_new_from_message(path.read_bytes())
    values = eccodes.codes_get_values(handle)
    eccodes.codes_release(handle)
    return np.asarray(values)

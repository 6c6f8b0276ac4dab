"""GeoTIFF and PNG series, with known answers."""

from __future__ import annotations

import struct
import sys
import zlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.errors import ConfigError, ContractError
from pipeline.settings import Settings
from pipeline.sources.adapter import Readings
from pipeline.sources.images import ImagesAdapter
from tests.unit.sources.hostile_arrays import chunk
from tests.unit.sources.made import at, png, source, tiff

BY_NAME = {"time_pattern": r"_(\d{12})\."}
BOUNDS = {**BY_NAME, "bounds": [50.0, -1.0, 52.0, 2.0]}
FILE = "rain_202003010005.png"
ROWS = np.array([[0, 1, 2], [10, 11, 12]], np.uint8)


def read(data: bytes, options: dict[str, Any], file: str = FILE, **variable: Any) -> Readings:
    made = source("images", options, {"a": {"unit": "mm/h", **variable}}, timezone="Europe/London")
    ImagesAdapter().check(made)
    return ImagesAdapter().parse(made, {file: data})


def places(data: bytes, options: dict[str, Any]) -> tuple[list[float], list[float]]:
    found = ImagesAdapter().parse_places(source("images", options), {FILE: data})
    assert found.shape == (2, 3)
    return found.latitude[::3].tolist(), found.longitude[:3].tolist()


def test_a_png_lies_where_the_world_says_with_its_stamp_in_the_name() -> None:
    found = read(png(ROWS), {**BOUNDS, "scale": 0.5, "offset": -1.0, "interval": "5min"})
    assert found.values["a"].tolist() == [-1.0, -0.5, 0.0, 4.0, 4.5, 5.0]
    assert set(found.valid_time.tolist()) == {at("2020-03-01T00:10")}
    assert found.node_ids[4] == "y001x001"
    assert places(png(ROWS), BOUNDS) == ([51.5, 50.5], [-0.5, 0.5, 1.5])
    assert places(png(ROWS), {**BOUNDS, "south_up": True})[0] == [50.5, 51.5]


def test_a_geotiff_says_itself_where_it_lies_what_is_missing_and_how_it_is_scaled() -> None:
    data = tiff(ROWS.astype("i2"), west=359.0, nodata=12, scales=(0.1,), offsets=(5.0,), tags={"TIFFTAG_DATETIME": "2020:03:01 00:05:00"})
    options = {"time_tag": "TIFFTAG_DATETIME", "time_format": "%Y:%m:%d %H:%M:%S"}
    found = read(data, options, "x.tif")
    assert found.values["a"][:5] == pytest.approx([5.0, 5.1, 5.2, 6.0, 6.1])
    assert np.isnan(found.values["a"][5])
    assert found.valid_time[0] == at("2020-03-01T00:05")
    assert places(data, options) == ([51.5, 50.5], [-0.5, 0.5, 1.5])
    assert places(tiff(ROWS, south_up=True), BY_NAME)[0] == [50.5, 51.5]


def test_a_band_is_found_by_its_number_and_by_its_name() -> None:
    data = tiff(np.stack([ROWS, ROWS + 100]), descriptions=("rain", "snow"))
    assert read(data, BY_NAME, column="2").values["a"][0] == 100
    assert read(data, BY_NAME, column="snow").values["a"][0] == 100
    with pytest.raises(ContractError, match=r"band 'hail' of rain_.*rain, snow"):
        read(data, BY_NAME, column="hail")


def test_a_legend_turns_colours_into_values_from_a_palette_and_from_red_green_and_blue() -> None:
    legend = [["#000000", 0.0], ["#0000ff", 0.5], ["#ff0000", 8.0], ["transparent", None]]
    palette: dict[int, tuple[int, ...]] = {0: (0, 0, 0, 255), 1: (0, 0, 255, 255), 2: (255, 0, 0, 255), 3: (9, 9, 9, 0)}
    plain = png(np.array([[0, 1, 2], [2, 1, 3]], np.uint8), palette=palette)
    rgba = np.array([[palette[i] for i in row] for row in ((0, 1, 2), (2, 1, 3))], np.uint8).transpose(2, 0, 1)
    for data in (plain, png(rgba)):
        found = read(data, {**BOUNDS, "legend": legend}).values["a"]
        assert found[:5].tolist() == [0.0, 0.5, 8.0, 8.0, 0.5]
        assert np.isnan(found[5])
    with pytest.raises(ContractError, match=r"legend of rain_.*#ff0000 at pixel 2, and 1 more"):
        read(plain, {**BOUNDS, "legend": legend[:2] + legend[3:]})
    assert np.isnan(read(plain, {**BOUNDS, "legend": legend[:2], "unlisted": "missing"}).values["a"][2])


def test_an_image_without_stamp_or_place_or_off_the_map_is_refused_with_the_mend() -> None:
    with pytest.raises(ContractError, match=r"stamp in the name of x\.png"):
        read(png(ROWS), BOUNDS, "x.png")
    with pytest.raises(ContractError, match=r"tag 'T' of"):
        read(png(ROWS), {"time_tag": "T", "bounds": [0.0, 0.0, 1.0, 1.0]})
    with pytest.raises(ContractError, match=r"place of .*options\.bounds = "):
        read(png(ROWS), BY_NAME)
    with pytest.raises(ContractError, match=r"place of .*drop options\.bounds"):
        read(tiff(ROWS), BOUNDS)
    with pytest.raises(ContractError, match=r"EPSG:3857.*gdalwarp"):
        read(tiff(ROWS, crs="EPSG:3857"), BY_NAME)
    with pytest.raises(ContractError, match="swapped"):
        read(tiff(ROWS, west=-0.5, north=180.0), BY_NAME)


@pytest.mark.parametrize(
    ("name", "reason"),
    [("202003290130", "skips"), ("202010250130", "twice"), ("203013010000", "no stamp"), ("190001010000", "outside 1970")],
)
def test_a_stamp_that_the_clock_skips_or_passes_twice_is_no_stamp(name: str, reason: str) -> None:
    found = read(png(ROWS), BOUNDS, f"x_{name}.png")
    assert len(found) == 0
    assert reason in found.rejected.reason[0]


def test_an_hour_that_comes_twice_is_the_one_that_the_world_says() -> None:
    assert read(png(ROWS), {**BOUNDS, "ambiguous": "second"}, "x_202010250130.png").valid_time[0] == at("2020-10-25T01:30")


def test_an_interlaced_png_is_the_same_image() -> None:
    values = np.arange(35, dtype=np.uint8).reshape(5, 7)
    rows = [
        row
        for x, y, dx, dy in ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
        for row in values[y::dy, x::dx]
        if len(row)
    ]
    pixels = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    head = struct.pack(">IIBBBBB", 7, 5, 8, 0, 0, 0, 1)
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    assert read(data, BOUNDS).values["a"].tolist() == list(range(35))


def test_what_a_virtual_image_names_is_never_opened(tmp_path: Path) -> None:
    (tmp_path / "secret.tif").write_bytes(tiff(ROWS))
    band = f"<VRTRasterBand band='1'><SimpleSource><SourceFilename>{tmp_path}/secret.tif</SourceFilename></SimpleSource></VRTRasterBand>"
    for data in (
        f"<VRTDataset rasterXSize='3' rasterYSize='2'>{band}</VRTDataset>".encode(),
        b"/vsicurl/http://localhost/x.tif",
        b"GIF89a",
    ):
        with pytest.raises(ContractError, match="no PNG, no TIFF"):
            read(data, BOUNDS)


@pytest.mark.parametrize(
    "options", [{}, {**BY_NAME, "time_tag": "T"}, {**BY_NAME, "bounds": [2.0, 0.0, 1.0, 1.0]}, {**BY_NAME, "south_up": True}]
)
def test_options_that_make_no_sense_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="options"):
        ImagesAdapter().check(source("images", options))


def test_without_the_extra_the_world_is_refused_with_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rasterio", None)
    with pytest.raises(ConfigError, match=r"cubecast\[images\]"):
        ImagesAdapter().check(source("images", BY_NAME))


def test_a_series_is_a_delivery_per_image_and_the_grid_of_the_first(tmp_path: Path) -> None:
    for minute in ("05", "00"):
        (tmp_path / f"r_2020030100{minute}.png").write_bytes(png(ROWS))
    made = source("images", BOUNDS, locations=["data://*.png"])
    found = list(ImagesAdapter().deliveries(made, Settings(store="", data=tmp_path, dask=None), datetime(2021, 1, 1, tzinfo=UTC)))
    assert [(d.name[-6:], d.role) for d in found] == [("00.png", "readings"), ("05.png", "readings"), ("00.png", "nodes")]

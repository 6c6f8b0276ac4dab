"""What building a cube takes is what its plan says: late grids of long files, many documents, sentence encoders."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from pipeline.api import BuildCubeRequest, LandRequest, ObserveRequest, Receipt
from pipeline.contracts.times import from_seconds
from pipeline.cube.plan import BASE_BYTES
from pipeline.errors import ConfigError
from pipeline.settings import Settings
from pipeline.sources.sentences import ENCODING_BYTES, folder_digest
from pipeline.steps import build_cube, land, observe
from pipeline.steps.build_plan import plan_build
from pipeline.telemetry import QUIET
from tests import feeds
from tests.property.test_texts import END, START, WORLD, road_rows
from tests.sentences import save_encoder

SIDE, DAYS = 300, 24
GRIDS = """
name = "air"
title = "Air"
start = "2020-03-01T00:00Z"
[sources.air]
adapter = "netcdf"
locations = ["data://x.nc"]
slabs = true
[sources.air.variables]
t = { unit = "count" }
[domains.air]
title = "Air"
kind = "grid"
grid = { bounds = [50.0, 0.0, 60.0, 10.0], step = 1.0 }
clock = { step = "1d" }
chunk_steps = 2
context = 1
horizon = 1
[domains.air.variables]
t = { source = "air" }
"""


def measured(step: Callable[[], Receipt]) -> tuple[int, int]:
    """What a build was planned to take beyond the process itself, and what it took."""
    tracemalloc.start()
    try:
        planned = int(step().details["planned_peak_bytes"]) - BASE_BYTES
        return planned, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_late_grid_in_the_middle_of_a_long_file_takes_what_is_planned_for_its_region(tmp_path: Path) -> None:
    (tmp_path / "air.toml").write_text(GRIDS)
    own, as_of = Settings(store=str(tmp_path / "store"), data=tmp_path, dask=None), datetime(2020, 3, 25, tzinfo=UTC)
    world = str(tmp_path / "air.toml")
    values = np.random.default_rng(1).random((DAYS, SIDE, SIDE), np.float32)
    days = np.datetime64("2020-03-01", "ns") + np.arange(DAYS) * np.timedelta64(1, "D")
    where = {"time": days, "latitude": np.linspace(60, 50, SIDE), "longitude": np.linspace(0, 10, SIDE)}

    def taken_in() -> None:
        xr.Dataset({"t": (("time", "latitude", "longitude"), values)}, where).to_netcdf(tmp_path / "x.nc", engine="h5netcdf")
        land.run(LandRequest(world=world, as_of=as_of, received_time=as_of, source="air"), own, QUIET)
        observe.run(ObserveRequest(world=world, as_of=as_of, source="air"), own, QUIET)

    def built() -> Receipt:
        return build_cube.run(BuildCubeRequest(world=world, as_of=as_of), own, QUIET)

    taken_in()
    assert built().counts["regions"] > 10
    values[10] += 1
    taken_in()
    receipts: list[Receipt] = []
    planned, peak = measured(lambda: receipts.append(built()) or receipts[0])
    assert receipts[0].counts["regions"] <= 2
    assert values.nbytes < peak <= planned <= 3 * peak


def told(place: feeds.Place, count: int) -> feeds.Place:
    feeds.observe(place, "road", road_rows())
    words = [f"word{k}" for k in range(500)]
    rng = np.random.default_rng(1)
    texts = [" ".join(words[w] for w in rng.integers(0, 500, 60)) for _ in range(count)]
    rows = [feeds.Row("a", START + k, START + k + 60, text=text) for k, text in enumerate(texts)]
    for batch in (rows[: count // 2], rows[count // 2 :]):
        feeds.observe(place, "news", batch)
    return place


def test_many_documents_take_no_more_than_is_planned(tmp_path: Path) -> None:
    place = told(feeds.make_place(tmp_path, WORLD), 30_000)
    planned, peak = measured(lambda: feeds.build(place, END))
    assert peak <= planned <= 5 * peak


def test_documents_taken_in_by_parts_are_those_taken_in_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    at_once = feeds.build(told(feeds.make_place(tmp_path / "one", WORLD), 200), END)
    monkeypatch.setattr("pipeline.steps.texts._AT_ONCE", 1000)
    parts = feeds.build(told(feeds.make_place(tmp_path / "two", WORLD), 200), END)
    assert (at_once.ids["digest.texts.news"], at_once.counts["documents"]) == (parts.ids["digest.texts.news"], parts.counts["documents"])


def test_an_encoder_is_in_the_plan_which_is_refused_with_its_numbers_before_anything_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = told(feeds.make_place(tmp_path / "plain", WORLD), 5)
    folder = save_encoder(tmp_path / "data" / "encoder")
    with (folder / "more.safetensors").open("wb") as weights:
        weights.truncate(50 * 2**20)
    named = f'encoder = {{ folder = "data://encoder", digest = "{folder_digest(folder)}", published = "2021-08-30T00:00Z" }}\n'
    place = feeds.make_place(tmp_path / "encoded", WORLD.replace("buckets = 64\n", "buckets = 64\n" + named))
    place = told(replace(place, settings=replace(place.settings, data=tmp_path / "data")), 5)
    plans = [plan_build(p.world, from_seconds(END), p.settings) for p in (plain, place)]
    assert plans[1].texts_bytes - plans[0].texts_bytes >= ENCODING_BYTES + 50 * 2**20
    monkeypatch.setattr("pipeline.sources.sentences.folder_digest", lambda _: pytest.fail("the folder was read"))
    small = replace(place.settings, memory=600 * 2**20)
    with pytest.raises(ConfigError, match=r"[\d,]+ MiB of it for documents and their encoders: 600 MiB are allowed.*a smaller encoder"):
        build_cube.run(BuildCubeRequest(world=place.file, as_of=from_seconds(END)), small, QUIET)
    assert not (Path(place.settings.store) / "cubes").exists()
    assert build_cube.run(BuildCubeRequest(world=plain.file, as_of=from_seconds(END)), replace(plain.settings, memory=600 * 2**20), QUIET)

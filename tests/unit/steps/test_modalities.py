"""Forecasts by others and documents from their files to the cube: every row accounted for, by publication, damage found."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from pipeline.api import BuildCubeRequest, LandRequest, ObserveRequest
from pipeline.contracts.times import to_seconds
from pipeline.contracts.world_files import load_world, parse_world
from pipeline.errors import ConfigError, StoreError
from pipeline.settings import Settings, read_settings
from pipeline.sources.registry import check_sources
from pipeline.steps import build_cube, land, observe
from pipeline.stores.cube_export import export, to_dataset
from pipeline.stores.cubes import CubeStore
from pipeline.stores.objects import ObjectStore
from pipeline.stores.observations import ObservationStore
from pipeline.telemetry import QUIET

NOW = datetime(2020, 1, 3, tzinfo=UTC)
RECEIVED = datetime(2020, 1, 2, 12, tzinfo=UTC)
WORLD = """
name = "w"
title = "W"
start = "2020-01-01T00:00Z"
[sources.s]
adapter = "csv"
locations = ["data://readings.csv"]
options = { time = "t", node_column = "n" }
[sources.s.variables]
v = { unit = "count" }
[sources.talk]
adapter = "json"
locations = ["data://talk*.jsonl"]
latency = "2min"
options = { lines = true, time = "at", node_column = "about", published = "out" }
text = { column = "said", longest = 20 }
[sources.events]
adapter = "csv"
locations = ["data://events.csv"]
timezone = "Europe/Copenhagen"
options = { time = "time", node_place = ["lat", "lon"] }
nodes = { location = "data://events.csv", id = "", latitude = "lat", longitude = "lon" }
text = { column = "text" }
[sources.outlook]
adapter = "csv"
locations = ["data://runs*.csv"]
latency = "3h"
runs = "6h"
ahead = "1d"
options = { time = "valid", init = "run", node_column = "n" }
[sources.outlook.variables]
v = { unit = "count" }
[texts.talk]
source = "talk"
reach = "1d"
[texts.events]
source = "events"
reach = "1d"
[domains.d]
title = "D"
clock = { step = "1h" }
context = 2
horizon = 1
[domains.d.future]
source = "outlook"
[domains.d.future.variables]
v = {}
[domains.d.variables]
v = { source = "s" }
"""
TALK = [
    {"at": "2020-01-01T10:00:00Z", "about": "x", "said": "hello", "out": "2020-01-01T10:30:00Z"},
    {"at": "2020-01-01T10:00:00Z", "about": "x", "said": "hello", "out": "2020-01-01T10:40:00Z"},
    {"at": "2020-01-01T10:00:00Z", "about": "x", "said": "another", "out": None},
    {"at": "2020-01-01T10:00:00Z", "about": "y", "said": "hello"},
    {"at": "2020-01-01T11:00:00Z", "about": "y", "said": "  "},
    {"at": "2020-01-01T11:00:00Z", "about": "y", "said": None},
    {"at": "2020-01-01T11:00:00Z", "about": "y", "said": "far too long for this source"},
    {"at": "2020-01-01T11:00:00Z", "about": "y", "said": "a \0 byte"},
    {"at": "2020-01-09T11:00:00Z", "about": "y", "said": "from the future"},
]
EVENTS = """time,text,lat,lon
2020-01-01 10:00:00,"Concert, free",56.15641,10.16252
2020-01-01 20:00:00,Talk,56.13040,10.16443
2020-01-02 10:00:00,Talk,56.15641,10.16252
2020-01-02 10:00:00,Talk,,10.16252
"""
RUNS = """run,valid,n,v
2020-01-01T00:00:00Z,2020-01-01T05:00:00Z,a,1
2020-01-01T06:00:00Z,2020-01-01T07:00:00Z,a,1
2020-01-01T06:00:00Z,2020-01-01T07:00:00Z,a,1
2020-01-01T07:00:00Z,2020-01-01T09:00:00Z,a,2
,2020-01-01T09:00:00Z,a,2
2020-01-01T12:00:00Z,2020-01-01T09:00:00Z,a,2
2020-01-02T12:00:00Z,2020-01-02T13:00:00Z,a,3
"""


class Place:
    """The world with its data and store."""

    def __init__(self, folder: Path) -> None:
        self.data, self.file = folder / "data", folder / "w.toml"
        self.data.mkdir()
        self.file.write_text(WORLD)
        self.settings = Settings(store=str(folder / "store"), data=self.data, dask=None)
        (self.data / "readings.csv").write_text("t,n,v\n2020-01-01T00:00:00Z,a,1\n")
        (self.data / "talk.jsonl").write_text("".join(json.dumps(line) + "\n" for line in TALK))
        (self.data / "events.csv").write_text(EVENTS.replace(",,", ",56.1,"))
        (self.data / "runs.csv").write_text(RUNS)

    def observe(self, received: datetime = RECEIVED) -> dict[str, int]:
        land.run(LandRequest(world=str(self.file), as_of=NOW, received_time=received), self.settings, QUIET)
        return observe.run(ObserveRequest(world=str(self.file), as_of=NOW), self.settings, QUIET).counts

    def store(self, source: str) -> ObservationStore:
        return ObservationStore(ObjectStore(self.settings.store), load_world(str(self.file)), source)

    def build(self) -> CubeStore:
        build_cube.run(BuildCubeRequest(world=str(self.file), as_of=NOW), self.settings, QUIET)
        return CubeStore(self.settings.store, "w")


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def figures(counts: dict[str, int], source: str) -> list[int]:
    return [counts[f"{source}.{name}"] for name in ("raw", "observations", "duplicates", "rejected")]


def at(text: str) -> int:
    return to_seconds(datetime.fromisoformat(text).replace(tzinfo=UTC))


def test_every_document_is_taken_a_repeat_or_rejected_with_its_reason(place: Place) -> None:
    assert figures(place.observe(), "talk") == [9, 4, 1, 4]
    store = place.store("talk")
    assert Counter(store.rejections()["reason"].to_pylist()) == {
        "duplicate": 1,
        "no text": 2,
        "a text of more than 20 characters": 1,
        "key 'said': a NUL byte": 1,
    }
    rows = {(r["node"], r["text"]): r for r in store.read(0, 2**35).to_pylist()}
    assert rows["x", "hello"]["available_time"] == datetime(2020, 1, 1, 10, 30, tzinfo=UTC)
    assert rows["x", "another"]["available_time"] == datetime(2020, 1, 1, 10, 2, tzinfo=UTC)
    assert [r["text_flag"] for r in rows.values()] == [0, 0, 0, 32]
    (place.data / "talk2.jsonl").write_text((place.data / "talk.jsonl").read_text())
    assert figures(place.observe(), "talk") == [18, 4, 6, 8]


def test_events_are_about_the_place_in_their_columns_at_local_time(place: Place) -> None:
    assert figures(place.observe(), "events") == [4, 4, 0, 0]
    store = place.store("events")
    nodes = store.nodes()
    assert nodes.ids == ("56.10000,10.16252", "56.13040,10.16443", "56.15641,10.16252")
    assert nodes.latitude.tolist() == [56.1, 56.1304, 56.15641]
    first = store.read(0, at("2020-01-01T12:00")).to_pylist()
    assert [(r["node"], r["text"], r["valid_time"].hour) for r in first] == [("56.15641,10.16252", "Concert, free", 9)]


def test_an_event_without_a_place_is_rejected(place: Place) -> None:
    (place.data / "events.csv").write_text(EVENTS)
    place.file.write_text(WORLD.replace('nodes = { location = "data://events.csv", id = "", latitude = "lat", longitude = "lon" }\n', ""))
    assert figures(place.observe(), "events") == [4, 3, 0, 1]
    assert place.store("events").rejections()["reason"].to_pylist() == ["no node"]


def test_a_forecast_is_known_after_the_latency_of_its_run_and_when_it_came_if_it_was_lived(place: Place) -> None:
    assert figures(place.observe(), "outlook") == [7, 3, 1, 3]
    store = place.store("outlook")
    assert Counter(store.rejections()["reason"].to_pylist()) == {
        "duplicate": 1,
        "a run that starts off the cycle of 21600 s": 1,
        "no start of the run": 1,
        "valid before its run starts": 1,
    }
    known = {r["init_time"].isoformat(): r["available_time"] for r in store.read(0, 2**35).to_pylist()}
    assert known["2020-01-01T00:00:00+00:00"] == datetime(2020, 1, 1, 3, tzinfo=UTC)
    assert known["2020-01-02T12:00:00+00:00"] == datetime(2020, 1, 2, 15, tzinfo=UTC)
    (place.data / "runs2.csv").write_text(RUNS.splitlines()[0] + "\n2020-01-02T06:00:00Z,2020-01-02T20:00:00Z,a,7\n")
    place.observe(received=datetime(2020, 1, 2, 19, tzinfo=UTC))
    [row] = [r for r in place.store("outlook").read(0, 2**35).to_pylist() if r["v"] == 7]
    assert row["available_time"] == datetime(2020, 1, 2, 9, tzinfo=UTC)  # due before anything was received: history


def test_a_run_that_becomes_known_while_we_listen_is_known_when_it_came(place: Place) -> None:
    place.observe()
    late = datetime(2020, 1, 2, 23, tzinfo=UTC)
    (place.data / "runs2.csv").write_text(RUNS.splitlines()[0] + "\n2020-01-02T18:00:00Z,2020-01-02T20:00:00Z,a,7\n")
    place.observe(received=late)
    [row] = [r for r in place.store("outlook").read(0, 2**35).to_pylist() if r["v"] == 7]
    assert row["available_time"] == late


def test_the_cube_holds_runs_by_start_and_step_and_the_good_documents(place: Place) -> None:
    place.observe()
    store = place.build()
    runs = store.open_runs(NOW, "d")
    assert runs.nodes.shape == (24, 1)
    inits = {int(t): k for k, t in enumerate(runs.valid_time)}
    assert runs.values_TNV[inits[at("2020-01-01T06:00")], 0, 0] == 1
    assert np.isfinite(runs.values_TNV).sum() == 3
    early = store.open_runs(datetime(2020, 1, 1, 8, tzinfo=UTC), "d")
    assert np.isfinite(early.values_TNV).sum() == 1
    assert len(store.open_texts(NOW, "talk").place_D) == 3
    assert len(store.open_texts(datetime(2020, 1, 1, 10, 5, tzinfo=UTC), "talk").place_D) == 2
    import zarr

    group: Any = zarr.open_group(store._session.store, mode="r", path="d.future")
    assert group["v"].metadata.dimension_names == ("init_time", "step", "place")
    assert group["init_time"].attrs["standard_name"] == "forecast_reference_time"
    assert store.domains() == ["d", "d.future"]
    dataset = to_dataset(runs, store.book("d.future"), {})
    export(dataset, Path(place.settings.store) / "runs.nc", "netcdf", chunk_steps=9)
    assert dict(dataset.sizes) == {"init_time": len(runs.valid_time), "step": 24, "place": 1}


def test_every_lost_or_flipped_chunk_of_documents_and_runs_is_found(place: Place) -> None:
    place.observe()
    (place.data / "talk3.jsonl").write_text(
        "".join(json.dumps({"at": "2020-01-01T12:00:00Z", "about": "z", "said": f"{k:x} word", "out": None}) + "\n" for k in range(3000))
    )
    place.observe()
    store = place.build()
    store.verify(QUIET)
    files = sorted(p for p in (Path(place.settings.store) / "cubes/w/chunks").rglob("*") if p.is_file())
    found = 0
    for file in files:
        good = file.read_bytes()
        for damage in (good[:-9] + bytes([good[-9] ^ 4]) + good[-8:], None):
            file.unlink() if damage is None else file.write_bytes(damage)
            with pytest.raises(StoreError, match="verify cube"):
                CubeStore(place.settings.store, "w").verify(QUIET)
            found += 1
        file.write_bytes(good)
    assert found >= 4


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('runs = "6h"\n', "", "its readings are of no run"),
        ('runs = "6h"', 'runs = "5h"', "does not divide a day"),
        ('ahead = "1d"\n', "", "how far a run reaches"),
        ('v = { source = "s" }', 'v = { source = "outlook" }', "it delivers forecasts; name it in domains.d.future"),
        ("[domains.d.future.variables]\nv = {}", "[domains.d.future.variables]\nw = {}", "has no such variable"),
        ('source = "talk"', 'source = "s"', "it delivers no text"),
        ('reach = "1d"\n[texts.events]', 'reach = "0s"\n[texts.events]', "for how long a document is seen"),
        ('text = { column = "text" }\n', "", "either variables or text"),
        ('reach = "1d"\n[domains', 'reach = "1d"\nlinks = { e = { by = "id" } }\n[domains', "no such domain"),
        ('init = "run", ', "", "no column that says of which run"),
    ],
)
def test_a_world_that_contradicts_itself_is_refused(old: str, new: str, said: str) -> None:
    text = WORLD.replace(old, new, 1)
    assert text != WORLD
    with pytest.raises(ConfigError, match=said):
        check_sources(parse_world(text, "w.toml"))


@pytest.mark.shared
def test_the_tweets_are_all_accounted_for(tmp_path: Path) -> None:
    settings = read_settings()
    if settings.data is None or not (settings.data / "text").is_dir():
        pytest.skip("no shared data")
    own = Settings(store=str(tmp_path), data=settings.data, dask=None)
    end = datetime(2016, 1, 1, tzinfo=UTC)
    for source in ("tweets", "events"):
        land.run(LandRequest(world="aarhus", as_of=end, received_time=end, source=source), own, QUIET)
        counts = observe.run(ObserveRequest(world="aarhus", as_of=end, source=source), own, QUIET).counts
        assert figures(counts, source) == {"tweets": [106338, 105740, 598, 0], "events": [1647, 1647, 0, 0]}[source]
    table = ObservationStore(ObjectStore(own.store), load_world("aarhus"), "tweets").read(0, 2**35)
    inside = pa.compute.and_(
        *(
            op(table["valid_time"].cast(pa.int64()), at(t))
            for op, t in ((pa.compute.greater_equal, "2014-08-01"), (pa.compute.less, "2014-10-01"))
        )
    )
    assert 5800 < pa.compute.sum(inside).as_py() <= 5869

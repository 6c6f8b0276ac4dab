"""Holes: what did not come is noted with when it was first seen, asked for on each run until it comes or expires, and told."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from pipeline.__main__ import main
from pipeline.contracts.times import parse_instant, to_seconds
from pipeline.contracts.world_files import load_world
from pipeline.sources.web import Policy
from pipeline.stores.holes import HoleStore
from pipeline.stores.objects import ObjectStore
from tests.feeds import START, Row, build, make_place, observe
from tests.unit.sources.live_feeds import hourly, reply
from tests.unit.sources.server import Answer, Asked, Provider, provider

WORLD = """
name = "owing"
title = "Owing"
start = "2026-01-01T00:00Z"
[recorded]
end = "2026-02-28T00:00Z"
as_of = "2026-02-28T00:00Z"
[sources.outlook]
adapter = "open_meteo"
locations = ["{url}/forecast"]
allowed_hosts = ["{host}"]
latency = "7h"
ahead = "1d"
runs = "12h"
options = {{ kind = "forecast", model = "ecmwf_ifs", start = "2026-01-01T00:00Z", days = 1 }}
nodes = {{ rows = [["a", 51.5, -0.1], ["b", 51.25, 0.5]] }}
[sources.outlook.variables]
temperature = {{ column = "temperature_2m", unit = "degC" }}
[sources.weather]
adapter = "open_meteo"
locations = ["{url}/archive"]
allowed_hosts = ["{host}"]
retry_holes = "5d"
options = {{ kind = "archive", start = "2026-01-01T00:00Z", revised = "1d" }}
nodes = {{ rows = [["a", 51.5, -0.1], ["b", 51.25, 0.5]] }}
[sources.weather.variables]
temperature = {{ column = "temperature_2m", unit = "degC" }}
[domains.weather]
title = "Weather"
clock = {{ step = "1h" }}
context = 1
horizon = 1
chunk_steps = 30
[domains.weather.future]
source = "outlook"
[domains.weather.future.variables]
temperature = {{}}
[domains.weather.variables]
temperature = {{ source = "weather" }}
"""


@dataclass
class Feed:
    """A provider that leaves out some runs, and the end of some days."""

    runs: set[str] = field(default_factory=set)
    days: set[str] = field(default_factory=set)

    def __call__(self, asked: Asked, _: int) -> Answer:
        if asked.query.get("run") in self.runs:
            return reply({"error": True, "reason": "no such run"}, status=400)
        answers = hourly(asked)
        day = asked.query.get("start_date")
        for one in answers:
            one["hourly"]["temperature_2m"] = [None if day in self.days and h > 20 else 9.5 for h in range(24)]
        return reply(answers)


@dataclass
class Place:
    folder: Path
    provider: Provider

    def __post_init__(self) -> None:
        self.file = self.folder / "owing.toml"
        self.file.write_text(WORLD.format(url=self.provider.url(""), host=self.provider.host))

    def day(self, moment: str) -> list[int]:
        """The exit codes of land, observe and build-cube at an instant."""
        times = ["--world", str(self.file), "--as-of", moment]
        return [main(["land", *times, "--received-time", moment]), main(["observe", *times]), main(["build-cube", *times])]

    def open(self, moment: str) -> dict[tuple[str, str, str], tuple[int, int]]:
        """Source, kind and name or day of each open hole -> cells and tries."""
        report = HoleStore(ObjectStore(str(self.folder / "store")), load_world(str(self.file))).report(to_seconds(parse_instant(moment)))
        return {
            (h["source"], h["kind"], h["what"] if h["kind"] == "delivery" else h["first"][:13]): (h["cells"], h["tries"])
            for h in report["open"]
        }

    def asked_again(self) -> set[str]:
        """The days and runs asked for since this was last called."""
        found = {a.query.get("run") or a.query["start_date"] for a in self.provider.asked}
        self.provider.asked.clear()
        return found


@pytest.fixture
def feed() -> Feed:
    return Feed()


@pytest.fixture
def place(tmp_path: Path, feed: Feed, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CUBECAST_STORE", str(tmp_path / "store"))
    monkeypatch.delenv("CUBECAST_DASK", raising=False)
    monkeypatch.setattr("pipeline.sources.web.POLICY", Policy(attempts=2, first_wait=0.01, spacing=0.0))
    with provider(feed) as p:
        yield Place(tmp_path, p)


def test_a_run_that_never_was_keeps_no_later_one_back_and_is_asked_for_until_it_comes(place: Place, feed: Feed) -> None:
    feed.runs = {"2026-01-02T00:00"}
    assert place.day("2026-01-05T12:00Z") == [0, 0, 0]
    name = ("outlook", "delivery", "run-20260102T0000.json")
    cells = ("outlook", "cells", "2026-01-02T00")
    assert place.open("2026-01-05T12:00Z") == {name: (0, 0), cells: (1, 0)}
    place.asked_again()
    assert place.day("2026-01-06T06:00Z") == [0, 0, 0]
    assert {"2026-01-02T00:00", "2026-01-05T12:00"} <= place.asked_again()
    assert place.open("2026-01-06T06:00Z") == {name: (0, 1), cells: (1, 1)}
    feed.runs = set()
    assert place.day("2026-01-06T18:00Z") == [0, 0, 0]
    assert place.open("2026-01-06T18:00Z") == {}


def test_a_run_that_is_late_is_worth_coming_back_for(place: Place, feed: Feed) -> None:
    feed.runs = {"2026-01-05T00:00"}
    assert place.day("2026-01-05T12:00Z")[0] == 75
    assert set(place.open("2026-01-05T12:00Z")) >= {("outlook", "delivery", "run-20260105T0000.json")}


def test_missing_cells_are_asked_for_though_their_day_has_settled_until_they_come_or_expire(place: Place, feed: Feed) -> None:
    feed.days = {"2026-01-02", "2026-01-03"}
    assert place.day("2026-01-05T12:00Z") == [0, 0, 0]
    assert place.open("2026-01-05T12:00Z") == {("weather", "cells", "2026-01-02T21"): (6, 0), ("weather", "cells", "2026-01-03T21"): (6, 0)}
    place.asked_again()
    feed.days = {"2026-01-02"}
    place.day("2026-01-06T12:00Z")
    assert {"2026-01-02", "2026-01-03"} <= place.asked_again()
    assert place.open("2026-01-06T12:00Z") == {("weather", "cells", "2026-01-02T21"): (6, 1)}
    place.day("2026-01-10T13:00Z")
    place.asked_again()
    assert place.open("2026-01-10T13:00Z") == {}
    place.day("2026-01-11T13:00Z")
    assert "2026-01-02" not in place.asked_again()
    report = HoleStore(ObjectStore(str(place.folder / "store")), load_world(str(place.file))).report(0)
    assert report["days_given_up"] == {"weather": 1}


def test_status_lists_holes_to_people_and_to_programs(place: Place, feed: Feed, capsys: pytest.CaptureFixture[str]) -> None:
    feed.days = {"2026-02-27"}
    place.file.write_text(place.file.read_text().replace('start = "2026-01-01', 'start = "2026-02-26'))
    assert place.day("2026-02-28T00:00Z") == [0, 0, 0]
    capsys.readouterr()
    assert main(["status", "--world", str(place.file)]) == 0
    shown = capsys.readouterr().out
    [line] = [line for line in shown.splitlines() if line.startswith("weather") and "2026-03-05" in line]
    assert line.split() == ["weather", "weather", "1", "6", "2026-02-27", "2026-02-28", "0", "2026-03-05"]
    assert main(["status", "--world", str(place.file), "--json"]) == 0
    [hole] = json.loads(capsys.readouterr().out)["holes"]["open"]
    assert (hole["first"], hole["last"], hole["nodes"]) == ("2026-02-27T21:00:00Z", "2026-02-27T23:00:00Z", 2)


def test_the_same_request_again_counts_no_try_and_changes_nothing(place: Place, feed: Feed) -> None:
    feed.days, feed.runs = {"2026-01-02"}, {"2026-01-02T00:00"}

    def state() -> dict[str, bytes]:
        objects = ObjectStore(str(place.folder / "store"))
        return {key: objects.get(key) for key in objects.list("holes/owing")}

    place.day("2026-01-05T12:00Z")
    once = state()
    place.day("2026-01-05T12:00Z")
    assert state() == once
    assert len(once) == 2


def test_a_lost_note_of_what_is_owed_is_written_anew(place: Place, feed: Feed) -> None:
    feed.runs = {"2026-01-02T00:00"}
    place.day("2026-01-05T12:00Z")
    objects = ObjectStore(str(place.folder / "store"))
    for key in objects.list("holes/owing/landing"):
        objects.delete(key)
    place.day("2026-01-06T12:00Z")
    assert place.open("2026-01-06T12:00Z")["outlook", "delivery", "run-20260102T0000.json"] == (0, 0)


def test_the_label_at_the_start_of_the_first_day_is_owed_by_nobody(tmp_path: Path) -> None:
    place = make_place(tmp_path)
    halves = [START + 60 + 1800 * k for k in range(24) if k not in (9, 10)]  # the first reading a minute after midnight
    observe(place, "road", [Row(node, t, t + 60, {"speed": (50.0, 0), "count": (2.0, 0)}) for node in "ab" for t in halves])
    build(place, START + 12 * 3600)
    report = HoleStore(ObjectStore(place.settings.store), place.world).report(START + 12 * 3600)
    assert [(hole["first"], hole["cells"]) for hole in report["open"]] == [("2025-10-24T05:00:00Z", 8)]

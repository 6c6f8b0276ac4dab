"""The live APIs, each against a server that answers in its documented format."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.__main__ import main
from pipeline.api import LandRequest, ObserveRequest
from pipeline.contracts.times import parse_instant
from pipeline.contracts.world_files import load_world
from pipeline.contracts.worlds import World
from pipeline.errors import AbsentError, ContractError, NotYetAvailable
from pipeline.settings import Settings
from pipeline.sources.probe import probe, probe_lines
from pipeline.sources.registry import check_sources
from pipeline.steps import land, observe
from pipeline.stores.landing import LandingStore
from pipeline.stores.objects import ObjectStore
from pipeline.stores.observations import ObservationStore
from pipeline.telemetry import QUIET
from tests.unit.sources.live_feeds import (
    NOW,
    PLACES,
    SITES,
    TEMPERATURE,
    TRAFFIC,
    archive,
    at_provider,
    elexon,
    hourly,
    index,
    landed,
    reply,
    report,
    webtris,
)
from tests.unit.sources.made import at
from tests.unit.sources.server import Answer, Asked, Provider, provider

pytestmark = pytest.mark.usefixtures("hurried")

# ---- Open-Meteo ----------------------------------------------------------------------------------------------------


def test_the_weather_of_each_day_is_asked_for_all_places_at_once(tmp_path: Path) -> None:
    with provider(lambda asked, _: reply(hourly(asked))) as p:
        found = landed(archive(p), tmp_path)
        assert [a.query["start_date"] for a in p.asked] == ["2026-01-01", "2026-01-02", "2026-01-03"]
        assert p.asked[0].query["latitude"] == "51.5,51.25"
        assert (p.asked[0].query["hourly"], p.asked[0].query["timezone"]) == ("temperature_2m", "GMT")
        assert found[0].node_ids == ("a", "b")
        assert len(found[0]) == found[0].raw_rows == 40
        assert found[0].values["temperature"][:2].tolist() == [0.5, 1.5]
        assert found[0].valid_time[0] == at("2026-01-01T00:00")
        assert landed(archive(p), tmp_path, datetime(2026, 1, 3, 7, tzinfo=UTC)) == []
        assert [a.query["start_date"] for a in p.asked[3:]] == ["2026-01-02", "2026-01-03"]


def test_a_forecast_says_when_its_run_started(tmp_path: Path) -> None:
    options = {"kind": "forecast", "model": "ecmwf_ifs", "days": 1}
    with provider(lambda asked, _: reply(hourly(asked))) as p:
        made = at_provider("open_meteo", p, "/v1/forecast", options, TEMPERATURE, nodes=PLACES, latency="7h", ahead="1d", runs="12h")
        found = landed(made, tmp_path)
        runs = ["2026-01-01T00:00", "2026-01-01T12:00", "2026-01-02T00:00", "2026-01-02T12:00"]
        assert [a.query["run"] for a in p.asked] == runs
        assert p.asked[0].query["models"] == "ecmwf_ifs"
        assert [set(f.init_time.tolist()) for f in found if f.init_time is not None] == [{at(run)} for run in runs]
        assert found[1].published_time is None
        assert landed(made, tmp_path) == []
        assert len(p.asked) == 4


def test_a_run_that_is_refused_is_absent_however_old_it_is(tmp_path: Path) -> None:
    late = reply({"error": True, "reason": "run not available"}, status=400)
    options = {"kind": "forecast", "model": "ecmwf_ifs", "days": 1}

    def answer(asked: Asked, _: int) -> Answer:
        return late if asked.query["run"] == refused else reply(hourly(asked))

    with provider(answer) as p:
        made = at_provider("open_meteo", p, "/v1/forecast", options, TEMPERATURE, nodes=PLACES, latency="7h", ahead="1d", runs="12h")
        refused = "2026-01-02T12:00"
        with pytest.raises(NotYetAvailable, match="run not available"):
            landed(made, tmp_path)
        assert len(LandingStore(ObjectStore(str(tmp_path)), "w", "s").manifest()) == 3
        refused = "2026-01-01T00:00"
        with pytest.raises(AbsentError, match="run not available"):
            landed(made, tmp_path / "other")


OUTLOOK = """
name = "outlook"
title = "Outlook"
start = "2026-01-01T00:00Z"
[sources.outlook]
adapter = "open_meteo"
locations = ["{url}"]
allowed_hosts = ["{host}"]
latency = "7h"
ahead = "1d"
runs = "12h"
options = {{ kind = "forecast", model = "ecmwf_ifs", start = "2026-01-01T00:00Z", days = 1 }}
nodes = {{ rows = [["a", 51.5, -0.1], ["b", 51.25, 0.5]] }}
[sources.outlook.variables]
temperature = {{ column = "temperature_2m", unit = "degC" }}
[sources.weather]
adapter = "synthetic"
options = {{ feed = "weather", start = "2026-01-01T00:00Z", days = 1, rows = 2, columns = 2 }}
[sources.weather.variables]
temperature = {{ unit = "degC" }}
[domains.weather]
title = "Weather"
clock = {{ step = "1h" }}
context = 1
horizon = 1
[domains.weather.future]
source = "outlook"
[domains.weather.future.variables]
temperature = {{}}
[domains.weather.variables]
temperature = {{ source = "weather" }}
"""


def test_each_run_stays_apart_in_the_observations_and_its_hours_ahead_are_no_fault(tmp_path: Path) -> None:
    def run(asked: Asked, _: int) -> Answer:
        answers = hourly(asked)
        for one in answers:
            one["hourly"]["temperature_2m"] = [20.0] * 24
        return reply(answers)

    settings = Settings(store=str(tmp_path / "store"), data=None, dask=None)
    moment = datetime(2026, 1, 1, 20, tzinfo=UTC)
    with provider(run) as p:
        path = tmp_path / "outlook.toml"
        path.write_text(OUTLOOK.format(url=p.url("/v1/forecast"), host=p.host))
        land.run(LandRequest(world=str(path), as_of=moment, received_time=moment), settings, QUIET)
    counts = observe.run(ObserveRequest(world=str(path), as_of=moment), settings, QUIET).counts
    # The answers speak of the whole day of a run; what is valid before the run starts is not its forecast.
    assert [counts[f"outlook.{name}"] for name in ("raw", "observations", "duplicates", "rejected")] == [96, 72, 0, 24]
    store = ObservationStore(ObjectStore(settings.store), load_world(str(path)), "outlook")
    last = at("2026-01-01T23:00")
    rows = [r for r in store.read(last - 1, last).to_pylist() if r["node"] == "a"]
    assert [(r["init_time"], r["available_time"]) for r in rows] == [
        (datetime(2026, 1, 1, h, tzinfo=UTC), datetime(2026, 1, 1, h + 7, tzinfo=UTC)) for h in (0, 12)
    ]
    assert {r["temperature_flag"] for r in rows} == {0}
    assert set(store.rejections()["reason"].to_pylist()) == {"valid before its run starts"}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"hourly_units": {"temperature_2m": "°F"}}, "unit of key 'hourly.temperature_2m'"),
        ({"hourly": {"time": ["2026-01-01T00:00"], "temp_2m": [1.0]}}, "column 'temperature_2m'"),
        ({"hourly": {"time": ["2026-01-01T00:00"], "temperature_2m": []}}, "one length"),
        ({"hourly": None}, "key 'hourly'"),
        ({"utc_offset_seconds": 3600}, "utc_offset_seconds"),
    ],
)
def test_open_meteos_drift_is_refused_with_file_and_key(tmp_path: Path, change: dict[str, Any], words: str) -> None:
    with provider(lambda asked, _: reply([{**one, **change} for one in hourly(asked)])) as p:
        with pytest.raises(ContractError, match=words) as caught:
            landed(archive(p), tmp_path)
        assert "20260101-20260101.json" in caught.value.asked
        assert caught.value.mend


def test_one_answer_for_two_places_is_refused(tmp_path: Path) -> None:
    with provider(lambda asked, _: reply(hourly(asked)[0])) as p, pytest.raises(ContractError, match="2 places"):
        landed(archive(p), tmp_path)


# ---- WebTRIS -------------------------------------------------------------------------------------------------------


def test_the_pages_of_each_site_are_joined_and_no_link_is_followed_elsewhere(tmp_path: Path) -> None:
    with provider(lambda asked, _: report(asked)) as p:
        found = landed(webtris(p), tmp_path)
        assert [(a.query["sites"], a.query["start_date"], a.query["page"]) for a in p.asked[:5]] == [
            ("5", "01012026", "1"),
            ("5", "01012026", "2"),
            ("5", "01012026", "3"),
            ("8", "01012026", "1"),
            ("5", "02012026", "1"),
        ]
        assert p.asked[0].path == "/api/v1.0/reports/daily"
    first = found[0]
    assert (first.node_ids, first.raw_rows, first.row.tolist()) == (("5",), 5, [1, 2, 3, 4, 5])
    assert first.valid_time[:2].tolist() == [at("2026-01-01T00:15"), at("2026-01-01T00:30")]
    assert first.values["vehicles"].tolist() == [70, 71, 72, 73, 74]
    assert np.isnan(first.values["speed"][0])
    assert found[1].raw_rows == 0


def test_summer_reports_are_local(tmp_path: Path) -> None:
    with provider(lambda asked, _: report(asked)) as p:
        options = {"page_size": 9, "start": "2026-07-01T00:00Z"}
        made = at_provider("webtris", p, "/api/v1.0", options, TRAFFIC, nodes=SITES, timezone="Europe/London")
        assert landed(made, tmp_path, datetime(2026, 7, 1, 5, tzinfo=UTC))[0].valid_time[0] == at("2026-06-30T23:15")


def test_an_overload_between_pages_goes_on_there_on_the_next_run(tmp_path: Path) -> None:
    busy = [True]

    def answer(asked: Asked, _: int) -> Answer:
        return Answer(status=503) if busy[0] and asked.query["page"] == "3" else report(asked)

    with provider(answer) as p:
        with pytest.raises(NotYetAvailable, match="503"):
            landed(webtris(p), tmp_path)
        busy[0], before = False, len(p.asked)
        assert landed(webtris(p), tmp_path)[0].raw_rows == 5
        assert p.asked[before].query["page"] == "3"


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda rows: {"Header": {"row_count": 1, "links": []}, "Rows": [{**rows[0], "Total Volume": None, "Report Date": None}]}, None),
        (
            lambda rows: {
                "Header": {"row_count": 1, "links": []},
                "Rows": [{"Date": "x", **{k: v for k, v in rows[0].items() if k != "Report Date"}}],
            },
            "key 'Report Date'",
        ),
        (
            lambda rows: {"Header": {"row_count": 1, "links": []}, "Rows": [{k: v for k, v in rows[0].items() if k != "Total Volume"}]},
            "column 'Total Volume'",
        ),
        (lambda rows: {"Header": {"row_count": 7, "links": []}, "Rows": rows}, "7 rows in 1 pages"),
        (lambda rows: {"Header": {}, "Rows": rows}, "Header.row_count"),
        (lambda rows: {"header": {}, "rows": rows}, "key 'Rows'"),
        (lambda rows: [], "key 'Rows'"),
    ],
)
def test_webtris_drift_is_refused_with_file_and_key(tmp_path: Path, answer: Any, words: str | None) -> None:
    def drifted(asked: Asked, _: int) -> Answer:
        given = report(asked)
        return reply(answer(json.loads(given.body)["Rows"])) if given.body else given

    with provider(drifted) as p:
        if words is None:
            assert len(landed(webtris(p), tmp_path)[0].rejected) == 1
            return
        with pytest.raises(ContractError, match=words) as caught:
            landed(webtris(p), tmp_path)
        assert "5-20260101-20260101" in caught.value.asked


# ---- Elexon --------------------------------------------------------------------------------------------------------


def test_prices_are_of_the_end_of_their_half_hour_and_no_trade_is_no_price(tmp_path: Path) -> None:
    with provider(lambda asked, _: reply({"metadata": {"datasets": ["MID"]}, "data": index(asked)})) as p:
        found = landed(elexon(p), tmp_path)
        assert (p.asked[0].query["from"], p.asked[0].query["to"]) == ("2026-01-01T00:00Z", "2026-01-02T23:30Z")
        assert p.asked[0].query["format"] == "json"
    first = found[0]
    apx = np.array([first.node_ids[n] == "APXMIDP" for n in first.node])
    assert sorted(first.valid_time[apx].tolist()) == [at(f"2026-01-01T{t}") for t in ("00:30", "01:00", "01:30", "02:00")]
    assert set(first.values["price"][apx].tolist()) == {-3.5}
    assert np.isnan(first.values["price"][~apx]).all()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"metadata": {}}, "key 'data'"),
        ({"data": {}}, "list of records"),
        ({"data": [{"startTime": "2026-01-01T00:00:00Z", "dataProvider": "APXMIDP", "Price": 1, "volume": 1}]}, "column 'price'"),
        ("<html>", "key 'data'"),
    ],
)
def test_elexons_drift_is_refused_with_file_and_key(tmp_path: Path, content: Any, words: str) -> None:
    with provider([reply(content)]) as p, pytest.raises(ContractError, match=words) as caught:
        landed(elexon(p), tmp_path)
    assert "20260101-20260102.json" in caught.value.asked


@pytest.mark.parametrize("fault", [Answer(status=429), Answer(status=503), Answer(body=b'{"data":', declared=5000)])
def test_what_came_before_a_fault_is_kept_and_not_asked_for_again(tmp_path: Path, fault: Answer) -> None:
    def answer(asked: Asked, _: int) -> Answer:
        return fault if asked.query["from"].startswith("2026-01-15") else reply({"data": index(asked)})

    moment = datetime(2026, 1, 16, tzinfo=UTC)
    with provider(answer) as p:
        with pytest.raises(NotYetAvailable):
            landed(elexon(p), tmp_path, moment)
        before = len(p.asked)
        with pytest.raises(NotYetAvailable):
            landed(elexon(p), tmp_path, moment)
        assert p.asked[before].query["from"] == "2026-01-09T00:00Z"


# ---- All -----------------------------------------------------------------------------------------------------------


def at_home(p: Provider) -> World:
    """World london with its providers replaced by this one."""
    content = load_world("london").model_dump(mode="json")
    for made in content["sources"].values():
        made["locations"] = [p.url("/" + location.split("/", 3)[3]) for location in made["locations"]]
        made["allowed_hosts"] = [p.host]
    return World.model_validate(content)


def test_a_probe_says_what_the_provider_sent() -> None:
    with provider(lambda asked, _: reply({"data": index(asked)})) as p:
        found = probe(at_home(p), "electricity", Settings(store="", data=None, dask=None), NOW)
    text = "\n".join(probe_lines(found))
    assert "rows 4: readings 4, rejected 0" in text
    assert "nodes 1: APXMIDP" in text
    assert "price: -3.5 .. -3.5" in text
    assert "/bmrs/api/v1/balancing/pricing/market-index?from=" in text


def test_a_probe_of_a_provider_out_of_reach_says_so_and_what_to_do() -> None:
    with provider([Answer()]) as p:
        world = at_home(p)
    for name in world.sources:
        with pytest.raises(NotYetAvailable, match="ConnectError") as caught:
            probe(world, name, Settings(store="", data=None, dask=None), NOW)
        assert "network" in caught.value.mend


def test_the_command_prints_what_came_and_exits_with_75_where_nobody_answers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = """
name = "here"
title = "Here"
start = "2026-01-01T00:00Z"
[sources.electricity]
adapter = "elexon"
locations = ["{url}"]
allowed_hosts = ["{host}"]
options = {{ start = "2026-01-01T00:00Z" }}
[sources.electricity.variables]
price = {{ unit = "GBP/MWh" }}
[domains.electricity]
title = "Electricity"
clock = {{ step = "30min" }}
context = 1
horizon = 1
[domains.electricity.variables]
price = {{ source = "electricity" }}
"""
    path = tmp_path / "here.toml"
    command = ["sources", "probe", "electricity", "--world", str(path), "--as-of", "2026-01-02T06:00Z"]
    with provider(lambda asked, _: reply({"data": index(asked)})) as p:
        path.write_text(text.format(url=p.url("/x"), host=p.host))
        assert main(command) == 0
        assert "rows 4: readings 4" in capsys.readouterr().out
    assert main(command) == 75
    assert "ConnectError" in capsys.readouterr().err
    assert main([*command[:2], "electrcity", *command[3:]]) == 78
    assert "did you mean 'electricity'" in capsys.readouterr().err


def test_london_is_a_live_world_whose_sources_ask_their_own_hosts_only() -> None:
    world = load_world("london")
    check_sources(world)
    assert world.recorded is None
    for name, made in world.sources.items():
        assert len(made.allowed_hosts) == 1, name
        assert parse_instant(made.options["start"]) == world.start

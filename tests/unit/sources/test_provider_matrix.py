"""Every live provider against every fault, each in its documented format; and what the probe says of each."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pipeline.__main__ import main
from pipeline.contracts.worlds import Source
from pipeline.errors import ContractError, NotYetAvailable
from tests.unit.sources import test_gfs, test_zarr
from tests.unit.sources.live_feeds import (
    NOW,
    PLACES,
    TEMPERATURE,
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
from tests.unit.sources.made import zarr_store
from tests.unit.sources.server import Answer, Asked, Provider, provider
from tests.unit.sources.test_providers import binance, klines, kraken, ohlc, pems, station_file

pytestmark = pytest.mark.usefixtures("hurried")


@dataclass(frozen=True, kw_only=True)
class Live:
    """A provider: its source, how it answers, and how its answers change when its schema does.

    Attributes:
        moment: When it is asked.
        named: What errors about its first file name.
    """

    make: Callable[[Provider], Source]
    answer: Callable[[Asked], Answer]
    drift: Callable[[bytes], bytes]
    moment: datetime = datetime(2026, 1, 9, tzinfo=UTC)
    named: str = "2026"


def renamed(old: str, new: str) -> Callable[[bytes], bytes]:
    return lambda body: body.replace(old.encode(), new.encode())


def outlook(p: Provider) -> Source:
    options = {"kind": "forecast", "model": "ecmwf_ifs", "days": 1}
    times = {"latency": "7h", "ahead": "1d", "runs": "12h"}
    return at_provider("open_meteo", p, "/v1/forecast", options, TEMPERATURE, nodes=PLACES, **times)


GFS, ERA5 = test_gfs.objects(), zarr_store(2)


def era5(asked: Asked) -> Answer:
    key = asked.path.removeprefix("/ar/era5.zarr/")
    return Answer(body=ERA5[key]) if key in ERA5 else Answer(status=404)


LIVE = {
    "open_meteo, archive": Live(make=archive, answer=lambda asked: reply(hourly(asked)), drift=renamed('"hourly"', '"hours"')),
    "open_meteo, forecasts by init": Live(make=outlook, answer=lambda asked: reply(hourly(asked)), drift=renamed("temperature_2m", "t2m")),
    "webtris": Live(make=webtris, answer=report, drift=renamed("Total Volume", "Volume")),
    "elexon": Live(make=elexon, answer=lambda asked: reply({"data": index(asked)}), drift=renamed('"price"', '"cost"')),
    "kraken": Live(make=kraken, answer=lambda asked: reply(ohlc(asked)), drift=renamed('"last"', '"newest"')),
    "binance": Live(make=binance, answer=lambda asked: reply(klines(asked)), drift=renamed(', "0"]', "]")),
    "pems": Live(make=pems, answer=station_file, drift=lambda body: gzip.compress(gzip.decompress(body).replace(b",", b",,", 1))),
    "gfs": Live(
        make=lambda p: test_gfs.gfs(p.url(""), allowed_hosts=[p.host]),
        answer=lambda asked: test_gfs.answer_from(GFS, asked),
        drift=renamed(":TMP:", ":TEMP:"),
        moment=datetime(2020, 3, 1, 6, tzinfo=UTC),
        named="gfs.t00z",
    ),
    "era5": Live(
        make=lambda p: test_zarr.made(locations=[p.url("/ar/era5.zarr")], allowed_hosts=[p.host]),
        answer=era5,
        drift=renamed('"K"', '"degC"'),
        moment=datetime(2020, 3, 2, tzinfo=UTC),
        named="era5.zarr",
    ),
}
FAULTS = {
    "429": Answer(status=429),
    "503": Answer(status=503),
    "asked to wait for long": Answer(status=429, headers={"Retry-After": "7200"}),
    "cut": Answer(body=b'{"data": [', declared=5000),
    "the connection ends": Answer(status=0),
}


def part_of(asked: Asked, given: Answer) -> Answer:
    """The answer as one to a request for a part."""
    return replace(given, status=206) if "range" in asked.headers and given.status == 200 else given


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("name", LIVE)
def test_a_fault_of_a_provider_passes_and_what_came_before_it_is_kept(tmp_path: Path, name: str, fault: str) -> None:
    live, broken = LIVE[name], [True]

    def answer(asked: Asked, number: int) -> Answer:
        return part_of(asked, FAULTS[fault]) if broken[0] and number > 0 else live.answer(asked)

    with provider(answer) as p:
        with pytest.raises(NotYetAvailable) as caught:
            landed(live.make(p), tmp_path, live.moment)
        assert p.host in caught.value.asked
        assert caught.value.mend
        broken[0], before = False, len(p.asked)
        landed(live.make(p), tmp_path, live.moment)
        assert len(p.asked) > before


NO_PAGES = {
    "open_meteo, archive": "one answer holds all hours of the days asked for",
    "open_meteo, forecasts by init": "one answer holds a whole run",
    "elexon": "one answer holds the seven days that may be asked for at most",
    "kraken": "one answer holds the newest 720 bars, and there are no others",
    "pems": "a file holds a day",
    "gfs": "a run is files, whose parts are asked for by range",
    "era5": "a store is objects, one for each chunk",
}
PAGED = sorted(LIVE.keys() - NO_PAGES.keys())


def test_the_providers_with_pages_are_known() -> None:
    assert PAGED == ["binance", "webtris"]


@pytest.mark.parametrize("fault", ["503", "cut"])
@pytest.mark.parametrize("name", PAGED)
def test_after_a_fault_pages_go_on_with_the_one_that_was_missing(tmp_path: Path, name: str, fault: str) -> None:
    live, broken = LIVE[name], [True]
    with provider(lambda asked, number: FAULTS[fault] if broken[0] and number else live.answer(asked)) as p:
        with pytest.raises(NotYetAvailable):
            landed(live.make(p), tmp_path, live.moment)
        missing, before, broken[0] = p.asked[1].query, len(p.asked), False
        found = landed(live.make(p), tmp_path, live.moment)
        assert (p.asked[before].query, missing == p.asked[0].query) == (missing, False)
    whole = tmp_path / "whole"
    with provider(lambda asked, _: live.answer(asked)) as p:
        wanted = landed(live.make(p), whole, live.moment)
    assert [one.values.keys() for one in found] == [one.values.keys() for one in wanted]
    assert [one.valid_time.tolist() for one in found] == [one.valid_time.tolist() for one in wanted]


@pytest.mark.parametrize("name", LIVE)
def test_an_answer_that_is_an_error_page_is_refused_with_its_file(tmp_path: Path, name: str) -> None:
    page = Answer(body=b"<html><body>maintenance, back soon</body></html>")
    with provider(lambda asked, _: part_of(asked, page)) as p, pytest.raises(ContractError) as caught:
        landed(LIVE[name].make(p), tmp_path, LIVE[name].moment)
    assert LIVE[name].named in caught.value.asked
    assert caught.value.mend


@pytest.mark.parametrize("name", LIVE)
def test_a_schema_that_drifted_is_refused_with_its_file(tmp_path: Path, name: str) -> None:
    live, changed = LIVE[name], []

    def answer(asked: Asked, _: int) -> Answer:
        given = live.answer(asked)
        drifted = live.drift(given.body) if given.body else given.body
        changed.append(drifted != given.body)
        return replace(given, body=drifted)

    with provider(answer) as p, pytest.raises(ContractError) as caught:
        landed(live.make(p), tmp_path, live.moment)
    assert any(changed)
    assert LIVE[name].named in caught.value.asked or "t2m" in caught.value.asked
    assert caught.value.mend


WORLD = """
name = "live"
title = "Live"
start = "2020-01-01T00:00Z"
[sources.ground]
adapter = "csv"
locations = ["data://ground.csv"]
options = {{ time = "t", node_column = "n" }}
variables = {{ {variable} = {{ unit = "count" }} }}
[sources.feed]
{source}
[domains.feed]
title = "Feed"
clock = {{ step = "1h" }}
context = 1
horizon = 1
[domains.feed.variables]
{variable} = {{ source = "{measured}" }}
{future}
"""
FUTURE = """
[domains.feed.future]
source = "feed"
[domains.feed.future.variables]
{variable} = {{}}
"""


def table(made: Source) -> str:
    """A source as TOML."""
    content = {k: v for k, v in made.model_dump(mode="json", exclude_none=True).items() if v not in ({}, [], "")}
    lines = [f"{k} = {json.dumps(v)}" for k, v in content.items() if not isinstance(v, dict)]
    inline = {k: v for k, v in content.items() if isinstance(v, dict) and k != "variables"}
    lines += [f"[sources.feed.{k}]\n" + "\n".join(f"{a} = {json.dumps(b)}" for a, b in v.items()) for k, v in inline.items()]
    for name, rules in content["variables"].items():
        lines.append(f"[sources.feed.variables.{name}]\n" + "\n".join(f"{a} = {json.dumps(b)}" for a, b in rules.items()))
    return "\n".join(lines)


@pytest.mark.parametrize("name", LIVE)
def test_the_probe_says_what_each_provider_sent(tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    live, path = LIVE[name], tmp_path / "live.toml"
    asked_for = ["sources", "probe", "feed", "--world", str(path), "--as-of", f"{min(live.moment, NOW):%Y-%m-%dT%H:%MZ}"]
    with provider(lambda asked, _: live.answer(asked)) as p:
        made = live.make(p)
        variable, runs = next(iter(made.variables)), made.runs is not None
        kind = {"measured": "ground" if runs else "feed", "future": FUTURE.format(variable=variable) if runs else ""}
        path.write_text(WORLD.format(source=table(made), variable=variable, **kind))
        assert main(asked_for) == 0
        said = capsys.readouterr().out
        assert f"from\n  http://{p.host}" in said
        assert "readings" in said
    assert main(asked_for) == 75
    assert "ConnectError" in capsys.readouterr().err

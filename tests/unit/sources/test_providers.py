"""Kraken, Binance and PeMS against servers that answer in their documented format."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.contracts.worlds import Source
from pipeline.errors import ConfigError, ContractError, NotYetAvailable
from pipeline.sources.adapter import Readings
from pipeline.sources.registry import ADAPTERS, adapter_named
from tests.unit.sources.live_feeds import NOW, at_provider, landed, reply
from tests.unit.sources.made import at, source
from tests.unit.sources.server import Answer, Asked, Provider, provider

pytestmark = pytest.mark.usefixtures("hurried")
BARS = {"close": {"unit": "USD"}, "volume": {"unit": "count"}}
FLOW = {"flow": {"column": "Total Flow", "unit": "count"}, "speed": {"column": "Avg Speed", "unit": "mph", "to": "km/h"}}
HOUR = 3600


# ---- Kraken --------------------------------------------------------------------------------------------------------


def ohlc(asked: Asked, now: datetime = NOW, hours: int = 24) -> dict[str, Any]:
    """The newest bars after `since`, the last of them not closed."""
    step = int(asked.query["interval"]) * 60
    last = int(now.timestamp()) // step * step
    times = [t for t in range(last - hours * step, last + 1, step) if t > int(asked.query["since"])]
    bars = [[t, "100.0", "101.5", "99.5", f"{t % 1000}.5", "100.2", "12.5", 42] for t in times]
    return {"error": [], "result": {"XXBTZUSD": bars, "last": last - step}}


def kraken(p: Provider, **options: Any) -> Source:
    return at_provider("kraken", p, "/0/public/OHLC", {"pairs": ["XBTUSD"], "spacing": "0s", **options}, BARS)


def test_bars_are_known_at_their_end_and_the_open_one_is_rejected(tmp_path: Path) -> None:
    with provider(lambda asked, _: reply(ohlc(asked))) as p:
        found = landed(kraken(p), tmp_path)
        assert [a.query["since"] for a in p.asked] == [str(at(f"2026-01-0{d}T00:00") - 1) for d in (1, 2, 3)]
        assert (p.asked[0].query["pair"], p.asked[0].query["interval"]) == ("XBTUSD", "60")
    last = found[-1]
    assert last.node_ids == ("XBTUSD",)
    assert last.valid_time.tolist() == [at(f"2026-01-03T{h:02d}:00") for h in range(1, 7)]
    assert last.values["close"][0] == at("2026-01-03T00:00") % 1000 + 0.5
    assert (last.rejected.row, last.rejected.reason) == ((7,), ("a bar that is not closed yet",))


def test_what_is_older_than_720_bars_is_not_asked_for(tmp_path: Path) -> None:
    with provider(lambda asked, _: reply(ohlc(asked))) as p:
        landed(kraken(p, start="2025-01-01T00:00Z", interval="5min"), tmp_path)
        assert [a.query["since"] for a in p.asked] == [
            str(at(f"{d}T00:00") - 1) for d in ("2025-12-31", "2026-01-01", "2026-01-02", "2026-01-03")
        ]


@pytest.mark.parametrize(
    ("said", "error"),
    [("EAPI:Rate limit exceeded", NotYetAvailable), ("EService:Unavailable", NotYetAvailable), ("EQuery:Unknown asset pair", ConfigError)],
)
def test_an_error_with_status_200_is_for_now_or_for_the_world_file(tmp_path: Path, said: str, error: type[Exception]) -> None:
    with provider([reply({"error": [said]})]) as p, pytest.raises(error, match=said):
        landed(kraken(p), tmp_path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda d: {"error": [], "result": {"XXBTZUSD": d["result"]["XXBTZUSD"]}}, r"result\.last"),
        (lambda d: {"error": [], "result": {**d["result"], "XETHZUSD": []}}, "one pair"),
        (lambda d: {"error": [], "result": {"X": [[*d["result"]["XXBTZUSD"][0], 1]], "last": 1}}, "8 values .* in row 1"),
        (lambda d: {"error": [], "result": {"X": [{}], "last": 1}}, "row 1 .*dict"),
        (lambda d: [], "keys 'result'"),
    ],
)
def test_krakens_drift_is_refused_with_file_and_place(tmp_path: Path, change: Callable[[Any], Any], words: str) -> None:
    with provider(lambda asked, _: reply(change(ohlc(asked)))) as p, pytest.raises(ContractError, match=words) as caught:
        landed(kraken(p), tmp_path)
    assert "XBTUSD-20260101.json" in caught.value.asked


# ---- Binance -------------------------------------------------------------------------------------------------------


def klines(asked: Asked, unit: int = 1000) -> list[list[Any]]:
    start, end, limit = (int(asked.query[k]) for k in ("startTime", "endTime", "limit"))
    times = [t for t in range(-(-start // 3600_000) * 3600_000, end + 1, 3600_000) if t <= NOW.timestamp() * 1000][:limit]
    tail = ["900.0", 7, "4.0", "400.0", "0"]
    return [[t * unit // 1000, "1.0", "1.5", "0.5", f"{t // 3600_000}.25", "9.0", (t + 3600_000) * unit // 1000 - 1, *tail] for t in times]


def binance(p: Provider, **options: Any) -> Source:
    return at_provider("binance", p, "/api/v3/klines", {"symbols": ["BTCUSDT"], "page_size": 10, "spacing": "0s", **options}, BARS)


def test_klines_come_in_pages_that_go_on_after_the_last_bar(tmp_path: Path) -> None:
    with provider(lambda asked, _: reply(klines(asked))) as p:
        found = landed(binance(p), tmp_path)
        first = [int(a.query["startTime"]) // 1000 for a in p.asked[:3]]
        assert first == [at("2026-01-01T00:00"), at("2026-01-01T10:00"), at("2026-01-01T20:00")]
        assert (p.asked[0].query["interval"], p.asked[0].query["limit"]) == ("1h", "10")
        assert int(p.asked[0].query["endTime"]) == at("2026-01-02T00:00") * 1000 - 1
    assert [f.raw_rows for f in found] == [24, 24, 7]
    assert found[0].valid_time.tolist() == [at("2026-01-01T00:00") + h * HOUR for h in range(1, 25)]
    assert found[0].values["close"][0] == at("2026-01-01T00:00") / HOUR + 0.25
    assert found[2].valid_time[-1] > NOW.timestamp()  # not closed: flagged as in the future


def test_an_interruption_between_pages_goes_on_there(tmp_path: Path) -> None:
    busy = [True]

    def answer(asked: Asked, _: int) -> Answer:
        late = int(asked.query["startTime"]) // 1000 == at("2026-01-02T20:00")
        return Answer(status=429, headers={"Retry-After": "3600"}) if busy[0] and late else reply(klines(asked))

    with provider(answer) as p:
        with pytest.raises(NotYetAvailable, match="3600 s"):
            landed(binance(p), tmp_path)
        busy[0], before = False, len(p.asked)
        assert [f.raw_rows for f in landed(binance(p), tmp_path)] == [24, 7]
        assert int(p.asked[before].query["startTime"]) // 1000 == at("2026-01-02T20:00")


@pytest.mark.parametrize(("status", "error"), [(418, NotYetAvailable), (451, ConfigError), (400, ConfigError)])
def test_a_ban_passes_and_a_refusal_does_not(tmp_path: Path, status: int, error: type[Exception]) -> None:
    said = reply({"code": -1121, "msg": "Invalid symbol."}, status=status)
    with provider([said]) as p, pytest.raises(error, match="Invalid symbol"):
        landed(binance(p), tmp_path)


def test_bars_in_microseconds_are_rejected_by_name(tmp_path: Path) -> None:
    with provider(lambda asked, _: reply(klines(asked, unit=1_000_000))) as p:
        found = landed(binance(p, page_size=1000), tmp_path)[0]
    assert (len(found), len(found.rejected)) == (0, 24)
    assert "sensible as epoch_us" in found.rejected.reason[0]


@pytest.mark.parametrize(
    ("content", "words"), [({"data": []}, "list of records"), ([[1, 2, 3]], "12 values .* in row 1"), ([{"open": 1}], "row 1 .*dict")]
)
def test_binances_drift_is_refused_with_file_and_place(tmp_path: Path, content: Any, words: str) -> None:
    with provider([reply(content)]) as p, pytest.raises(ContractError, match=words) as caught:
        landed(binance(p), tmp_path)
    assert "BTCUSDT-20260101-p0001.json" in caught.value.asked


# ---- PeMS ----------------------------------------------------------------------------------------------------------


def station_rows(day: str = "01/01/2026", lanes: int = 2) -> list[str]:
    lane = ",10,5,.01,60.1,1"
    seen = f"{day} 08:00:00,400001,4,101,N,ML,.5,20,100,30,.0154,65.2{lane * lanes}"
    guessed = f"{day} 08:00:00,400002,4,101,S,ML,.4,0,0,28,.0150,64.0{lane * lanes}"
    silent = f"{day} 08:00:00,400003,4,101,S,OR,,,,,,{',,,,,' * lanes}"
    return [seen, guessed, silent]


def station_file(asked: Asked, lanes: int = 2) -> Answer:
    year, month, day = asked.path[-17:-7].split("_")
    return Answer(body=gzip.compress("\n".join(station_rows(f"{month}/{day}/{year}", lanes)).encode() + b"\n"))


def pems(p: Provider) -> Source:
    options = {"district": 4, "start": "2026-01-01T00:00Z", "revised": "1d"}
    fields = {"locations": [p.url("/d04/")], "allowed_hosts": [p.host], "timezone": "America/Los_Angeles"}
    made = source("pems", options, FLOW, **fields)
    adapter_named("pems").check(made)
    return made


def read_file(rows: list[str], **options: Any) -> Readings:
    made = source("pems", options, FLOW, timezone="America/Los_Angeles")
    adapter_named("pems").check(made)
    return adapter_named("pems").parse(made, {"d04_text_station_5min_2026_01_01.txt": "\n".join(rows).encode()})


def test_counts_are_of_the_end_of_their_five_minutes_and_a_guess_is_missing() -> None:
    found = read_file(station_rows())
    assert found.node_ids == ("400001", "400002", "400003")
    assert set(found.valid_time.tolist()) == {at("2026-01-01T16:05")}
    assert found.values["flow"][0] == 30
    assert np.isnan(found.values["flow"][1:]).all()
    assert read_file(station_rows(), observed=0.0).values["speed"].tolist()[:2] == [65.2, 64.0]
    assert read_file(station_rows(lanes=8)).values["speed"][0] == 65.2


def test_the_hour_that_comes_twice_is_the_later_one_and_the_skipped_one_is_rejected() -> None:
    twice = [row.replace("01/01/2026 08", "11/01/2026 01") for row in station_rows()]
    assert read_file(twice).valid_time[0] == at("2026-11-01T09:05")
    skipped = [row.replace("01/01/2026 08", "03/08/2026 02") for row in station_rows()]
    assert "America/Los_Angeles skips" in read_file(skipped).rejected.reason[0]


def test_each_day_is_a_delivery_and_one_that_is_not_there_holds_nothing_up(tmp_path: Path) -> None:
    with provider(lambda asked, _: Answer(status=404) if "2026_01_01" in asked.path else station_file(asked)) as p:
        found = landed(pems(p), tmp_path, datetime(2026, 1, 4, tzinfo=UTC))
        names = [f"/d04/d04_text_station_5min_2026_01_0{d}.txt.gz" for d in (1, 2)]
        assert [a.path for a in p.asked] == names
        assert [f.raw_rows for f in found] == [0, 3]


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (["a,b,c"], "3 fields, not 12"),
        ([station_rows()[0] + ",1"], "23 fields"),
        (["Timestamp,Station"], "2 fields"),
        (["x" * 70_000], "1 fields"),
    ],
)
def test_a_file_of_other_columns_is_refused(rows: list[str], words: str) -> None:
    with pytest.raises(ContractError, match=f"first row of d04_text.*{words}"):
        read_file(rows)


def test_a_lane_that_the_district_does_not_have_and_another_zone_are_refused() -> None:
    made = source("pems", {}, {"flow": {"column": "Lane 3 Flow", "unit": "count"}}, timezone="America/Los_Angeles")
    with pytest.raises(ContractError, match="did the provider rename it"):
        adapter_named("pems").parse(made, {"x.txt": station_rows()[0].encode()})
    with pytest.raises(ConfigError, match="America/Los_Angeles"):
        adapter_named("pems").check(source("pems", {}, FLOW))


def test_every_adapter_has_a_version_of_its_parser() -> None:
    from pipeline.contracts.observations import PARSER_VERSIONS

    assert set(PARSER_VERSIONS) == set(ADAPTERS)

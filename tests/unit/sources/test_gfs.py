"""NOAA GFS against servers that answer as the public buckets do: an index beside each file, and parts of files."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("eccodes")

from pipeline.contracts.worlds import Source
from pipeline.errors import ConfigError, ContractError, NotYetAvailable
from pipeline.settings import Settings
from pipeline.sources.adapter import Readings
from pipeline.sources.gfs import GfsAdapter
from pipeline.stores.landing import LandingStore
from pipeline.stores.objects import ObjectStore
from tests.unit.sources.made import at, grib, source
from tests.unit.sources.server import Answer, Asked, provider

ADAPTER = GfsAdapter()
pytestmark = pytest.mark.usefixtures("hurried")
START = "2020-03-01T00:00Z"
VARIABLES = {"temperature": {"column": "2t", "unit": "K", "to": "degC"}, "rain": {"column": "tp", "unit": "m", "to": "mm"}}


def gfs(location: str, options: dict[str, Any] | None = None, **fields: Any) -> Source:
    given = {"start": START, "every": "3h", **(options or {})}
    times = {"runs": "6h", "ahead": "3h", "latency": "5h"}
    made = source("gfs", given, **{"locations": [location], "variables": VARIABLES, **times, **fields})
    ADAPTER.check(made)
    return made


def file_and_index(lead: int, init: str = "2020030100") -> tuple[bytes, bytes]:
    """A file of three messages, and its index, as the provider writes them."""
    wind, warm = grib(1, step=lead, name="10u"), grib(1, step=lead)
    rain = grib(1, step=lead, name="tp") if lead else b""
    said = f"{lead} hour fcst" if lead else "anl"
    lines = [f"1:0:d={init}:UGRD:10 m above ground:{said}:", f"2:{len(wind)}:d={init}:TMP:2 m above ground:{said}:"]
    if lead:
        lines += [f"{n}:{len(wind + warm)}:d={init}:APCP:surface:{t} hour acc fcst:" for n, t in ((3, f"0-{lead}"), (4, f"0-{lead}"))]
    return wind + warm + rain, "\n".join(lines).encode() + b"\n"


def objects() -> dict[str, bytes]:
    found = {}
    for lead in (0, 3):
        key = f"gfs.20200301/00/gfs.t00z.pgrb2.0p25.f{lead:03d}"
        found[key], found[f"{key}.idx"] = file_and_index(lead)
    return found


def answer_from(held: dict[str, bytes], asked: Asked) -> Answer:
    key = asked.path.removeprefix("/")
    if key not in held:
        return Answer(status=404)
    if "range" not in asked.headers:
        return Answer(body=held[key])
    start, _, end = asked.headers["range"].removeprefix("bytes=").partition("-")
    part = held[key][int(start) : int(end) + 1 if end else None]
    return Answer(status=206, body=part, headers={"Content-Range": f"bytes {start}-/{len(held[key])}"})


def fetched(made: Source, folder: Path, hour: int = 6) -> list[dict[str, bytes]]:
    """What is new, landed and not parsed: decoding takes a process of its own."""
    store, moment = LandingStore(ObjectStore(str(folder)), "w", "s"), datetime(2020, 3, 1, hour, tzinfo=UTC)
    offered = ADAPTER.deliveries(made, Settings(store="", data=None, dask=None), moment)
    return [store.read(d) for d in store.land(offered, int(moment.timestamp())) if d.role == "readings"]


def landed(made: Source, folder: Path) -> list[Readings]:
    return [ADAPTER.parse(made, parts) for parts in fetched(made, folder)]


def test_of_each_file_only_the_messages_wanted_are_fetched(tmp_path: Path) -> None:
    held = objects()
    with provider(lambda asked, _: answer_from(held, asked)) as p:
        [found] = landed(gfs(p.url(""), allowed_hosts=[p.host]), tmp_path)
        windy = len(grib(1, name="10u"))
        assert [a.headers["range"] for a in p.asked[:3]] == ["bytes=0-", f"bytes={windy}-", "bytes=0-"]
        assert landed(gfs(p.url(""), allowed_hosts=[p.host]), tmp_path) == []
    assert found.init_time is not None
    assert set(found.init_time.tolist()) == {at("2020-03-01T00:00")}
    assert sorted(set(found.valid_time.tolist())) == [at("2020-03-01T00:00"), at("2020-03-01T03:00")]
    assert found.values["temperature"][:2].tolist() == [0, 1]
    assert np.isnan(found.values["rain"][:6]).all()
    assert found.values["rain"][6] == 0
    places = ADAPTER.parse_places(gfs("https://x", allowed_hosts=["x"]), {"f000": held["gfs.20200301/00/gfs.t00z.pgrb2.0p25.f000"]})
    assert places.longitude[:3].tolist() == [-1, 0, 1]


@pytest.mark.parametrize("account", ["", "anonymous@"])
def test_a_public_bucket_answers_the_same(bucket: str, tmp_path: Path, account: str) -> None:
    import boto3

    client = boto3.client("s3", endpoint_url=bucket, region_name="eu-west-1")
    for key, data in objects().items():
        client.put_object(Bucket="feeds", Key=key, Body=data, ACL="public-read")
    [found] = fetched(gfs(f"s3://{account}feeds"), tmp_path)
    assert [len(part) for part in found.values()] == [len(grib(1)), len(grib(1, step=3)) + len(grib(1, step=3, name="tp"))]


def test_a_run_that_is_late_is_asked_for_again_and_a_hole_in_the_archive_is_passed(tmp_path: Path) -> None:
    held = {k: v for k, v in objects().items() if not k.endswith("f003.idx")}
    with provider(lambda asked, _: answer_from(held, asked)) as p:
        made = gfs(p.url(""), allowed_hosts=[p.host])
        with pytest.raises(NotYetAvailable, match=r"f003\.idx"):
            fetched(made, tmp_path)
        held |= objects()
        assert len(fetched(made, tmp_path)) == 1
        early = gfs(
            p.url(""), {"start": "2020-02-28T18:00Z"}, allowed_hosts=[p.host], runs="12h", nodes={"rows": [["y000x000", 52.0, -1.0]]}
        )
        found = fetched(early, tmp_path / "b", hour=13)
        assert [sum(map(len, parts.values())) > 0 for parts in found] == [False] * 2 + [True]
        assert ADAPTER.parse(early, found[0]).raw_rows == 0


@pytest.mark.parametrize(
    "fault", [Answer(status=429), Answer(status=503), Answer(status=206, body=b"GRIB", declared=5000), Answer(status=206, body=b"GRIB")]
)
def test_an_overload_or_a_cut_message_is_for_now_only(tmp_path: Path, fault: Answer) -> None:
    held, busy = objects(), [True]

    def answer(asked: Asked, _: int) -> Answer:
        return fault if busy[0] and asked.path.endswith("f003") else answer_from(held, asked)

    with provider(answer) as p:
        made = gfs(p.url(""), allowed_hosts=[p.host])
        with pytest.raises(NotYetAvailable):
            fetched(made, tmp_path)
        busy[0] = False
        assert len(fetched(made, tmp_path)) == 1


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("TMP:2 m above", "TEMP:2 m above", r"'TMP:2 m above ground' in .*f000\.idx|f003\.idx"),
        ("d=2020030100", "d=2020022918", r"line 1 of gfs\.t00z.*idx"),
        ("0-3 hour acc fcst:\n", "0-3 hour acc fcst:ENS=1:\n", "what tells them apart"),
        ("2:", "2;", r"line 2 of"),
    ],
)
def test_an_index_of_another_form_is_refused_with_its_place(tmp_path: Path, old: str, new: str, words: str) -> None:
    held = {k: v.replace(old.encode(), new.encode(), 1) if k.endswith("f003.idx") else v for k, v in objects().items()}
    with provider(lambda asked, _: answer_from(held, asked)) as p, pytest.raises(ContractError, match=words):
        landed(gfs(p.url(""), allowed_hosts=[p.host]), tmp_path)


def test_a_message_of_another_unit_or_parameter_is_refused(tmp_path: Path) -> None:
    held = objects()
    with provider(lambda asked, _: answer_from(held, asked)) as p:
        other = {"temperature": {"column": "2t", "unit": "degC"}}
        with pytest.raises(ContractError, match=r"unit of variable '2t'.*'K', not 'degC'"):
            landed(gfs(p.url(""), allowed_hosts=[p.host], variables=other), tmp_path)
        gust = {"gust": {"column": "gust", "unit": "m s-1"}}
        with pytest.raises(ContractError, match="column 'gust'"):
            landed(gfs(p.url(""), {"index": {"gust": "UGRD:10 m above ground"}}, allowed_hosts=[p.host], variables=gust), tmp_path / "b")


@pytest.mark.parametrize(
    ("options", "fields"),
    [
        ({"every": "90min"}, {}),
        ({}, {"runs": "4h"}),
        ({}, {"runs": None, "ahead": "0s"}),
        ({"every": "2h"}, {}),
        ({}, {"variables": {"x": {"unit": "K"}}}),
    ],
)
def test_a_source_that_makes_no_sense_is_refused(options: dict[str, Any], fields: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        gfs("s3://anonymous@noaa-gfs-bdp-pds", options, **fields)

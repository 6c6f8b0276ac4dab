"""Over http(s): listed hosts only, whole bodies only, patient and polite."""

from __future__ import annotations

import email.utils
import gzip
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pipeline.contracts.deliveries import Validators
from pipeline.contracts.worlds import Source
from pipeline.errors import ConfigError, ContractError, CubecastError, NotYetAvailable
from pipeline.settings import Settings, project_folder
from pipeline.sources.csv import CsvAdapter
from pipeline.sources.web import Policy, Web
from pipeline.stores.landing import LandingStore
from pipeline.stores.objects import ObjectStore
from tests.unit.sources.server import Answer, Asked, provider

FAST = Policy(attempts=3, first_wait=0.01, longest_wait=2.0, connect=2.0, read=0.5, whole=2.0, spacing=0.0, most=10_000, redirects=2)
BUSY = Answer(status=503, headers={"Retry-After": "0"})


def test_a_step_that_asks_for_nothing_over_http_loads_no_client() -> None:
    steps = "pipeline.steps.land, pipeline.steps.observe, pipeline.steps.build_cube"
    said = f"import sys, {steps}; print(sorted({{'httpx', 'tenacity', 'rich'}} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", said], capture_output=True, text=True, check=True, cwd=project_folder(), timeout=60)
    assert done.stdout.strip() == "[]"


def test_a_body_comes_as_it_was_sent() -> None:
    with provider([Answer(body=b"t,n,a\n\x00\xff")]) as p:
        assert Web((p.host,), FAST).get(p.url("/x.csv")) == b"t,n,a\n\x00\xff"


@pytest.mark.parametrize(
    "url",
    [
        "http://{host}1/x",
        "http://localhost:{port}/x",
        "http://127.0.0.1/x",
        "http://[::1]:{port}/x",
        "http://user:secret@{host}/x",
        "ftp://{host}/x",
        "http://",
        "http://{host}:99999999/x",
    ],
)
def test_a_host_that_is_not_listed_is_never_asked(url: str) -> None:
    with provider([Answer(body=b"x")]) as p:
        with pytest.raises(ConfigError, match="location") as caught:
            Web((p.host,), FAST).get(url.format(host=p.host, port=p.port))
        assert p.asked == []
        assert "secret" not in str(caught.value)


def test_without_a_list_not_even_this_machine_is_asked() -> None:
    with provider([Answer(body=b"x")]) as p, pytest.raises(ConfigError, match="allowed_hosts"):
        Web((), FAST).get(p.url("/x"))


def test_a_redirect_within_the_list_is_followed_and_one_out_of_it_refused() -> None:
    def answer(asked: Asked, _: int) -> Answer:
        to = {"/a": "/b", "/out": "http://example.org/x", "/loop": "/loop"}.get(asked.path)
        return Answer(status=302, headers={"Location": to}) if to else Answer(body=b"there")

    with provider(answer) as p:
        web = Web((p.host,), FAST)
        assert web.get(p.url("/a")) == b"there"
        with pytest.raises(ConfigError, match=r"example\.org"):
            web.get(p.url("/out"))
        with pytest.raises(ConfigError, match="more than 2 redirects"):
            web.get(p.url("/loop"))


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_an_overloaded_provider_is_asked_again_and_then_left_alone(status: int) -> None:
    with provider([Answer(status=status), Answer(status=status), Answer(body=b"x")]) as p:
        assert Web((p.host,), FAST).get(p.url("/x")) == b"x"
    with provider([Answer(status=status)]) as p:
        with pytest.raises(NotYetAvailable, match=f"HTTP {status}.*3 times"):
            Web((p.host,), FAST).get(p.url("/x"))
        assert len(p.asked) == 3


@pytest.mark.parametrize("dated", [False, True])
def test_the_pause_a_provider_asks_for_is_kept_in_seconds_and_as_a_date(dated: bool) -> None:
    def answer(_: Asked, n: int) -> Answer:
        after = email.utils.formatdate(time.time() + 2, usegmt=True) if dated else "1"
        return Answer(body=b"x") if n else Answer(status=429, headers={"Retry-After": after})

    with provider(answer) as p:
        began = time.monotonic()
        assert Web((p.host,), FAST).get(p.url("/x")) == b"x"
        assert time.monotonic() - began >= 0.9


def test_a_provider_that_asks_for_a_long_pause_is_not_asked_again() -> None:
    with provider([Answer(status=429, headers={"Retry-After": "3600"})]) as p:
        with pytest.raises(NotYetAvailable, match="wait 3600 s"):
            Web((p.host,), FAST).get(p.url("/x"))
        assert len(p.asked) == 1


def test_a_truncated_body_is_asked_for_again_and_never_taken() -> None:
    with provider([Answer(body=b"half", declared=8), Answer(body=b"whole")]) as p:
        assert Web((p.host,), FAST).get(p.url("/x")) == b"whole"
    with provider([Answer(body=b"half", declared=8)]) as p, pytest.raises(NotYetAvailable, match="RemoteProtocolError"):
        Web((p.host,), FAST).get(p.url("/x"))


PACKED = {"Content-Encoding": "gzip"}


@pytest.mark.parametrize("damage", [lambda body: body[: len(body) // 2], lambda body: body[:-6] + b"x" + body[-5:], lambda _: b"half"])
def test_a_body_that_is_packed_on_its_way_is_whole_or_asked_for_again(damage: Callable[[bytes], bytes]) -> None:
    plain = bytes(range(256)) * 20
    packed = Answer(body=gzip.compress(plain), headers=PACKED)
    with provider([replace(packed, body=damage(packed.body)), packed]) as p:
        assert Web((p.host,), FAST).get(p.url("/x.csv")) == plain
    with provider([replace(packed, body=damage(packed.body))]) as p, pytest.raises(NotYetAvailable, match="an answer in gzip"):
        Web((p.host,), FAST).get(p.url("/x.csv"))


def test_a_gzip_stays_one_whatever_it_is_called_and_what_is_packed_otherwise_is_refused() -> None:
    with provider([Answer(body=gzip.compress(b"t,n,a", mtime=0), headers=PACKED)]) as p:
        assert Web((p.host,), FAST).get(p.url("/x.csv.gz")) == gzip.compress(b"t,n,a", mtime=0)
    with provider([Answer(body=b"t,n,a", headers={"Content-Encoding": "br"})]) as p, pytest.raises(ConfigError, match="packed as br"):
        Web((p.host,), FAST).get(p.url("/x.csv"))


def test_a_body_that_is_too_large_is_refused_declared_or_not() -> None:
    for given in (Answer(body=b"x" * 20_000), Answer(body=b"x", declared=2**40)):
        with provider([given]) as p, pytest.raises(ContractError, match="more than 10000"):
            Web((p.host,), FAST).get(p.url("/x"))


def test_a_silent_provider_times_out_within_bounds() -> None:
    def answer(_: Asked, __: int) -> Answer:
        time.sleep(1.0)
        return Answer(body=b"late")

    began = time.monotonic()
    with provider(answer) as p, pytest.raises(NotYetAvailable, match="ReadTimeout"):
        Web((p.host,), FAST).get(p.url("/x"))
    assert time.monotonic() - began < 5


def test_nobody_there_is_a_clear_error() -> None:
    with provider([Answer()]) as p:
        gone = p.host
    with pytest.raises(NotYetAvailable, match="ConnectError") as caught:
        Web((gone,), FAST).get(f"http://{gone}/x")
    assert "network" in caught.value.mend


@pytest.mark.parametrize(("status", "error"), [(404, NotYetAvailable), (410, NotYetAvailable), (400, ConfigError), (401, ConfigError)])
def test_a_refusal_is_not_repeated_and_shows_what_was_said(status: int, error: type[CubecastError]) -> None:
    with provider([Answer(status=status, body=b'{"reason":"no such site"}')]) as p:
        with pytest.raises(error, match=str(status)):
            Web((p.host,), FAST).get(p.url("/x"))
        assert len(p.asked) == 1


def test_requests_keep_their_distance() -> None:
    with provider([Answer(body=b"x")]) as p:
        web = Web((p.host,), Policy(spacing=0.2))
        began = time.monotonic()
        for _ in range(3):
            web.get(p.url("/x"))
        assert time.monotonic() - began >= 0.4


def test_what_has_not_changed_is_asked_for_by_its_validators() -> None:
    with provider([Answer(status=304)]) as p:
        assert Web((p.host,), FAST).fetch(p.url("/x"), Validators(etag='"a"', last_modified="Wed, 21 Oct 2015 07:28:00 GMT")) is None
        assert p.asked[0].headers["if-none-match"] == '"a"'
        assert p.asked[0].headers["if-modified-since"] == "Wed, 21 Oct 2015 07:28:00 GMT"


def _source(*locations: str, hosts: list[str]) -> Source:
    fields = {"adapter": "csv", "locations": list(locations), "allowed_hosts": hosts, "options": {"time": "t", "node": "x"}}
    return Source.model_validate({**fields, "variables": {"a": {"unit": "count"}}})


def test_landing_asks_for_changes_only_and_a_304_adds_nothing(tmp_path: Path) -> None:
    content = [b"t,a\n2014-08-01T00:00:00,1\n"]

    def answer(asked: Asked, _: int) -> Answer:
        tag = f'"{len(content[0])}"'
        return Answer(status=304) if asked.headers.get("if-none-match") == tag else Answer(body=content[0], headers={"ETag": tag})

    settings = Settings(store=str(tmp_path), data=None, dask=None)
    store = LandingStore(ObjectStore(str(tmp_path)), "w", "s")
    with provider(answer) as p:
        source = _source(p.url("/feed.csv"), hosts=[p.host])

        def land(moment: int) -> int:
            return len(store.land(CsvAdapter().deliveries(source, settings, datetime(2020, 1, 1, tzinfo=UTC)), moment))

        assert [land(1), land(2)] == [1, 0]
        assert p.asked[1].headers["if-none-match"] == store.manifest()[0].parts[0].etag
        content[0] += b"2014-08-01T00:05:00,2\n"
        assert [land(3), land(4)] == [1, 0]
    assert [landed.received_time for landed in store.manifest()] == [1, 3]
    assert store.read(store.manifest()[1]) == {"feed.csv": content[0]}


def test_a_world_file_with_a_host_it_does_not_allow_is_refused_at_once() -> None:
    with pytest.raises(ConfigError, match="allowed_hosts"):
        CsvAdapter().check(_source("https://example.org/x.csv", hosts=["example.com"]))


def test_a_part_of_a_file_is_that_part_or_nothing() -> None:
    whole = bytes(range(100))
    part = Answer(status=206, body=whole[10:20], headers={"Content-Range": "bytes 10-19/100"})
    with provider([part, Answer(status=206, body=whole[10:15]), Answer(body=whole)]) as p:
        web = Web((p.host,), FAST)
        assert web.window(p.url("/x"), 10, 20) == whole[10:20]
        assert p.asked[0].headers["range"] == "bytes=10-19"
        with pytest.raises(NotYetAvailable, match=r"bytes 10 \.\. 19: 5 bytes"):
            web.window(p.url("/x"), 10, 20)
        with pytest.raises(ConfigError, match="the whole file"):
            web.window(p.url("/x"), 10, 20)

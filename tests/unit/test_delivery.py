"""Who hears of an alert, once; what is refused; and that no secret is repeated."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from pipeline import delivery
from pipeline.contracts.alerts import Alert, Finding
from pipeline.delivery import Message, channels, content_of, deliver
from pipeline.errors import ConfigError
from pipeline.settings import Settings, child_environment, read_settings
from pipeline.stores.monitoring import MonitoringStore
from pipeline.stores.objects import ObjectStore

NOW = datetime(2026, 11, 23, tzinfo=UTC)


class Receiver(HTTPServer):
    answers: list[int]
    heard: list[tuple[dict[str, str], Any]]


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            server.heard.append((dict(self.headers), json.loads(self.rfile.read(int(self.headers["Content-Length"])))))
            self.send_response(server.answers.pop(0) if server.answers else 200)
            self.send_header("Location", "http://127.0.0.1:1/elsewhere")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    monkeypatch.setattr(delivery.time, "sleep", lambda _: None)
    with Receiver(("127.0.0.1", 0), Handler) as server:
        server.answers, server.heard = [], []
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def settings_of(folder: Path, receiver: Receiver | None, **more: Any) -> Settings:
    url = f"http://127.0.0.1:{receiver.server_port}/hook/s3cret" if receiver else None
    return Settings(store=str(folder / "store"), data=None, dask=None, alert_url=url, **more)


def alert(subject: str = "n1", level: str = "warn") -> Alert:
    finding = Finding(
        rule="frozen_sensor", level=level, domain="road", variable="speed", subject=subject, number=9.0, limit=6.0, text="t", since=50
    )
    return Alert(finding=finding, since=50, raised=100)


def stands(folder: Path, *alerts: Alert, moment: str = "now") -> MonitoringStore:
    store = MonitoringStore(ObjectStore(str(folder / "store")), "town")
    store.log("failures", alerts, moment=moment)
    return store


def test_a_webhook_and_a_log_hear_once_that_an_alert_opened_and_once_that_it_is_over(tmp_path: Path, receiver: Receiver) -> None:
    log = tmp_path / "logs" / "alerts.jsonl"
    settings = settings_of(tmp_path, receiver, alert_log=log, alert_header="Authorization: Bearer s3cret")
    for alerts in ((alert(),), (alert(),), (alert(level="block"),), (), ()):
        assert deliver("town", stands(tmp_path, *alerts), settings, now=NOW) == ()
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [(line["state"], line["level"]) for line in lines] == [("opened", "warn"), ("opened", "block"), ("closed", "block")]
    assert {"alert", "world", "number", "limit", "since", "mend", "time"} <= set(lines[0])
    assert [(len(body["opened"]), len(body["closed"])) for _, body in receiver.heard] == [(1, 0), (1, 0), (0, 1)]
    assert receiver.heard[0][0]["Authorization"] == "Bearer s3cret"
    assert "BLOCK frozen_sensor/road/speed/n1: t (see docs/runbooks/input-looks-wrong.md)" in receiver.heard[1][1]["text"]


def test_a_receiver_that_is_down_is_tried_again_a_few_times_and_told_the_next_time(tmp_path: Path, receiver: Receiver) -> None:
    settings, store = settings_of(tmp_path, receiver), stands(tmp_path, alert())
    receiver.answers = [500, 503, 429]
    (undelivered,) = deliver("town", store, settings, now=NOW)
    assert undelivered == "webhook: status 429"
    assert len(receiver.heard) == 3
    assert deliver("town", store, settings, now=NOW) == ()
    assert len(receiver.heard) == 4


def test_a_refusal_is_not_repeated_and_a_redirect_is_not_followed(tmp_path: Path, receiver: Receiver) -> None:
    settings, store = settings_of(tmp_path, receiver), stands(tmp_path, alert())
    for status in (403, 302):
        receiver.answers, before = [status], len(receiver.heard)
        assert deliver("town", store, settings, now=NOW) == (f"webhook: status {status}",)
        assert len(receiver.heard) == before + 1


@pytest.mark.parametrize(
    ("url", "hosts"),
    [
        ("http://example.org/hook/s3cret", ()),
        ("https://user:s3cret@example.org/", ()),
        ("ftp://example.org/s3cret", ()),
        ("https://example.org/s3cret", ("hooks.example.com",)),
        ("s3cret", ()),
    ],
)
def test_an_address_that_is_not_allowed_is_refused_without_repeating_it(tmp_path: Path, url: str, hosts: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError) as raised:
        channels(Settings(store=str(tmp_path), data=None, dask=None, alert_url=url, alert_hosts=hosts))
    assert "s3cret" not in str(raised.value)


def test_a_header_that_is_none_is_refused_without_repeating_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as raised:
        channels(Settings(store=str(tmp_path), data=None, dask=None, alert_url="https://example.org/", alert_header="s3cret"))
    assert "s3cret" not in str(raised.value)


def test_where_alerts_are_posted_is_shown_nowhere_and_handed_only_to_those_who_tell() -> None:
    env = {"CUBECAST_ALERT_URL": "https://example.org/s3cret", "CUBECAST_ALERT_HEADER": "X: s3cret", "CUBECAST_ALERT_HOSTS": "a, b"}
    settings = read_settings(env)
    assert settings.alert_hosts == ("a", "b")
    assert "s3cret" not in repr(settings)
    assert "s3cret" not in str(child_environment(environment=env))
    assert child_environment(environment=env, tells=True)["CUBECAST_ALERT_URL"].endswith("s3cret")


def test_a_message_is_bounded_and_says_what_it_leaves_out() -> None:
    rows = tuple(delivery.described(alert(f"n{n}")) for n in range(250))
    content = content_of(Message(world="town", moment="now", opened=rows, closed=()))
    assert (len(content["opened"]), content["left_out"]) == (100, 150)
    assert len(content["text"].splitlines()) == 21

"""Reading only, within bounds, and by those who may: also for whoever tries otherwise."""

from __future__ import annotations

import re

import pytest
from starlette.testclient import TestClient

from pipeline import serve_commands
from pipeline.errors import ConfigError
from pipeline.settings import child_environment, read_settings
from tests.unit.serving.conftest import HOST, Served, serve

WORD = "a-token-long-enough-1"
LATEST = "/worlds/demo/forecasts/latest/weather"


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND"])
@pytest.mark.parametrize("path", ["/worlds", LATEST, "/nothing"])
def test_nothing_but_reading_is_allowed(served: Served, method: str, path: str) -> None:
    answer = served.client.request(method, path)
    assert answer.status_code == 405
    assert answer.headers["allow"] == "GET, HEAD"
    assert answer.json()["mend"] == "use GET"


def test_head_is_get_without_its_body(served: Served) -> None:
    get, head = served.client.get(LATEST), served.client.head(LATEST)
    assert head.status_code == 200
    assert head.content == b""
    assert {k: v for k, v in head.headers.items() if k != "date"} == {k: v for k, v in get.headers.items() if k != "date"}


def test_bodies_and_long_addresses_are_refused(served: Served) -> None:
    assert served.client.request("GET", "/worlds", content=b"x" * 10).status_code == 413
    assert served.client.get("/worlds?x=" + "y" * 5000).status_code == 414
    assert served.client.get("/worlds/demo/forecasts/latest/traffic/" + "n" * 300).status_code == 422


def test_a_page_elsewhere_cannot_ask_under_another_name_of_this_machine(served: Served) -> None:
    answer = served.client.get("/worlds", headers={"host": "evil.example:8750"})
    assert answer.status_code == 421
    assert served.client.get("/worlds", headers={"host": "localhost"}).status_code == 421  # this one was not named
    assert served.client.get("/worlds", headers={"host": f"{HOST}:1234"}).status_code == 200


def test_tokens_open_the_service_to_those_who_have_one_and_answers_stay_private(served: Served) -> None:
    _, app = serve(served.place, [], tokens=(WORD, "another-token-of-them"))
    with TestClient(app, base_url=f"http://{HOST}") as client:
        for headers in ({}, {"authorization": "Bearer wrong"}, {"authorization": f"Basic {WORD}"}, {"authorization": "Bearer"}):
            answer = client.get(LATEST, headers=headers)
            assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
            assert WORD not in answer.text
        answer = client.get(LATEST, headers={"authorization": f"Bearer {WORD}"})
        assert answer.status_code == 200
        assert answer.headers["cache-control"].startswith("private")
        assert client.get("/docs").status_code == 401


def test_an_address_that_others_reach_is_opened_only_with_tokens_that_cannot_be_guessed() -> None:
    bare = read_settings({})
    for host in ("127.0.0.1", "::1", "localhost"):
        serve_commands.check_opening(host, bare)
    for host in ("::", "192.168.1.7", "example.org"):
        with pytest.raises(ConfigError, match="CUBECAST_TOKENS"):
            serve_commands.check_opening(host, bare)
        serve_commands.check_opening(host, read_settings({"CUBECAST_TOKENS": WORD}))
    with pytest.raises(ConfigError, match="at least 16"):
        serve_commands.check_opening("127.0.0.1", read_settings({"CUBECAST_TOKENS": f"{WORD},short"}))


def test_tokens_are_neither_shown_nor_handed_to_child_processes() -> None:
    environment = {"CUBECAST_TOKENS": WORD, "CUBECAST_STORE": "s"}
    assert WORD not in repr(read_settings(environment))
    assert WORD not in str(child_environment(environment=environment))


def test_the_page_of_routes_needs_no_network_and_its_examples_can_be_followed(served: Served) -> None:
    answer = served.client.get("/docs")
    assert answer.headers["content-type"].startswith("text/html")
    assert "http://" not in answer.text
    assert "https://" not in answer.text
    assert "<script" not in answer.text
    assert ("<code>ETag</code>" in answer.text, "`" in answer.text) == (True, False)
    followed = re.findall(r'href="(/[^"]*)"', answer.text)
    assert "/worlds/demo/forecasts/latest" in followed
    assert {path: served.client.get(path).status_code for path in followed} == dict.fromkeys(followed, 200) | {
        "/worlds/demo/page": 404,
        "/worlds/demo/scorecard": 404,
    }

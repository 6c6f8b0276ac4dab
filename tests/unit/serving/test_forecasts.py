"""Forecasts over HTTP, as programs ask for them."""

from __future__ import annotations

import io
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline.contracts.forecasts import MEDIAN
from pipeline.stores.objects import ObjectStore
from pipeline.stores.published import PublishedStore
from tests.browser.demo import ISSUE_TIME
from tests.feeds import make_place
from tests.unit.serving.conftest import HOST, Served, serve
from tests.unit.stores.published_demo import FORECAST, publish

TRAFFIC = FORECAST.domains["traffic"]
NODE = TRAFFIC.node_ids[3]
LATEST = "/worlds/demo/forecasts/latest"


def test_the_newest_forecast_of_a_node_has_every_lead_and_quantile(served: Served) -> None:
    answer = served.client.get(f"{LATEST}/traffic/{NODE}")
    found = answer.json()
    assert answer.status_code == 200
    assert (found["issue_time"], found["revision"], found["model_id"]) == ("2014-09-30T17:00:00Z", 0, "demo-20140930-cafe")
    assert len(found["rows"]) == 24
    row = found["rows"][14]
    assert (row["variable"], row["units"], row["model"], row["ds"]) == ("average_speed", "km/h", "joint", "2014-09-30T16:15:00Z")
    assert row["q50"] == pytest.approx(float(TRAFFIC.quantiles_LNVQ[2, 3, 1, MEDIAN]), rel=1e-6)
    only = served.client.get(f"{LATEST}/traffic/{NODE}", params={"variable": "average_speed"}).json()["rows"]
    assert only == found["rows"][12:]


def test_csv_and_parquet_hold_the_same_rows(served: Served) -> None:
    rows = served.client.get(f"{LATEST}/market").json()["rows"]
    csv = pd.read_csv(io.BytesIO(served.client.get(f"{LATEST}/market?format=csv").content))
    parquet = pd.read_parquet(io.BytesIO(served.client.get(f"{LATEST}/market?format=parquet").content))
    assert len(rows) == len(csv) == len(parquet) == 20
    assert csv["q95"].tolist() == pytest.approx([row["q95"] for row in rows])
    assert parquet["q95"].tolist() == pytest.approx([row["q95"] for row in rows])
    assert csv["ds"].tolist() == [row["ds"] for row in rows]
    assert str(parquet["ds"].dt.tz) == "UTC"
    assert set(csv["snapshot"]) == {"DEMOSNAPSHOT"}


def test_an_earlier_issue_time_and_each_of_its_revisions_can_be_asked_for(served: Served) -> None:
    at = "/worlds/demo/forecasts/2014-09-30T16:00Z"
    newest, first = served.client.get(at).json(), served.client.get(f"{at}?revision=0").json()
    assert (newest["revision"], newest["provenance"]["model_id"]) == (1, "another")
    assert (first["revision"], first["provenance"]["model_id"]) == (0, "demo-20140930-cafe")
    assert newest["published"]["market"] == {"close": "ridge"}
    assert newest["provenance"]["inputs"]["traffic"]["age_seconds"] >= 0
    assert served.client.get(f"{at}?revision=7").status_code == 404
    same = served.client.get("/worlds/demo/forecasts/2014-09-30T18:00%2B02:00").json()
    assert same == newest


def test_an_unchanged_answer_costs_no_body(served: Served) -> None:
    first = served.client.get(f"{LATEST}/traffic/{NODE}")
    again = served.client.get(f"{LATEST}/traffic/{NODE}", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == first.headers["etag"]
    assert first.headers["cache-control"] == "public, max-age=2"
    other = served.client.get(f"{LATEST}/traffic/{NODE}?format=csv", headers={"If-None-Match": first.headers["etag"]})
    assert other.status_code == 200
    assert served.client.get(f"{LATEST}/traffic", headers={"If-None-Match": f'W/{first.headers["etag"]}, "x"'}).status_code == 304


@pytest.mark.parametrize(
    ("path", "said", "nearest"),
    [
        ("/worlds/dem/forecasts/latest", "no such world", ["demo"]),
        ("/worlds/demo/forecasts/2014-09-29T00:00Z", "the nearest 2014-09-30T16:00:00Z", ["2014-09-30T16:00:00Z", "2014-09-30T17:00:00Z"]),
        (f"{LATEST}/trafic", "no such domain", ["traffic"]),
        (f"{LATEST}/traffic/TRA15800", "no such node", list(TRAFFIC.node_ids[:2])),
        (f"{LATEST}/traffic/{NODE}?variable=speed", "no such variable", ["average_speed"]),
        ("/worlds/demo/forecasts/2014-13-30T00:00Z", "month must be in 1..12", []),
        ("/worlds/demo/forecasts/2014-09-30T16:00Z/parking", "had not arrived", ["traffic", "weather", "market"]),
        ("/worlds/little/forecasts/latest", "never trained", []),
        ("/nothing/here", "nothing at this address", []),
    ],
)
def test_what_is_not_there_is_answered_with_what_was_asked_found_and_the_mend(served: Served, path: str, said: str, nearest: list) -> None:
    answer = served.client.get(path)
    found = answer.json()
    assert answer.status_code == 404
    assert said in found["found"]
    assert all(found[word] for word in ("error", "asked", "mend"))
    assert found["nearest"][: len(nearest)] == nearest or set(nearest) <= set(found["nearest"])
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("query", ["format=xml", "revision=-1", "revision=one", "format="])
def test_a_parameter_that_is_not_allowed_is_named(served: Served, query: str) -> None:
    answer = served.client.get(f"{LATEST}/traffic?{query}")
    assert answer.status_code == 422
    assert query.partition("=")[0] in answer.json()["found"]


def test_more_rows_than_one_answer_holds_are_refused_with_the_way_to_get_them(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    from pipeline.serving import answers

    monkeypatch.setitem(answers.MOST_ROWS, "csv", 100)
    answer = served.client.get(f"{LATEST}/traffic?format=csv")
    assert answer.status_code == 413
    assert "parquet" in answer.json()["mend"]
    assert served.client.get(f"{LATEST}/traffic/{NODE}?format=csv").status_code == 200


def test_a_newer_forecast_is_seen_at_once_and_a_damaged_one_leaves_the_last_whole_one(tmp_path: Path) -> None:
    from starlette.testclient import TestClient

    place, told = make_place(tmp_path), []
    objects = ObjectStore(place.settings.store)
    _, app = serve(place, told)
    with TestClient(app, base_url=f"http://{HOST}") as client:
        path = f"{LATEST}/weather/{FORECAST.domains['weather'].node_ids[0]}"
        assert client.get(path).status_code == 404
        publish(objects)
        first = _until(lambda: client.get(path), lambda a: a.status_code == 200)
        warmer = replace(FORECAST.domains["weather"], quantiles_LNVQ=FORECAST.domains["weather"].quantiles_LNVQ + np.float32(5))
        publish(objects, replace(FORECAST, issue_time=ISSUE_TIME + 3600, domains={**FORECAST.domains, "weather": warmer}))
        second = _until(lambda: client.get(path), lambda a: a.json()["issue_time"] == "2014-09-30T17:00:00Z")
        assert second.json()["rows"][0]["q50"] == pytest.approx(first.json()["rows"][0]["q50"] + 5)
        assert second.headers["etag"] != first.headers["etag"]
        publish(objects, replace(FORECAST, issue_time=ISSUE_TIME + 7200, provenance={**FORECAST.provenance, "model_id": "x"}))
        PublishedStore(objects, "demo").view("latest.json", b'{"issue_time": "2014-09-30T18:00:00Z", "revision": 9}')
        _until(lambda: client.get("/health").json(), lambda h: h["status"] == "degraded")
        assert "revisions 0 to 0" in client.get("/health").json()["worlds"]["demo"]["fault"]
        assert client.get(path).json()["issue_time"] >= "2014-09-30T17:00:00Z"
    assert any("revisions 0 to 0" in line for line in told)


def _until(ask, good, seconds: float = 5.0):
    end = time.monotonic() + seconds
    while not good(found := ask()):
        assert time.monotonic() < end, found
        time.sleep(0.02)
    return found

"""Worlds, nodes, issue times, observations and scores over HTTP."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipeline.serving import answers, record_routes
from pipeline.stores.cubes import CubeStore
from tests.browser.demo import demo_world
from tests.feeds import START
from tests.unit.serving.conftest import NOW, Served
from tests.unit.stores.published_demo import FORECAST


def test_worlds_and_their_domains_are_listed_with_what_is_forecast(served: Served) -> None:
    found = served.client.get("/worlds").json()["worlds"]
    assert [(w["world"], w["latest_issue_time"]) for w in found] == [("demo", "2014-09-30T17:00:00Z"), ("little", None)]
    demo = served.client.get("/worlds/demo").json()
    assert set(demo["domains"]) == set(demo_world().domains)
    assert demo["domains"]["traffic"]["variables"]["average_speed"] == {"long_name": "Average speed", "units": "km/h", "model": "joint"}
    assert demo["domains"]["traffic"]["lead_s"][:2] == [300, 600]
    assert served.client.get("/worlds/little").json()["domains"]["traffic"]["nodes"] is None


def test_issue_times_come_newest_first_and_bounded(served: Served) -> None:
    found = served.client.get("/worlds/demo/issue-times").json()
    assert found["issue_times"] == ["2014-09-30T17:00:00Z", "2014-09-30T16:00:00Z"]
    assert served.client.get("/worlds/demo/issue-times?limit=1").json()["count"] == 2
    part = served.client.get("/worlds/demo/issue-times", params={"start": "2014-09-30T16:30Z"}).json()
    assert part["issue_times"] == ["2014-09-30T17:00:00Z"]
    assert served.client.get("/worlds/demo/issue-times?limit=0").status_code == 422


def test_nodes_come_with_their_places(served: Served) -> None:
    found = served.client.get("/worlds/demo/domains/traffic/nodes?limit=3&offset=2").json()
    assert found["count"] == 7
    assert [n["node"] for n in found["nodes"]] == list(FORECAST.domains["traffic"].node_ids[2:5])
    assert 56 < found["nodes"][0]["latitude"] < 57
    assert served.client.get("/worlds/demo/domains/market/nodes").json()["nodes"][0]["latitude"] is None


def test_observations_of_a_node_are_those_known_at_as_of(served: Served) -> None:
    path = "/worlds/little/observations/traffic/n1"
    early = "2025-10-24T06:00:00Z"
    found = served.client.get(path, params={"start": "2025-10-24T00:00Z", "as_of": early, "variable": "speed"}).json()
    cube = CubeStore(served.place.settings.store, "little").open(pd.Timestamp(early).to_pydatetime(), "traffic", start=START)
    n = cube.nodes.ids.index("n1")
    expected = [None if np.isnan(x) else pytest.approx(float(x), rel=1e-6) for x in cube.values_TNV[:, n, cube.variables.index("speed")]]
    assert found["as_of"] == early
    assert [row["value"] for row in found["rows"]] == expected
    assert {row["units"] for row in found["rows"]} == {"km/h"}
    csv = pd.read_csv(io.BytesIO(served.client.get(path, params={"format": "csv"}).content))
    assert set(csv["variable"]) == {"speed", "count"}
    future = served.client.get(path, params={"as_of": "2031-01-01T00:00Z"}).json()
    assert future["as_of"] == NOW.strftime("%Y-%m-%dT%H:%M:%SZ")


@pytest.mark.parametrize(
    ("path", "status", "said"),
    [
        ("/worlds/little/observations/traffic/n7", 404, "no such node"),
        ("/worlds/little/observations/roads/n1", 404, "no such domain"),
        ("/worlds/little/observations/traffic/n1?variable=sped", 404, "no such variable"),
        ("/worlds/little/observations/traffic/n1?start=yesterday", 404, "Invalid isoformat"),
        ("/worlds/demo/observations/traffic/n1", 404, "no cube was built yet"),
        ("/worlds/demo/domains/roads/nodes", 404, "no such domain"),
        ("/worlds/demo/scores?issue_time=2014-09-30T17:00:00Z", 404, "not verified"),
        ("/worlds/demo/scorecard", 404, "none"),
    ],
)
def test_what_is_not_there_is_told(served: Served, path: str, status: int, said: str) -> None:
    answer = served.client.get(path)
    assert answer.status_code == status
    assert said in answer.json()["found"]


def test_a_range_too_long_to_read_is_refused_before_it_is_read(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record_routes, "MOST_CELLS", 20)
    answer = served.client.get("/worlds/little/observations/traffic/n1")
    assert answer.status_code == 413
    assert "later start" in answer.json()["mend"]


def test_scores_tell_how_good_the_published_forecasts_were(served: Served) -> None:
    found = served.client.get("/worlds/demo/scores").json()
    assert found["issue_times"] == ["2014-09-30T16:00:00Z"]
    total = {row["model"]: row["mae"] for row in found["rows"] if row["lead"] == 0}
    assert total["published"] < total["ridge"]
    one = served.client.get("/worlds/demo/scores?issue_time=2014-09-30T16:00:00Z").json()
    assert one["rows"] == found["rows"]
    assert served.client.get("/worlds/little/scores").json()["rows"] == []
    csv = pd.read_csv(io.BytesIO(served.client.get("/worlds/demo/scores?format=csv").content))
    assert csv["mae"].tolist() == pytest.approx([row["mae"] for row in found["rows"]])
    parquet = pd.read_parquet(io.BytesIO(served.client.get("/worlds/demo/scores?format=parquet").content))
    assert parquet["model"].tolist() == csv["model"].tolist()


def test_scores_are_told_apart_as_they_are_by_the_command_and_narrowed_by_name(served: Served) -> None:
    def ask(**params: Any) -> list[dict[str, Any]]:
        return list(served.client.get("/worlds/demo/scores", params=params).json()["rows"])

    assert {row["lead"] for row in ask(by="all")} == {0}
    assert 0 not in {row["lead"] for row in ask(by="lead")}
    hours = ask(by="hour", model="published", variable="temperature")
    assert {(row["kind"], row["model"], row["variable"]) for row in hours} == {("hour", "published", "temperature")}
    assert {row["label"] for row in ask(by="hour", label="06-09")} == {"06-09"}
    assert len({row["lead"] for row in hours}) > 1
    warned = ask(by="warning", model="published")
    assert {row["kind"] for row in warned} >= {"", "hour"}
    assert {"brier", "pod", "warning_lead_time", "warned_onsets", "reliability_0_probability"} <= set(warned[0])
    leads = ask(by="warning_lead", model="published")
    assert {row["kind"] for row in leads} == {""}
    assert sum(row["hits"] for row in leads) == sum(row["hits"] for row in warned if row["kind"] == "" and row["lead"] == 0)
    assert {row["label"] for row in ask(by="region")} == {"north", "south"}
    assert ask(by="region", domain="traffic") == []
    (sure,) = ask(by="rival", variable="temperature")
    assert (sure["model"], sure["rival"], sure["days"]) == ("joint", "ridge", 5)
    assert sure["all_low"] <= sure["dm_low"] < sure["value"] < 0
    csv = served.client.get("/worlds/demo/scores?by=warning&format=csv")
    assert pd.read_csv(io.BytesIO(csv.content))["hits"].sum() == sum(row["hits"] for row in ask(by="warning"))
    assert served.client.get("/worlds/demo/scores?by=weekday").status_code == 422


def test_what_is_nested_becomes_columns_of_a_table() -> None:
    records = [{"model": "a", "skill": {"ridge": 0.5}, "pit": [0.25, 0.75]}, {"model": "b", "skill": {}, "pit": []}]
    found = pd.read_csv(io.BytesIO(answers.records_bytes({}, records, "csv")))
    assert found["skill_ridge"].tolist()[0] == 0.5
    assert found["pit_1"].tolist()[0] == 0.75
    assert found["pit_1"].isna().tolist() == [False, True]

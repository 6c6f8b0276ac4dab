"""Warnings over HTTP."""

from __future__ import annotations

import io

import numpy as np
import pandas as pd
import pytest

from tests.unit.serving.conftest import Served
from tests.unit.stores.published_demo import FORECAST

TRAFFIC = FORECAST.domains["traffic"]
LATEST = "/worlds/demo/warnings/latest"


def test_by_default_only_what_reaches_the_level_to_warn_at_is_answered(served: Served) -> None:
    found = served.client.get(LATEST).json()
    slow = [row for row in found["rows"] if row["event"] == "slow"]
    assert len(slow) == int((TRAFFIC.events["slow"] >= 0.5).sum()) > 0
    assert {row["event"] for row in found["rows"]} <= {"slow", "rush", "frost"}
    assert all(row["warned"] for row in found["rows"])
    row = slow[0]
    assert (row["domain"], row["condition"], row["threshold"], row["units"]) == ("traffic", "below", 40.0, "km/h")
    assert found["revision"] == 0


def test_every_probability_of_a_node_and_event_can_be_asked_for_in_each_format(served: Served) -> None:
    asked = {"node": TRAFFIC.node_ids[3], "event": "rush", "least": 0}
    rows = served.client.get(LATEST, params=asked).json()["rows"]
    assert [row["probability"] for row in rows] == pytest.approx(TRAFFIC.events["rush"][:, 3].tolist(), rel=1e-6)
    csv = pd.read_csv(io.BytesIO(served.client.get(LATEST, params={**asked, "format": "csv"}).content))
    parquet = pd.read_parquet(io.BytesIO(served.client.get(LATEST, params={**asked, "format": "parquet"}).content))
    assert np.allclose(csv["probability"], TRAFFIC.events["rush"][:, 3])
    assert list(parquet["unique_id"]) == [f"{TRAFFIC.node_ids[3]}/rush"] * 12


def test_a_least_probability_leaves_out_what_is_below(served: Served) -> None:
    rows = served.client.get(LATEST, params={"least": 0.9, "domain": "traffic"}).json()["rows"]
    assert len(rows) == sum(int((p >= np.float32(0.9)).sum()) for p in TRAFFIC.events.values())


@pytest.mark.parametrize(
    ("query", "status", "found"),
    [
        ({"domain": "parking"}, 404, "no such domain"),
        ({"event": "slo"}, 404, "did you mean 'slow'"),
        ({"node": "nowhere"}, 404, "no such node"),
        ({"least": 2}, 422, "less than or equal to 1"),
    ],
)
def test_what_there_is_not_is_said(served: Served, query: dict, status: int, found: str) -> None:
    answer = served.client.get(LATEST, params=query)
    assert answer.status_code == status
    assert found in answer.text


def test_an_unchanged_answer_costs_no_body_and_a_world_without_forecasts_says_so(served: Served) -> None:
    first = served.client.get(LATEST)
    assert served.client.get(LATEST, headers={"if-none-match": first.headers["etag"]}).status_code == 304
    assert served.client.get("/worlds/little/warnings/latest").status_code == 404

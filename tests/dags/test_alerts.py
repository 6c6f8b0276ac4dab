"""What has failed for good becomes an alert."""

import json
import warnings
from types import SimpleNamespace

import pytest

from tests.dags.stage import ENDED

with warnings.catch_warnings():
    warnings.simplefilter("ignore")

    from dags import _alerts, _house


def test_every_task_of_every_dag_raises_an_alert_when_it_has_failed_for_good():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from dags import cube, forecast, ingest, monitoring, replay, retention, training
    house = _house.house(ENDED, "x")
    assert house["default_args"]["on_failure_callback"] is _alerts.failed
    assert all("house" in vars(file) for file in (cube, forecast, ingest, monitoring, replay, retention, training))


@pytest.mark.parametrize(("code", "raised"), [(65, True), (None, True), (80, False)])
def test_a_failed_task_becomes_an_alert_unless_it_failed_because_of_one(monkeypatch, tmp_path, code, raised):
    monkeypatch.setenv("CUBECAST_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("CUBECAST_ALERT_LOG", str(tmp_path / "alerts.jsonl"))
    ti = SimpleNamespace(dag_id="synthetic__ingest", task_id="roads.land", run_id="manual__1", xcom_pull=lambda task_ids, key: code)
    _alerts.failed({"ti": ti})
    told = [json.loads(line) for line in (tmp_path / "alerts.jsonl").read_text().splitlines()] if raised else []
    assert [line["alert"] for line in told] == (["task_failed///ingest.roads.land"] if raised else [])
    assert (tmp_path / "alerts.jsonl").exists() == raised

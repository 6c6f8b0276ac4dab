"""Gauges: what Prometheus scrapes and OpenTelemetry receives, and that dashboard and alerts name nothing else."""

import json
import re
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from pipeline import step_commands
from pipeline.api import BuildCubeRequest, Receipt, load_world
from pipeline.contracts.alerts import Alert, Finding
from pipeline.contracts.schedules import Schedule
from pipeline.metrics import GAUGES, exposition, push, samples
from pipeline.status import collect

DOCKER = Path(__file__).resolve().parents[2] / "docker"
AS_OF = "2025-11-01T12:00:00Z"


def record(step, **more):
    receipt = Receipt(**{"step": step, "world": "synthetic", "as_of": AS_OF, "outcome": "done", **more})
    return (step, None), {
        "receipt": receipt.model_dump(mode="json"),
        "source": None,
        "recorded_time": "2026-01-01T00:00:00Z",
        "confirmed_time": None,
        "seconds": 2.0,
    }


HOLES = {"open": [{"source": "roads", "kind": "cells"}] * 3, "expired": [], "days_given_up": {}}


@pytest.fixture
def state():
    score = {"domain": "roads", "variable": "count", "mae": 2.0, "coverage_80": 0.8, "coverage_90": None, "leads": 1, "leads_won": 1}
    records = (
        record("observe", counts={"roads.raw": 73, "roads.observations": 70, "roads.duplicates": 1, "roads.rejected": 2}),
        record("train", counts={"windows": 100, "epochs": 8}),
        record("evaluate", details={"headline": [score | {"baselines": {"persistence": 4.0, "ridge": None}}]}),
        record("predict", details={"inputs": {"roads": {"age_seconds": 900, "share_present": 0.5}}}),
    )
    frozen = Finding(rule="frozen_sensor", level="warn", domain="roads", variable="count", subject="n1", number=9, limit=6, text="t")
    alerts = [Alert(finding=replace(frozen, subject=f"n{n}"), since=0, raised=0) for n in range(3)]
    schedule = Schedule(ingest="*/15 * * * *", issue="0 6 * * *", train="0 2 * * *")
    world = load_world("synthetic").model_copy(update={"recorded": None, "schedule": schedule})
    return collect(world, "/store", dict(records), HOLES, alerts)


def test_prometheus_reads_the_values_that_the_state_holds(state):
    families = {f.name: f for f in text_string_to_metric_families(exposition(lambda: [state]).decode())}
    values = {(s.name, s.labels.get("kind") or s.labels.get("step") or ""): s.value for f in families.values() for s in f.samples}
    assert values["cubecast_rows", "rejected"] == 2
    assert values["cubecast_step_duration_seconds", "train"] == 2.0
    assert values["cubecast_training_windows_per_second", ""] == 400
    assert values["cubecast_input_age_seconds", ""] == 900
    assert values["cubecast_skill_ratio", ""] == 0.5
    assert values["cubecast_issue_time_seconds", ""] == 1761998400
    assert values["cubecast_alerts", ""] == 3


def test_a_world_that_runs_when_it_is_asked_is_given_no_time_within_which_it_must_run(state):
    on_demand = collect(load_world("synthetic"), "/store", {}, HOLES)
    assert "cubecast_due_within_seconds" not in {s.name for s in samples(on_demand)}
    within = {dict(s.labels)["cadence"]: s.value for s in samples(state) if s.name == "cubecast_due_within_seconds"}
    assert within == {"ingest": 900 + 7200, "issue": 86400 + 3600 + 7200, "train": 86400 + 6 * 3600 + 7200}


def test_alerts_on_silence_ask_only_worlds_with_a_schedule():
    rules = {rule["alert"]: rule["expr"] for rule in yaml.safe_load((DOCKER / "grafana/alerts.yml").read_text())["groups"][0]["rules"]}
    assert "> on (world) max by (world) (cubecast_due_within_seconds" in rules["NothingRuns"]
    assert "> on (world) max by (world) (cubecast_due_within_seconds" in rules["ForecastLate"]


def test_every_gauge_is_emitted(state):
    assert {s.name for s in samples(state)} == set(GAUGES)


def named_in(path):
    return set(re.findall(r"\bcubecast_[a-z_]+\b", path.read_text())) - {"cubecast_s3"}


@pytest.mark.parametrize("file", ["grafana/dashboards/cubecast.json", "grafana/alerts.yml"])
def test_dashboard_and_alerts_name_gauges_that_are_emitted(file, state):
    assert named_in(DOCKER / file)
    assert named_in(DOCKER / file) <= {s.name for s in samples(state)}


def test_every_gauge_has_a_place_on_the_dashboard():
    assert named_in(DOCKER / "grafana/dashboards/cubecast.json") == set(GAUGES)
    panels = json.loads((DOCKER / "grafana/dashboards/cubecast.json").read_text())["panels"]
    assert len({p["id"] for p in panels}) == len(panels)


HEARD: list[tuple[str, bytes]] = []


class Listener(BaseHTTPRequestHandler):
    def do_POST(self):
        HEARD.append((self.path, self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *words):
        pass


def test_an_opentelemetry_collector_receives_the_same_values(state):
    from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

    HEARD.clear()
    with HTTPServer(("127.0.0.1", 0), Listener) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        push(samples(state), f"http://127.0.0.1:{server.server_port}")
        server.shutdown()
        thread.join()
    path, body = HEARD[0]
    request = ExportMetricsServiceRequest.FromString(body)
    found = {m.name: m.gauge.data_points for r in request.resource_metrics for s in r.scope_metrics for m in s.metrics}
    assert path == "/v1/metrics"
    assert set(found) == set(GAUGES)
    assert [p.as_double for p in found["cubecast_input_present_ratio"]] == [0.5]


@pytest.mark.parametrize("answer", [200, 400])
def test_a_step_tells_the_collector_how_its_world_stands_and_is_done_whatever_that_answers(tmp_path, monkeypatch, answer):
    HEARD.clear()
    refusing = type("Refusing", (Listener,), {"send_response": lambda self, code: BaseHTTPRequestHandler.send_response(self, answer)})
    monkeypatch.setattr(
        step_commands,
        "find_step",
        lambda name: lambda request, settings, progress: Receipt(step=name, world="synthetic", as_of=request.as_of, outcome="done"),
    )
    monkeypatch.setenv("CUBECAST_STORE", str(tmp_path))
    with HTTPServer(("127.0.0.1", 0), refusing) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
        receipt = step_commands.perform(BuildCubeRequest(world="synthetic", as_of="2025-11-01T12:00:00Z"), as_json=True)
        server.shutdown()
        thread.join()
    assert receipt.outcome == "done"
    assert b"cubecast_step" in HEARD[0][1]
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_ENDPOINT")
    HEARD.clear()
    step_commands.perform(BuildCubeRequest(world="synthetic", as_of="2025-11-01T12:00:00Z"), as_json=True)
    assert HEARD == [], "without an address nobody is told"

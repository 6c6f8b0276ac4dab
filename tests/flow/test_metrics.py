"""What dashboard and alert rules ask for is what a real run of the nine steps and of monitoring emits, labels and their values too."""

import io
import json
import re
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml

from pipeline.api import MonitorRequest
from pipeline.contracts.schedules import Schedule
from pipeline.contracts.world_files import load_world
from pipeline.metrics import GAUGES, samples
from pipeline.status import everything_of, state_of
from pipeline.status_view import show
from pipeline.steps.watch import look_for_absence
from tests.flow.chain import run_step, settings_for

GRAFANA = Path(__file__).resolve().parents[2] / "docker" / "grafana"
RULES = [
    (rule["alert"], rule["expr"], " ".join(rule["annotations"].values()))
    for group in yaml.safe_load((GRAFANA / "alerts.yml").read_text())["groups"]
    for rule in group["rules"]
]
PANELS = [
    (panel["title"], target["expr"], target.get("legendFormat", ""))
    for panel in json.loads((GRAFANA / "dashboards" / "cubecast.json").read_text())["panels"]
    for target in panel.get("targets", ())
]
SELECTOR = re.compile(r"(cubecast_[a-z_]+)(?:\{([^}]*)\})?")


@pytest.fixture(scope="module")
def ran(undisturbed, tmp_path_factory):
    """A world with a schedule, and its store after a real run that left alerts which block."""
    folder, file = undisturbed
    own = tmp_path_factory.mktemp("strict")
    strict, store = own / "tiny.toml", str(shutil.copytree(folder / "store", own / "store"))
    strict.write_text(file.read_text() + "\n[monitoring]\nstored_bytes = 1\n")
    world = load_world(str(strict))
    run_step(MonitorRequest(world=str(strict), as_of=world.recorded.as_of), settings_for(store))
    schedule = Schedule(ingest="*/15 * * * *", issue="0 * * * *", train="0 2 * * *")
    scheduled = world.model_copy(update={"schedule": schedule})
    look_for_absence(scheduled, settings_for(store), datetime.now(UTC) + timedelta(days=9))
    return scheduled, store


@pytest.fixture(scope="module")
def emitted(ran):
    """Per gauge the labels of each sample after that run."""
    found = {}
    for sample in samples(state_of(*ran)):
        found.setdefault(sample.name, []).append(dict(sample.labels))
    return found


def test_a_real_run_emits_every_gauge(emitted):
    assert set(emitted) == set(GAUGES)


@pytest.mark.parametrize(("name", "expression", "text"), [*RULES, *PANELS], ids=lambda value: str(value)[:40])
def test_each_expression_names_labels_and_values_that_are_there(emitted, name, expression, text):
    found = SELECTOR.findall(expression)
    assert found, name
    grouped = {label.strip() for group in re.findall(r"\b(?:by|on) \(([^)]*)\)", expression) for label in group.split(",")}
    for gauge, chosen in found:
        for label, relation, value in re.findall(r'(\w+)(=~?)"([^"]*)"', chosen):
            if "$" not in value:
                held = [labels[label] for labels in emitted[gauge]]
                assert any(re.fullmatch(value, each) if relation == "=~" else value == each for each in held), (gauge, label, value, held)
    known = {label for gauge, _ in found for labels in emitted[gauge] for label in labels}
    named = grouped | set(re.findall(r"\$labels\.(\w+)", text)) | set(re.findall(r"\{\{ ?([a-z_]+) ?\}\}", text))
    assert named <= known, name


def test_variables_of_the_dashboard_ask_for_labels_that_are_there(emitted):
    dashboard = json.loads((GRAFANA / "dashboards" / "cubecast.json").read_text())
    for variable in dashboard["templating"]["list"]:
        for gauge, label in re.findall(r"label_values\((\w+), ?(\w+)\)", json.dumps(variable)):
            assert label in emitted[gauge][0], variable["name"]


def test_status_shows_in_a_terminal_all_that_the_cockpit_does(ran):
    state, stream = everything_of(*ran, days=30), io.StringIO()
    show(json.loads(json.dumps(state)), stream)
    titles = ("newest issue time", "a column is", "freshness", "nothing_runs", "champion", "last verdict", "candidate", "held-out scores")
    for words in (*titles, "against what came", "cost", "storage", "warnings that do not block", "zarr"):
        assert words in stream.getvalue(), words

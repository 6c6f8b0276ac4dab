"""The topology of docker/compose.yaml by processes: PostgreSQL, Airflow, Dask and S3 on loopback, one forecast through all of it."""

import base64
import contextlib
import json
import os
import re
import shutil
import stat
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest

from pipeline.api import STEPS, load_world
from pipeline.errors import ConfigError
from pipeline.local_airflow.postgres import find_programs
from pipeline.process_tree import descendants
from pipeline.settings import project_folder
from tests.torture.once import once_each
from tests.torture.strikes import struck_once
from tests.world import tiny_world

pytestmark = [pytest.mark.airflow, pytest.mark.timeout(600)]
ALERTS = {"CUBECAST_ALERT_URL": "http://127.0.0.1:9/hooks/change-me", "CUBECAST_ALERT_HEADER": "Authorization: change-me"}
"""Where alerts are posted, and the secret that goes with them; nobody listens there."""
OURS = {"CUBECAST_TOKENS": "canary-of-the-service-71", "AWS_SECRET_ACCESS_KEY": "canary-of-the-store-71", "CANARY": "canary-of-nobody-71"}
LISTENER = {"key": "canary-of-the-listener-71", "header": "canary-of-its-header-71"}
"""The secrets of whoever listens to OpenLineage events: an API key and a header."""


class Listener(BaseHTTPRequestHandler):
    """Hears OpenLineage events, and refuses every fourth."""

    heard: list[tuple[str, str | None, str | None]]

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.heard.append((self.path, self.headers["Authorization"], self.headers["X-Key"]))
        self.send_response(403 if len(self.heard) % 4 == 0 else 200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *words):
        """Say nothing."""


@pytest.fixture(scope="module")
def listener():
    """Who listens to OpenLineage events: where, and what it heard."""
    heard = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Hearing", (Listener,), {"heard": heard}))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    told = {
        "type": "http",
        "url": f"http://127.0.0.1:{server.server_port}",
        "endpoint": "events",
        "auth": {"type": "api_key", "apiKey": LISTENER["key"]},
        "custom_headers": {"X-Key": LISTENER["header"]},
    }
    yield SimpleNamespace(transport=json.dumps(told), heard=heard)
    server.shutdown()
    server.server_close()


def living(pids):
    """Those of these processes that have not ended, those left out that only wait to be buried."""
    found = []
    for pid in pids:
        with contextlib.suppress(OSError):
            if ") Z " not in Path(f"/proc/{pid}/stat").read_text():
                found.append(pid)
    return found


def listening(pids):
    """The addresses at which these processes listen."""
    rows = subprocess.run(["ss", "-ltnpH"], capture_output=True, text=True, check=True).stdout.splitlines()
    return {row.split()[3] for row in rows if any(f"pid={pid}," in row for pid in pids)}


STRUCK = ("observe", "build-cube")
"""Steps that are killed once, as soon as they are seen."""


@pytest.fixture(scope="module")
def rehearsal(tmp_path_factory, listener):
    """What a rehearsal of the tiny world said and left behind."""
    try:
        find_programs()
    except ConfigError as error:
        pytest.skip(error.found)
    project, folder = tmp_path_factory.mktemp("project"), tmp_path_factory.mktemp("rehearsal")
    for name in ("pipeline", "models", "dags", "plugins", "docker"):
        shutil.copytree(project_folder() / name, project / name, ignore=shutil.ignore_patterns("__pycache__"))
    (project / "worlds").mkdir()
    world = tiny_world(project / "worlds")
    world.write_text(world.read_text() + "\n[monitoring]\nstored_bytes = 1\n")
    example = project / "docker" / ".env.example"
    example.write_text(
        re.sub("(?m)^(CUBECAST_ALERT_URL|CUBECAST_ALERT_HEADER)=$", lambda found: f"{found[0]}{ALERTS[found[1]]}", example.read_text())
    )
    words = [sys.executable, "-m", "pipeline", "airflow", "rehearse", "--world", "tiny", "--folder", str(folder)]
    environment = os.environ | OURS | {"AIRFLOW__OPENLINEAGE__TRANSPORT": listener.transport}
    process = subprocess.Popen(words, cwd=project, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        said, everyone, heard = [], [], set()
        with struck_once(process, STRUCK) as struck:
            for line in process.stdout:
                said.append(line)
                if "Airflow is up" in line:
                    everyone = descendants(process.pid)
                    heard = listening(everyone) if shutil.which("ss") else set()
            process.wait(timeout=60)
    finally:
        process.kill()
        process.communicate()
    return SimpleNamespace(
        folder=folder, said="".join(said), code=process.returncode, everyone=everyone, heard=heard, struck=struck, world=world
    )


def test_a_forecast_goes_through_every_service_and_every_process_ends(rehearsal):
    assert rehearsal.code == 0, rehearsal.said
    assert "forecasts answers 401" in rehearsal.said
    assert "forecasts answers 200 with a token" in rehearsal.said
    assert "healthy, as compose.yaml asks: api-server, dask-scheduler, forecasts, metrics, watch" in rehearsal.said
    assert "Receive client connection" in (rehearsal.folder / "dask-scheduler.log").read_text(), "the cube was built on the cluster"
    assert len(list((rehearsal.folder / "store" / "forecasts" / "tiny" / "published" / "parquet").rglob("*.parquet"))) == 3
    assert len(rehearsal.everyone) > 8
    assert living(rehearsal.everyone) == []


def test_steps_that_were_killed_are_done_without_a_hand_and_each_dataset_has_one_commit_of_each_interval(rehearsal):
    world = load_world(str(rehearsal.world))
    assert set(rehearsal.struck) == set(STRUCK)
    source = rehearsal.struck["observe"][rehearsal.struck["observe"].index("--source") + 1]
    for task in (f"{source}.observe", "build_cube"):
        [again] = (rehearsal.folder / "airflow" / "logs").rglob(f"task_id={task}/attempt=2.log")
        assert "ended with" not in again.read_text(), "it ended well"
    assert list(once_each(str(rehearsal.folder / "store"), world, world.recorded.as_of, world.recorded.end)) == []


def test_retention_runs_as_a_dag_of_its_own_and_takes_nothing_of_what_was_just_made(rehearsal):
    assert "retention  retain" in rehearsal.said
    [receipt] = (rehearsal.folder / "store" / "receipts" / "tiny").rglob("retain.json")
    said = json.loads(receipt.read_text())["receipt"]
    assert (said["outcome"], said["counts"]["snapshots"]) == ("unchanged", 0)
    assert said["counts"]["pinned"] > 0


def test_everything_listens_on_loopback_only(rehearsal):
    assert all(address.startswith(("127.0.0.1:", "[::1]:")) for address in rehearsal.heard), rehearsal.heard


def test_openlineage_hears_of_each_step_with_its_snapshot_and_its_rows(rehearsal):
    events = [json.loads(line) for line in (rehearsal.folder / "lineage.jsonl").read_text().splitlines()]
    ended = {e["job"]["name"].rpartition(".")[2]: e for e in events if e["eventType"] == "COMPLETE" and e["outputs"]}
    assert {kind.step for kind in STEPS} <= set(ended)
    for kind in STEPS:
        output = next(d for d in ended[kind.step]["outputs"] if d["namespace"] == "cubecast://tiny")
        assert output["outputFacets"]["outputStatistics"]["rowCount"] > 0, kind.step
    cubes = {
        d["facets"]["version"]["datasetVersion"] for step in ("build_cube", "train", "predict") for d in datasets(ended[step], "cubes")
    }
    assert len(cubes) == 1, "all of one snapshot"


def test_whoever_listens_hears_of_the_steps_with_its_key(rehearsal, listener):
    assert len(listener.heard) > 2 * len(STEPS)
    assert set(listener.heard) == {("/events", f"Bearer {LISTENER['key']}", LISTENER["header"])}


def datasets(event, name):
    return [d for d in event["inputs"] + event["outputs"] if d["name"] == name]


def test_secrets_lie_in_files_of_their_owner_and_nowhere_else(rehearsal):
    kept = {path: path.read_text() for path in (rehearsal.folder / ".env", rehearsal.folder / "airflow" / "passwords.json")}
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in kept)
    assert stat.S_IMODE(rehearsal.folder.stat().st_mode) == 0o700
    generated = re.findall(r"^\w+=(?:.*(?:%20|/| ))?([\w-]{32,44}=?)$", (rehearsal.folder / ".env").read_text(), re.MULTILINE)
    words = {
        *generated,
        *json.loads((rehearsal.folder / "airflow" / "passwords.json").read_text()).values(),
        *OURS.values(),
        *LISTENER.values(),
    }
    assert len(words) >= 7 + 2 + 1 + 1 + 3 + 2, "a canary in every slot"
    forms = {form for word in words for form in (word.encode(), base64.b64encode(word.encode()).rstrip(b"="))}
    files = [path for path in rehearsal.folder.rglob("*") if path.is_file() and path not in kept]
    names = {path.name for path in files}
    assert {"airflow.sql", "lineage.jsonl", "scheduler.log", "postgres.log"} <= names
    assert any(path.suffix == ".log" and "attempt" in path.name for path in files), "the logs of tasks are among them"
    assert any(b"webhook:" in path.read_bytes() for path in files if "attempt" in path.name), "an alert was to be posted, and was not"
    assert [(path, form) for path in files for content in [path.read_bytes()] for form in forms if form in content] == []

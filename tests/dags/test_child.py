"""A step as a child process: no orphans, limits, no secrets, readable logs."""

import json
import sys
import time
import warnings
from pathlib import Path

import pytest

from pipeline.api import BuildCubeRequest, LandRequest, MonitorRequest
from tests.dags.stage import ENDED, LIVE, RECEIPT, T, context, silently

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from airflow.sdk.exceptions import AirflowException

    from dags import _child, _steps


SECRETS = (
    "AIRFLOW__API_AUTH__JWT_SECRET",
    "AIRFLOW__CORE__FERNET_KEY",
    "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN",
    "AIRFLOW__OPENLINEAGE__TRANSPORT",
    "CUBECAST_TOKENS",
    "POSTGRES_PASSWORD",
    "SOMETHING_ELSE",
)


def test_lines_of_progress_and_errors_are_readable_in_the_log():
    progress = '{"event": "advance", "stage": "epochs", "done": 3, "total": 12, "unit": "epoch", "note": "loss 0.1", "seconds": 4.2}'
    assert _child.log_line(progress) == "advance epochs 3/12 epoch loss 0.1 (4.2 s)"
    error = '{"event": "error", "error": "ConfigError", "asked": "a", "found": "b", "mend": "c", "exit_code": 78}'
    assert _child.log_line(error) == "ConfigError: a: b. Mend: c"
    assert _child.log_line("Traceback (most recent call last):\n") == "Traceback (most recent call last):"
    assert _child.log_line('{"no": "event"}') == '{"no": "event"}'
    assert _child.log_line("71\n") == "71"


def test_a_step_that_is_killed_takes_what_it_started_with_it(monkeypatch, tmp_path):
    note = tmp_path / "pid"
    child = f"""
import pathlib, subprocess, sys
pathlib.Path({str(note)!r}).write_text(str(subprocess.Popen(["sleep", "60"]).pid))
sys.exit(75)
"""
    monkeypatch.setattr(_child, "command", lambda request: [sys.executable, "-c", child])
    monkeypatch.setattr(_child, "die_with_parent", lambda parent: None)
    task = silently(_steps.Step, request=BuildCubeRequest, world=ENDED, clock="now")
    with pytest.raises(AirflowException):
        task.execute(context([T]))
    left = Path(f"/proc/{note.read_text()}/stat")
    deadline = time.monotonic() + 10
    while left.exists() and ") Z " not in left.read_text():
        assert time.monotonic() < deadline, "it lives on"
        time.sleep(0.01)


def test_a_step_that_takes_more_memory_than_its_world_allows_is_ended(monkeypatch):
    child = "import time; time.sleep(2); b = bytearray(400 * 2**20)"
    small = LIVE.model_copy(update={"schedule": LIVE.schedule.model_copy(update={"memory": 300 * 2**20})})
    monkeypatch.setattr(_child, "command", lambda request: [sys.executable, "-c", child])
    monkeypatch.setattr(_child, "die_with_parent", lambda parent: None)
    for world, ends in ((LIVE, 0), (small, 1)):
        task = silently(_steps.Step, request=BuildCubeRequest, world=world, clock="now")
        assert task.run_child(task.ask(context([T]), T), None)[0] == ends


def test_a_step_gets_what_reaches_its_store_and_no_other_secret(monkeypatch, tmp_path):
    for name in (*SECRETS, "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, f"canary of {name}")
    child = (
        f"import json, os, pathlib; pathlib.Path({str(tmp_path / 'seen')!r}).write_text(json.dumps(dict(os.environ))); print({RECEIPT!r})"
    )
    monkeypatch.setattr(_child, "command", lambda request: [sys.executable, "-c", child])
    monkeypatch.setattr(_child, "die_with_parent", lambda parent: None)
    task = silently(_steps.Step, request=BuildCubeRequest, world=ENDED, clock="now")
    task.execute(context([T]))
    seen = json.loads((tmp_path / "seen").read_text())
    assert [value for value in seen.values() if "canary" in value] == ["canary of AWS_SECRET_ACCESS_KEY"]


def test_a_step_knows_which_attempt_of_which_run_it_is(monkeypatch):
    tell = RECEIPT.replace('"s1"', "\"' + os.environ['CUBECAST_ATTEMPT'] + '\"")
    monkeypatch.setattr(_child, "command", lambda request: [sys.executable, "-c", f"import os; print('{tell}')"])
    monkeypatch.setattr(_child, "die_with_parent", lambda parent: None)
    task = silently(_steps.Step, request=BuildCubeRequest, world=ENDED, clock="now")
    assert task.execute(context([T]))["ids"] == {"snapshot": "manual__71:2"}


def test_only_the_child_that_tells_people_gets_where_alerts_are_posted(monkeypatch):
    monkeypatch.setenv("CUBECAST_ALERT_URL", "https://example.org/s3cret")
    says = "import os; print(os.environ.get('CUBECAST_ALERT_URL', 'nothing'))"
    told = []
    monkeypatch.setattr(_child, "command", lambda request: [sys.executable, "-c", says])
    monkeypatch.setattr(_child, "die_with_parent", lambda parent: None)
    for request in (MonitorRequest, LandRequest):
        fields = {"received_time": T["now"]} if request is LandRequest else {}
        told.append(_child.Child(lambda line: None).run(request(world="synthetic", as_of=T["now"], **fields), None)[1])
    assert told == ["https://example.org/s3cret", "nothing"]

"""A step as a child process: no orphans, limits, no secrets, readable logs."""

import json
import re
import sys
import time
import warnings
from datetime import timedelta
from pathlib import Path

import pytest

from pipeline.api import BuildCubeRequest, LandRequest, MonitorRequest, machine_bytes
from tests.dags.stage import ENDED, LIVE, RECEIPT, T, context, silently

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from airflow.sdk.exceptions import AirflowException, AirflowFailException

    from dags import _child, _house, _retries, _steps


SECRETS = (
    "AIRFLOW__API_AUTH__JWT_SECRET",
    "AIRFLOW__CORE__FERNET_KEY",
    "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN",
    "AIRFLOW__OPENLINEAGE__TRANSPORT",
    "CUBECAST_AIRFLOW_LOGIN",
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


GROWS = """
import subprocess, sys
if sys.argv[1] == "grow":
    held = bytearray(b"x") * (400 * 2**20)
    sys.stdin.read()
else:
    child = subprocess.run([sys.executable, "-c", open(sys.argv[1]).read(), "grow"], stdin=subprocess.PIPE)
"""


def run_bounded(monkeypatch, words, **limits):
    """What a step's task says of a child with these limits, its log and the error that it raises."""
    monkeypatch.setattr(_child, "command", lambda request: [sys.executable, *words])
    monkeypatch.setattr(_child, "die_with_parent", lambda parent: None)
    world = LIVE.model_copy(update={"schedule": LIVE.schedule.model_copy(update=limits)})
    task, logged = silently(_steps.Step, request=BuildCubeRequest, world=world, clock="now"), []
    monkeypatch.setattr(task.log, "info", lambda text, *words: logged.append(text % words))
    where = context([T])
    with pytest.raises(AirflowException) as caught:
        task.execute(where)
    return caught.value, logged, where["ti"].pushed["exit_code"]


def test_a_step_that_holds_more_memory_than_its_limit_is_ended_with_what_it_started_and_not_tried_again(monkeypatch, tmp_path):
    (tmp_path / "grows.py").write_text(GROWS)
    words = [str(tmp_path / "grows.py"), str(tmp_path / "grows.py")]
    error, logged, code = run_bounded(monkeypatch, words, memory=200 * 2**20)
    assert (type(error), code) == (AirflowFailException, _child.OUT_OF_MEMORY)
    [why] = [line for line in logged if line.startswith("memory of build_cube synthetic: ")]
    assert int(re.search(r": ([\d,]+) MiB in use", why)[1]) > 200, "its child's memory is counted"
    assert "its limit is 200 MiB" in why
    assert "Mend: raise memory in the world's [schedule] or CUBECAST_LAUNCH_MEMORY" in why


def test_a_step_that_is_not_over_in_time_is_ended_and_tried_again_with_patience(monkeypatch):
    error, logged, code = run_bounded(monkeypatch, ["-c", "import time; time.sleep(300)"], limit=timedelta(seconds=0.5))
    assert code == _child.OUT_OF_TIME == 124
    assert not isinstance(error, AirflowFailException)
    assert _retries.Patience().evaluate(error, 1, 5).retry_delay == timedelta(seconds=15)
    [why] = [line for line in logged if line.startswith("time of build_cube synthetic: not over after its limit, 0:00:00.5")]
    assert "Mend: raise limit in the world's [schedule] or CUBECAST_LAUNCH_LIMIT" in why


def test_a_step_has_limits_although_nobody_set_any_and_plans_within_those_that_somebody_set(monkeypatch):
    says = [sys.executable, "-c", "import os; print(os.environ.get('CUBECAST_MEMORY'))"]
    monkeypatch.setattr(_child, "command", lambda request: says)
    monkeypatch.setattr(_child, "die_with_parent", lambda parent: None)
    monkeypatch.delenv("CUBECAST_MEMORY", raising=False)
    request, silent = BuildCubeRequest(world="synthetic", as_of=T["now"]), lambda line: None
    free = _child.Child(silent, _house.launch_of(ENDED))
    assert (free._memory, free._launch.limit) == (machine_bytes() * 3 // 4, timedelta(hours=6))
    assert free.run(request, None)[1] == "None", "what it may use is what it would have used by hand"
    monkeypatch.setenv("CUBECAST_LAUNCH_MEMORY", "900 MiB")
    assert _child.Child(silent, _house.launch_of(ENDED)).run(request, None)[1] == str(600 * 2**20)
    monkeypatch.setenv("CUBECAST_MEMORY", "100MiB")
    assert _child.Child(silent, _house.launch_of(ENDED)).run(request, None)[1] == str(100 * 2**20)


def test_of_the_limits_of_a_machine_and_of_a_world_the_lower_counts(monkeypatch):
    monkeypatch.setenv("CUBECAST_LAUNCH_MEMORY", "3GiB")
    monkeypatch.setenv("CUBECAST_LAUNCH_LIMIT", "20min")
    schedule = LIVE.schedule.model_copy(update={"memory": 2**30, "limit": timedelta(hours=1)})
    found = _house.launch_of(LIVE.model_copy(update={"schedule": schedule}))
    assert (found.memory, found.limit) == (2**30, timedelta(minutes=20))
    assert _house.launch_of(ENDED).memory == 3 * 2**30
    assert _house.house(ENDED, "cube")["default_args"]["execution_timeout"] == timedelta(minutes=20) + _house.AROUND


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

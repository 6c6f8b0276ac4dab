"""The command line: options, receipts, progress, errors and exit codes."""

import errno
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from pipeline import __main__ as cli
from pipeline import api, clock, step_commands
from pipeline.contracts.times import parse_instant
from pipeline.errors import ConflictError, ContractError, LookaheadError, NotYetAvailable, StoreError
from pipeline.settings import project_folder

NOW = parse_instant("2026-03-01T10:00Z")


@pytest.fixture
def steps(monkeypatch, tmp_path):
    """Fake steps: each records its request and gives a receipt, or what `steps.does` says."""
    fake = SimpleNamespace(asked=[], does=None)

    def run(request, settings, progress):
        fake.asked.append(request)
        with progress.stage("fake", 2, "row") as stage:
            stage.advance(2, "fine")
        if fake.does:
            fake.does()
        return api.Receipt(step=request.step, world="synthetic", as_of=request.as_of, outcome="done", counts={"rows": 71})

    monkeypatch.setenv("CUBECAST_STORE", str(tmp_path / "store"))
    monkeypatch.setattr(step_commands, "find_step", lambda name: run)
    monkeypatch.setattr(clock, "now", lambda: NOW)
    return fake


def run(capsys, *words):
    code = cli.main(list(words))
    out, err = capsys.readouterr()
    return code, out, err


def test_a_step_prints_its_receipt_as_one_json_line_and_its_progress_as_json_lines(steps, capsys):
    code, out, err = run(capsys, "observe", "-w", "synthetic", "--json")
    assert code == 0
    assert api.Receipt.model_validate_json(out).counts == {"rows": 71}
    assert out.count("\n") == 1
    assert [json.loads(line)["event"] for line in err.splitlines()] == ["begin", "end"]


def test_a_step_says_for_people_what_it_did(steps, capsys):
    code, out, err = run(capsys, "observe", "-w", "synthetic")
    assert code == 0
    assert out.startswith("observe synthetic: done, 71 rows")
    assert "fake 2/2 row, fine" in err


def test_the_clock_of_a_recorded_world_stops_where_its_feeds_ended(steps, capsys):
    world = api.load_world("synthetic")
    run(capsys, "land", "-w", "synthetic")
    run(capsys, "predict", "-w", "synthetic")
    landed, predicted = steps.asked
    assert landed.as_of == landed.received_time == world.recorded.end < NOW
    assert predicted.as_of == world.recorded.as_of


def test_run_does_all_nine_steps_and_shows_the_state(steps, capsys):
    code, out, _ = run(capsys, "run", "-w", "synthetic", "--as-of", "2025-11-01T06:00Z")
    assert code == 0
    assert [request.step for request in steps.asked] == [kind.step for kind in api.STEPS]
    assert "2025-11-01T06:00:00Z" in out


def test_values_of_the_recipe_are_read_as_json_or_as_text(steps, capsys):
    run(capsys, "train", "-w", "synthetic", "--set", "epochs=3", "--set", "device=cpu", "--set", "fuse=false", "--seed", "7")
    assert steps.asked[0].options == {"epochs": 3, "device": "cpu", "fuse": False}
    assert steps.asked[0].seed == 7


def fault(kind):
    def raises():
        raise kind(asked="a thing", found="another", mend="do so")

    return raises


@pytest.mark.parametrize(
    ("kind", "code"), [(ContractError, 65), (LookaheadError, 65), (StoreError, 74), (NotYetAvailable, 75), (ConflictError, 75)]
)
def test_an_error_says_what_was_asked_found_and_the_mend_and_its_kind_is_the_exit_code(steps, capsys, kind, code):
    steps.does = fault(kind)
    found, out, err = run(capsys, "observe", "-w", "synthetic")
    assert (found, out) == (code, "")
    assert [word in err for word in (kind.__name__, "a thing", "another", "do so")] == [True] * 4
    found, out, err = run(capsys, "observe", "-w", "synthetic", "--json")
    said = json.loads(err.splitlines()[-1])
    assert (found, out, said["exit_code"], said["mend"]) == (code, "", code, "do so")


def test_a_full_disk_is_an_error_of_the_store(steps, capsys):
    def full():
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "cube.zarr")

    steps.does = full
    code, _, err = run(capsys, "observe", "-w", "synthetic")
    assert code == 74
    assert "No space left" in err


def test_what_no_one_planned_for_shows_its_trace_and_exits_with_70(steps, capsys):
    steps.does = lambda: {}["gone"]
    code, _, err = run(capsys, "observe", "-w", "synthetic")
    assert code == 70
    assert "KeyError: 'gone'" in err


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["lnd"], "Did you mean 'land'"),
        (["land"], "--world"),
        (["land", "-w", "synthetic", "--sorce", "roads"], "--sorce"),
        (["land", "-w", "sinthetic"], "did you mean 'synthetic'"),
        (["land", "-w", "synthetic", "--as-of", "yesterday"], "Invalid isoformat"),
        (["land", "-w", "synthetic", "--as-of", "2025-11-01T12:00"], "no UTC offset"),
        (["train", "-w", "synthetic", "--set", "epochs"], "no key=value"),
        (["train", "-w", "synthetic", "--seed", "x"], "--seed"),
    ],
)
def test_a_wrong_option_is_a_config_error_that_names_it(steps, capsys, words, found):
    code, out, err = run(capsys, *words)
    assert (code, out, steps.asked) == (78, "", [])
    assert found in " ".join(err.split())


def test_no_words_at_all_show_the_help(capsys):
    code, out, _ = run(capsys)
    assert code == 0
    assert "The nine steps" in out


@pytest.mark.parametrize(
    "words",
    [[kind.step.replace("_", "-")] for kind in api.STEPS]
    + [["run"], ["status"], ["worlds", "list"], ["worlds", "check"], ["models", "list"], ["airflow", "forecast"], ["airflow", "ui"]]
    + [["cube", word] for word in ("info", "verify", "history", "diff", "export")],
)
def test_the_help_of_every_command_has_an_example(capsys, words):
    code, out, _ = run(capsys, *words, "--help")
    assert code == 0
    assert f"Example: cubecast {' '.join(words)}" in " ".join(out.split())


def test_worlds_are_listed_and_checked(capsys, tmp_path):
    assert "synthetic" in run(capsys, "worlds", "list")[1]
    assert run(capsys, "worlds", "check", "synthetic")[0] == 0
    wrong = tmp_path / "mine.toml"
    wrong.write_text((project_folder() / "worlds" / "synthetic.toml").read_text().replace("timezone", "timezon", 1))
    code, _, err = run(capsys, "worlds", "check", str(wrong))
    assert code == 78
    assert "did you mean 'timezone'" in err
    text = (project_folder() / "worlds" / "synthetic.toml").read_text().replace('"synthetic"', '"mine"', 1)
    wrong.write_text('holidays = "GB-ENX"\n' + text)
    code, _, err = run(capsys, "worlds", "check", str(wrong))
    assert code == 78
    assert "holidays = 'GB-ENX'" in err
    assert "no such part of GB" in err
    assert "one of GB, GB-ENG" in err


def test_status_of_a_world_that_never_ran_says_what_to_do(steps, capsys):
    code, out, _ = run(capsys, "status", "-w", "synthetic")
    assert code == 0
    assert "cubecast run --world synthetic" in out


def test_status_says_why_an_airflow_that_it_was_told_to_ask_does_not_tell_and_shows_the_rest(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("CUBECAST_STORE", str(tmp_path))
    monkeypatch.setenv("CUBECAST_AIRFLOW_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("CUBECAST_AIRFLOW_LOGIN", "ada:canary-71")
    code, out, err = run(capsys, "status", "-w", "synthetic")
    assert code == 0
    assert "synthetic" in out
    assert "tasks of synthetic at http://127.0.0.1:9: no answer" in err
    assert "canary" not in out + err


def test_status_for_programs_tells_steps_ids_and_counts(steps, capsys):
    run(capsys, "run", "-w", "synthetic")
    code, out, _ = run(capsys, "status", "-w", "synthetic", "--json")
    state = json.loads(out)
    assert code == 0
    assert [step["step"] for step in state["steps"]] == [kind.step for kind in api.STEPS]
    assert state["latest_issue_time"] == "2025-11-01T12:00:00Z"


SLOW = """
import sys, time
from pipeline import __main__ as cli, step_commands
def run(request, settings, progress):
    print("begun", flush=True)
    time.sleep(60)
step_commands.find_step = lambda name: run
sys.exit(cli.main(sys.argv[1:]))
"""


def slow_step(*words, **more):
    process = subprocess.Popen(
        [sys.executable, "-c", SLOW, "observe", "-w", "synthetic", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=project_folder(),
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        **more,
    )
    assert process.stdout.readline() == "begun\n"
    return process


def test_ctrl_c_ends_a_step_with_130_and_says_that_the_same_command_goes_on():
    process = slow_step()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "run the same command to go on" in err
    assert "Traceback" not in err


STRUCK = """
import os, runpy, signal, sys
class Strike:
    def find_spec(self, name, path=None, target=None):
        if name == moment:
            sys.meta_path.remove(self)
            os.kill(os.getpid(), signal.SIGINT)
moment = sys.argv.pop(1)
sys.meta_path.insert(0, Strike())
if moment == "exit":
    import threading
    threading._register_atexit(os.kill, os.getpid(), signal.SIGINT)
runpy.run_module("pipeline", run_name="__main__", alter_sys=True)
"""


def struck(moment, *words):
    """The command line in a process of its own, that Ctrl-C meets where it seeks a module, or when its command is over."""
    return subprocess.run(
        [sys.executable, "-c", STRUCK, moment, *words],
        capture_output=True,
        text=True,
        cwd=project_folder(),
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


@pytest.mark.parametrize(
    "moment", ["pipeline.command_line", "typer.main", "pydantic.types", "pipeline.store_commands", "pipeline.steps.checks"]
)
def test_ctrl_c_while_a_command_is_imported_ends_it_with_130_and_one_line(moment):
    done = struck(moment, "worlds", "check", "synthetic")
    assert (done.returncode, done.stdout) == (130, "")
    assert done.stderr == "interrupted: the state is whole; run the same command to go on\n"


def test_ctrl_c_after_a_command_is_over_changes_nothing():
    done = struck("exit", "worlds", "list")
    assert (done.returncode, done.stderr) == (0, "")
    assert "synthetic" in done.stdout


def test_ctrl_c_that_an_import_made_another_error_of_is_still_ctrl_c(monkeypatch, capsys):
    def interrupted(name):
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt as error:
            raise RuntimeError("while a class was made") from error

    monkeypatch.setattr(step_commands, "find_step", interrupted)
    code, _, err = run(capsys, "observe", "-w", "synthetic")
    assert (code, err) == (130, "interrupted: the state is whole; run the same command to go on\n")


def test_sigterm_ends_a_step_with_143():
    process = slow_step()
    process.terminate()
    process.communicate(timeout=60)
    assert process.returncode == 143


def test_a_step_that_is_told_to_dies_with_its_parent_however_that_ends():
    parent = textwrap.dedent(f"""
        import os, subprocess, sys, time
        words = [sys.executable, "-c", {SLOW!r}, "observe", "-w", "synthetic", "--die-with-parent", str(os.getpid())]
        child = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
        child.stdout.readline()
        print(child.pid, flush=True)
        time.sleep(60)
    """)
    process = subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE, text=True, cwd=project_folder())
    child = int(process.stdout.readline())
    process.kill()
    process.communicate()
    for _ in range(100):
        if not alive(child):
            return
        time.sleep(0.05)
    os.kill(child, signal.SIGKILL)
    raise AssertionError("the step lived on")


def alive(pid):
    file = Path(f"/proc/{pid}/stat")
    return file.exists() and ") Z " not in file.read_text()

"""Processes that end together."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline.process_tree import descendants
from pipeline.settings import project_folder

STUBBORN = """
import os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if len(sys.argv) > 1:
    words = [sys.executable, __file__, *sys.argv[2:]]
    subprocess.Popen(words, start_new_session=True)
print("up", flush=True)
time.sleep(120)
"""


@pytest.fixture
def keeper(tmp_path):
    """A keeper with a component that ignores SIGTERM and has a child and a grandchild in sessions of their own."""
    script = tmp_path / "stubborn.py"
    script.write_text(STUBBORN)
    process = subprocess.Popen(
        [sys.executable, "-m", "pipeline.process_tree"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=project_folder()
    )
    process.log = tmp_path / "log"
    order = {
        "name": "stubborn",
        "argv": [sys.executable, str(script), "one", "two"],
        "log": str(process.log),
        "env": {"PATH": os.environ["PATH"]},
    }
    process.stdin.write(json.dumps(order).encode() + b"\n")
    process.stdin.flush()
    wait_for(lambda: len(descendants(process.pid)) == 3 and process.log.read_text().count("up") == 3)
    yield process
    process.kill()
    process.wait()
    process.stdin.close()
    process.stdout.close()


def wait_for(condition, seconds=10):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return
        time.sleep(0.02)
    raise AssertionError("it never came true")


def living(pids):
    return [pid for pid in pids if (file := Path(f"/proc/{pid}/stat")).exists() and ") Z " not in file.read_text()]


def test_all_below_the_keeper_end_when_whoever_holds_it_is_gone(keeper):
    below = descendants(keeper.pid)
    keeper.stdin.close()
    keeper.wait(timeout=60)
    assert living(below) == []


def test_all_below_the_keeper_end_when_it_is_asked_to_end(keeper):
    below = descendants(keeper.pid)
    keeper.terminate()
    keeper.wait(timeout=60)
    assert living(below) == []


def test_grandchildren_whose_parent_was_killed_are_found_and_ended(keeper):
    below = descendants(keeper.pid)
    os.kill(below[0], signal.SIGKILL)
    assert json.loads(keeper.stdout.readline()) == {"ended": "stubborn", "code": -signal.SIGKILL}
    keeper.stdin.close()
    keeper.wait(timeout=60)
    assert living(below) == []


def test_a_component_dies_at_once_with_a_keeper_that_is_killed(keeper):
    component, *others = descendants(keeper.pid)
    keeper.kill()
    keeper.wait(timeout=60)
    wait_for(lambda: living([component]) == [])
    for pid in others:
        os.kill(pid, signal.SIGKILL)

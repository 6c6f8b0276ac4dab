"""kill -9 between any two writes of each step; the same command again gives the state of an undisturbed run."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.world import tiny_world

ROOT = Path(__file__).resolve().parents[2]
POINTS_PER_STEP = int(os.environ.get("CUBECAST_CRASH_POINTS", "2"))


@pytest.mark.timeout(1200)
def test_a_step_killed_at_any_write_and_run_again_leaves_the_undisturbed_state(tmp_path):
    world_file = tiny_world(tmp_path)
    command = [sys.executable, "-m", "tests.crash.runner", str(world_file), str(tmp_path), str(POINTS_PER_STEP)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=1100)
    assert done.returncode == 0, done.stdout + done.stderr
    trials = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    steps = {"land", "observe", "build_cube", "train", "evaluate", "promote", "predict", "publish", "verify", "replay"}
    assert {t["step"] for t in trials} == steps
    assert all(t["killed"] for t in trials), [t for t in trials if not t["killed"]]
    assert all(t["same"] for t in trials), ([t for t in trials if not t["same"]], done.stderr[-3000:])

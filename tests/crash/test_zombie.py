"""An attempt that its scheduler took for dead, in a process of its own: once its successor began, it commits nothing.

Each attempt has an instant of its own, as in a live world, where that is the time at which it begins.
"""

import json
import os
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

from pipeline.api import LandRequest, load_world
from pipeline.contracts.times import format_instant
from pipeline.stores.objects import ObjectStore
from tests.flow.chain import run_step, settings_for
from tests.torture.once import source_once
from tests.world import tiny_world

ROOT = Path(__file__).resolve().parents[2]
HELD = """
import pathlib, sys, time
from pipeline.stores import sealed
look = sealed.check_fence

def held():
    pathlib.Path(sys.argv[1], "held").touch()
    while not pathlib.Path(sys.argv[1], "go").exists():
        time.sleep(0.02)
    look()

sealed.check_fence = held
from pipeline import __main__ as cli
sys.exit(cli.main(sys.argv[2:]))
"""
"""The command line, held just before it looks whether it may commit, as a machine that was paused would be."""


def state(store):
    return {path.relative_to(store): path.read_bytes() for path in sorted(store.rglob("*")) if path.is_file()}


def test_a_zombie_attempt_cannot_commit_after_its_successor(tmp_path):
    file, store = tiny_world(tmp_path), tmp_path / "store"
    world = load_world(str(file))
    run_step(LandRequest(world=str(file), as_of=world.recorded.end, received_time=world.recorded.end, source="roads"), settings_for(store))
    first, second = (
        ["observe", "--world", str(file), "--source", "roads", "--as-of", format_instant(world.recorded.end - before), "--json"]
        for before in (timedelta(minutes=1), timedelta(0))
    )
    environment = os.environ | {"CUBECAST_STORE": str(store), "PYTHONPATH": str(ROOT)}
    began = time.monotonic()
    zombie = subprocess.Popen(
        [sys.executable, "-c", HELD, str(tmp_path), *first],
        env=environment | {"CUBECAST_ATTEMPT": "scheduled__71:1"},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        while not (tmp_path / "held").exists():
            assert zombie.poll() is None, zombie.stderr.read()
            assert time.monotonic() < began + 120
            time.sleep(0.02)
        later = [sys.executable, "-m", "pipeline", *second]
        done = subprocess.run(later, env=environment | {"CUBECAST_ATTEMPT": "scheduled__71:2"}, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["outcome"] == "done"
        before = state(store)
        (tmp_path / "go").touch()
        said = zombie.communicate(timeout=120)[1]
    finally:
        zombie.kill()
        zombie.communicate()
    assert zombie.returncode == 75
    error = json.loads(said.splitlines()[-1])
    assert error["error"] == "ConflictError"
    assert "attempt 2 has taken its place" in error["found"]
    after = state(store)
    assert {path: after.get(path) for path in before} == before, "what the successor left is as it was, its receipt as well"
    assert list(source_once(ObjectStore(str(store)), world, "roads")) == []

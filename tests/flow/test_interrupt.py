"""Ctrl-C and SIGTERM in the middle of `cubecast run`: its exit code says so, and the same command goes on to the same ids."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.world import tiny_world

ROOT = Path(__file__).resolve().parents[2]
EPOCHS = 3
SLOW = """
import os, signal, sys, time
import pipeline.__main__ as cli
moment, after = sys.argv[1], float(sys.argv[2])
def say(what):
    if what == moment:
        print("MOMENT", flush=True)
        time.sleep(after)
from pipeline.stores.cube_writer import CubeWriter, RegionWriter
from models.training import loop
from pipeline.stores.landing import LandingStore
def before(owner, name, what):
    call = getattr(owner, name)
    def wrapped(*args, **kwargs):
        say(what)
        return call(*args, **kwargs)
    setattr(owner, name, wrapped)
def behind(owner, name, what):
    call = getattr(owner, name)
    def wrapped(*args, **kwargs):
        found = call(*args, **kwargs)
        say(what)
        return found
    setattr(owner, name, wrapped)
behind(LandingStore, "_keep", "landing")
behind(RegionWriter, "write", "region")
before(CubeWriter, "commit", "commit")
behind(loop, "write_checkpoint", "epoch")
sys.exit(cli.main(sys.argv[3:]))
"""
"""The command line, that says when it comes by a moment and lingers there."""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A world, and the ids of an undisturbed run."""
    folder = tmp_path_factory.mktemp("interrupt")
    world = tiny_world(folder)
    options = f'recipe = "tiny"\nrecipe_options = {{ epochs = {EPOCHS}, steps = 12 }}\n'
    world.write_text(world.read_text().replace('recipe = "tiny"\n', options))
    done = start(world, folder / "undisturbed", "never")
    out, err = done.communicate(timeout=200)
    assert done.returncode == 0, err
    return world, ids_of(out)


def start(world, store, moment):
    linger = 2.0 if moment == "region" else 30.0  # a region is written to its end, by a thread
    command = [sys.executable, "-c", SLOW, moment, str(linger), "run", "--world", str(world), "--json"]
    environment = {**os.environ, "CUBECAST_STORE": str(store), "OMP_NUM_THREADS": "1", "CUBECAST_DASK": ""}
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=environment,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


def ids_of(out):
    receipts = [json.loads(line) for line in out.splitlines() if line.startswith("{")]
    return {r["step"]: {k: v for k, v in r["ids"].items() if k != "snapshot"} for r in receipts}


@pytest.mark.parametrize(
    ("moment", "sent", "code"),
    [
        ("landing", signal.SIGINT, 130),
        ("region", signal.SIGINT, 130),
        ("commit", signal.SIGTERM, 143),
        ("epoch", signal.SIGINT, 130),
        ("epoch", signal.SIGTERM, 143),
    ],
)
def test_a_run_that_is_interrupted_goes_on_to_the_ids_of_an_undisturbed_one(place, tmp_path, moment, sent, code):
    world, ids = place
    process = start(world, tmp_path / "store", moment)
    for line in process.stdout:
        if line == "MOMENT\n":
            break
    began = time.monotonic()
    process.send_signal(sent)
    _, err = process.communicate(timeout=90)
    assert process.returncode == code, err
    assert time.monotonic() - began < 45
    assert "run the same command to go on" in err
    assert "Traceback" not in err
    assert [said["exit_code"] for line in err.splitlines() if (said := json.loads(line))["event"] == "error"] == [code]
    again = start(world, tmp_path / "store", "never")
    out, err = again.communicate(timeout=200)
    assert again.returncode == 0, err
    assert ids_of(out) == ids
    if moment == "epoch":
        assert '"stage": "epoch 1 of 3"' not in err, "training began anew"
    assert not list((tmp_path / "store" / "work").rglob("*.safetensors"))

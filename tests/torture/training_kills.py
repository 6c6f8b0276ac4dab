"""kill -9 of a training at random moments, again and again until it has ended: its files must be those of an undisturbed one.

Runs in a process of its own: it imports everything, then forks for every trial and does no work itself.

python -m tests.torture.training_kills WORLD FOLDER KILLS SEED prints one JSON line.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import random
import shutil
import signal
import sys
import time
import traceback
from pathlib import Path

from pipeline.api import Request, TrainRequest
from tests.flow.chain import requests, run_step, settings_for

_OPTIONS = {"epochs": 5, "patience": 5, "steps": 12, "least_steps": 12}


def _forked(request: Request, store: Path, kill_after: float | None) -> bool:
    """Do a step in a child; whether it came to its end."""
    child = os.fork()
    if not child:
        try:
            run_step(request, settings_for(store))
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    until = time.monotonic() + (3600 if kill_after is None else kill_after)
    while time.monotonic() < until:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended and status:
            sys.exit(f"{request.step} fails")
        if ended:
            return True
        time.sleep(0.001)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return False


def _files(store: Path) -> dict[str, str]:
    """Digests of all that the registry holds."""
    held = [path for path in (store / "registry").rglob("*") if path.is_file() and path.suffix in (".safetensors", ".json")]
    return {str(path.relative_to(store)): hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(held)}


def _checkpoints(store: Path) -> list[Path]:
    return sorted((store / "work").rglob("*.safetensors"))


def kill_trainings(world_file: Path, folder: Path, kills: int, seed: int) -> dict[str, object]:
    """Kill a training so often; how often it had a checkpoint to go on from, and whether every one that ended is the same."""
    chance, before, store = random.Random(seed), folder / "before", folder / "store"
    flow = requests(world_file)
    for request in flow[:3]:
        _forked(request, before, None)
    train: TrainRequest = next(r for r in flow if isinstance(r, TrainRequest)).model_copy(update={"options": _OPTIONS})
    shutil.copytree(before, folder / "whole")
    began = time.monotonic()
    _forked(train, folder / "whole", None)
    seconds, whole = time.monotonic() - began, _files(folder / "whole")
    done = resumed = ended = 0
    wrong: list[str] = []
    while done < kills or store.exists():
        if not store.exists():
            shutil.copytree(before, store)
        resumed += bool(_checkpoints(store))
        if not _forked(train, store, chance.uniform(0.1, 1.0) * seconds if done < kills else None):
            done += 1
            continue
        ended += 1
        found = _files(store)
        wrong += [f"{name} after {done} kills" for name in sorted(whole.keys() | found.keys()) if whole.get(name) != found.get(name)]
        wrong += [f"{path.name} is left over" for path in _checkpoints(store)]
        shutil.rmtree(store)
    return {"kills": done, "runs that went on from a checkpoint": resumed, "trainings that ended": ended, "wrong": wrong}


def main(world_file: str, folder: str, kills: int, seed: int) -> None:
    """Print what came of it."""
    for step in ("land", "observe", "build_cube", "train"):
        importlib.import_module(f"pipeline.steps.{step}")
    importlib.import_module("models.api")
    print(json.dumps(kill_trainings(Path(world_file), Path(folder), kills, seed)), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))

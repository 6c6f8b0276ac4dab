"""Kills each step at its writes, runs it again, and tells whether the state is the one of an undisturbed run.

Runs in a process of its own: it imports everything, then forks for every trial and does no work itself (threads of
numerical libraries and of Icechunk do not survive a fork).
"""

import importlib
import json
import os
import shutil
import sys
import traceback
from datetime import timedelta
from pathlib import Path

from pipeline.api import ReplayRequest, Request
from pipeline.settings import Settings
from tests.crash.writes import count_writes
from tests.flow.chain import requests, run_step, settings_for

for _module in ("land", "observe", "build_cube", "train", "evaluate", "promote", "predict", "publish", "verify", "replay"):
    importlib.import_module(f"pipeline.steps.{_module}")


def _forked(request: Request, settings: Settings, kill_at: int | None, answer: Path) -> int:
    """Run a step in a fork; returns its wait status and leaves ids, outcome and the count of writes in `answer`."""
    answer.unlink(missing_ok=True)
    child = os.fork()
    if child:
        return os.waitpid(child, 0)[1]
    try:
        written = count_writes(kill_at)
        receipt = run_step(request, settings)
        ids = {k: v for k, v in receipt.ids.items() if k != "snapshot"}
        answer.write_text(json.dumps({"ids": ids, "outcome": receipt.outcome, "writes": written[0]}))
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def _trial_points(writes: int, most: int) -> list[int]:
    if writes <= most:
        return list(range(writes))
    return sorted({round(i * (writes - 1) / (most - 1)) for i in range(most)})


def main(world_file: str, folder: str, most: int) -> None:
    """Print one JSON line per trial: step, kill point, whether the rerun gave the same ids."""
    store, before, answer = Path(folder) / "store", Path(folder) / "before", Path(folder) / "answer.json"
    store.mkdir()
    settings = settings_for(store)
    flow = requests(Path(world_file))
    issued, end = flow[-3].as_of, flow[-1].as_of
    past = ReplayRequest(world=world_file, as_of=end, first=issued, last=issued + timedelta(hours=3), workers=1)
    for request in (*flow, past):
        shutil.rmtree(before, ignore_errors=True)
        shutil.copytree(store, before)
        if _forked(request, settings, None, answer):
            sys.exit(f"{request.step} fails undisturbed")
        whole = json.loads(answer.read_text())
        after = Path(folder) / "after"
        shutil.rmtree(after, ignore_errors=True)
        shutil.move(store, after)
        for point in _trial_points(whole["writes"], most):
            shutil.rmtree(store, ignore_errors=True)
            shutil.copytree(before, store)
            killed = os.WIFSIGNALED(_forked(request, settings, point, answer))
            status = _forked(request, settings, None, answer)
            again = json.loads(answer.read_text()) if status == 0 else {}
            same = again.get("ids") == whole["ids"]
            print(json.dumps({"step": request.step, "point": point, "writes": whole["writes"], "killed": killed, "same": same}), flush=True)
        shutil.rmtree(store, ignore_errors=True)
        shutil.move(after, store)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))

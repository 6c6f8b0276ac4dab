"""A process that has imported everything and forks for each trial; it does no work itself, since threads do not survive a fork.

One JSON line in (step, request, store, environment, when to kill), two lines out: the child's pid, then how it ended.
"""

from __future__ import annotations

import functools
import gc
import importlib
import json
import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.crash.writes import count_writes

ROOT = Path(__file__).resolve().parents[2]
LONGEST = 600.0
"""Seconds after which a child hangs, and is ended."""


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How a child ended: killed, with the answer of its work, or with an error (`clear` where it is one of ours)."""

    killed: bool
    seconds: float
    writes: int = 0
    answer: Any = None
    error: str | None = None
    clear: bool = False


class Zygote:
    """The process, and children of it. `patience` are the seconds that its children let a silent S3 be silent."""

    def __init__(self, *, patience: float | None = None) -> None:
        command = [sys.executable, "-m", "tests.torture.zygote", *([] if patience is None else [str(patience)])]
        self._process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __enter__(self) -> Zygote:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.close()
        self._process.wait(timeout=60)
        self._process.stdout.close()

    def run(self, work: str, *, on_start: Callable[[int], None] | None = None, kill_after: float | None = None, **job: Any) -> Ended:
        """Do `work` (`module:function`, called with the rest of `job`) in a child; kill it after so many seconds."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps({"work": work, "kill_after": kill_after, **job}) + "\n")
        self._process.stdin.flush()
        pid = json.loads(self._process.stdout.readline())["pid"]
        if on_start is not None:
            on_start(pid)
        return Ended(**json.loads(self._process.stdout.readline()))


def _serve() -> None:
    for line in sys.stdin:
        job = json.loads(line)
        work, kill_after = job.pop("work"), job.pop("kill_after")
        down, up = os.pipe()
        began = time.monotonic()
        if (pid := os.fork()) == 0:
            os.close(down)
            os.dup2(os.open(os.devnull, os.O_RDWR), 1)
            os.write(up, json.dumps(_child(work, job)).encode())
            os._exit(0)
        os.close(up)
        print(json.dumps({"pid": pid}), flush=True)
        status = _wait(pid, began, kill_after)
        seconds = time.monotonic() - began
        with os.fdopen(down) as pipe:
            said = pipe.read()
        found = json.loads(said) if said and not os.WIFSIGNALED(status) else {}
        if not found and not os.WIFSIGNALED(status):
            found = {"error": f"ended with status {status} and said nothing"}
        print(json.dumps({"killed": os.WIFSIGNALED(status), "seconds": seconds, **found}), flush=True)


def _wait(pid: int, began: float, kill_after: float | None) -> int:
    deadline = began + (LONGEST if kill_after is None else kill_after)
    while True:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return status
        if time.monotonic() >= deadline:
            os.kill(pid, signal.SIGKILL)
            return os.waitpid(pid, 0)[1]
        time.sleep(0.001)


def _child(work: str, job: dict[str, Any]) -> dict[str, Any]:
    from pipeline.errors import CubecastError

    written = count_writes(job.pop("kill_at", None))
    os.environ.update(job.pop("env", {}))
    module, _, name = work.partition(":")
    try:
        answer = getattr(importlib.import_module(module), name)(**job)
    except CubecastError as error:
        return {"error": f"{type(error).__name__}: {error}", "clear": bool(error.asked and error.found and error.mend)}
    except BaseException:
        return {"error": traceback.format_exc()[-1500:]}
    return {"answer": answer, "writes": written[0]}


def main() -> None:
    for name in ("land", "observe", "build_cube"):
        importlib.import_module(f"pipeline.steps.{name}")
    for name in ("icechunk", "zarr", "s3fs", "aiobotocore.session", "aiobotocore.endpoint", "filelock", "tests.torture.work"):
        importlib.import_module(name)
    import botocore.loaders

    from pipeline.stores import objects

    if len(sys.argv) > 1:
        objects.S3_PATIENCE = float(sys.argv[1])
    loaded = functools.cache(botocore.loaders.JSONFileLoader().load_file)
    botocore.loaders.JSONFileLoader.load_file = lambda self, path: loaded(path)
    loader = botocore.loaders.Loader()
    for kind in ("service-2", "endpoint-rule-set-1", "paginators-1"):
        loader.load_service_model("s3", kind)
    for name in ("endpoints", "partitions", "sdk-default-configuration", "_retry"):
        loader.load_data(name)
    gc.freeze()
    _serve()


if __name__ == "__main__":
    main()

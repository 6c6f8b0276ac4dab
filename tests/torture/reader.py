"""A reader beside the steps: a process that reads units of a store again and again and tells every state that it saw.

One JSON line in: `watch` (units) begins, `stop` ends and gives the states in order; `look` reads once; `verify` is `cubecast store verify`.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tests.torture.zygote import ROOT


class Reader:
    """The process; `env` says where S3 is."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.torture.reader"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **env},
        )

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.close()
        self._process.wait(timeout=60)
        self._process.stdout.close()

    def watch(self, store: str, world_file: str, units: Sequence[str]) -> None:
        """Read these units until `stop`."""
        self._ask(ask="watch", store=store, world_file=world_file, units=units)

    def stop(self) -> tuple[int, dict[str, list[str]]]:
        """How often every unit was read, and the states that followed each other in each."""
        found = self._ask(ask="stop")
        return found["reads"], found["seen"]

    def look(self, store: str, world_file: str, units: Sequence[str]) -> dict[str, str]:
        """The states of these units now."""
        return self._ask(ask="look", store=store, world_file=world_file, units=units)

    def verify(self, store: str, world_file: str) -> list[str]:
        """The faults that `cubecast store verify` names."""
        return self._ask(ask="verify", store=store, world_file=world_file)

    def _ask(self, **question: Any) -> Any:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())


def _look(store: str, world_file: str, units: Sequence[str]) -> dict[str, str]:
    from pipeline.contracts.world_files import load_world
    from tests.torture.states import state_of

    world, found = load_world(world_file), {}
    for unit in units:
        try:
            found[unit] = state_of(store, world, unit)
        except Exception as error:
            found[unit] = f"torn: {type(error).__name__}: {error}"
    return found


class _Server:
    def __init__(self) -> None:
        self._questions: queue.Queue[dict[str, Any]] = queue.Queue()
        self._answers, sys.stdout = sys.stdout, sys.stderr

    def listen(self) -> None:
        """Take questions; on a thread of its own."""
        for line in sys.stdin:
            self._questions.put(json.loads(line))
        self._questions.put({"ask": "end"})

    def serve(self) -> None:
        """Answer until there are no more questions."""
        while (question := self._questions.get())["ask"] != "end":
            kind = question.pop("ask")
            self._answer({} if kind == "watch" else _ANSWERS[kind](**question))
            if kind == "watch":
                self._answer(self._watch(question))

    def _answer(self, found: Any) -> None:
        print(json.dumps(found), file=self._answers, flush=True)

    def _watch(self, place: dict[str, Any]) -> dict[str, Any]:
        """Read until `stop`; a `look` in between is answered."""
        reads, seen = 0, {unit: list[str]() for unit in place["units"]}
        while True:
            for unit, state in _look(**place).items():
                if not seen[unit] or seen[unit][-1] != state:
                    seen[unit].append(state)
            reads += 1
            with contextlib.suppress(queue.Empty):
                question = self._questions.get_nowait()
                if (kind := question.pop("ask")) in ("stop", "end"):
                    return {"reads": reads, "seen": seen}
                self._answer(_ANSWERS[kind](**question))


def _verify(store: str, world_file: str) -> list[str]:
    from pipeline.contracts.world_files import load_world
    from pipeline.settings import Settings
    from pipeline.steps.store_verify import verify_store
    from pipeline.telemetry import QUIET

    return list(verify_store(load_world(world_file), Settings(store=store, data=None, dask=None), QUIET).faults)


_ANSWERS: dict[str, Callable[..., Any]] = {"look": _look, "verify": _verify}

if __name__ == "__main__":
    server = _Server()
    threading.Thread(target=server.listen, daemon=True).start()
    server.serve()

"""A step as a child process: its own process group, limits of memory and of time, gone when its task is gone."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from typing import IO, Any

from pipeline.api import (
    Launch,
    MonitorRequest,
    Request,
    child_environment,
    command,
    die_with_parent,
    machine_bytes,
    read_settings,
    tree_bytes,
)

OUT_OF_MEMORY, OUT_OF_TIME = 78, 124
"""Exit codes of a step that was ended at its limit: more memory is a matter of configuration; more time, of the next attempt."""
LEAST_LOOK, MOST_LOOK, FASTEST = 0.05, 2.0, 4e9
"""Seconds between two looks at a child's memory, which grows by no more than so many bytes a second."""
MIB = 2**20


class Child:
    """Runs requests as children of this process, one at a time."""

    def __init__(self, log: Callable[[str], None], launch: Launch | None = None) -> None:
        self._log, self._launch = log, launch or Launch()
        self._memory = self._launch.memory or machine_bytes() * 3 // 4
        self._child: subprocess.Popen[str] | None = None

    def run(self, request: Request, context: Any) -> tuple[int, str]:
        """The exit code and the last line of stdout of the request's command; its stderr goes to the log.

        A child that reaches a limit is ended, with `OUT_OF_MEMORY` or `OUT_OF_TIME` for an exit code.
        """
        die_with_parent(os.getppid())
        words = [*command(request), "--die-with-parent", str(os.getpid())]
        self._log(" ".join(words))
        with tempfile.TemporaryFile("w+") as out:
            self._child = subprocess.Popen(  # noqa: S603
                words,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.PIPE,
                text=True,
                env=self._environment(request, context),
                start_new_session=True,
            )
            reader = threading.Thread(target=self._pass_on, args=(self._child.stderr,), daemon=True)
            reader.start()
            try:
                code, why = self._ended(self._child, request)
            finally:
                self.kill()
            self._child.wait()
            reader.join(timeout=10)
            if why:
                self._log(why)
            out.seek(0)
            return code, (out.read().splitlines() or [""])[-1]

    def _environment(self, request: Request, context: Any) -> dict[str, str]:
        """What the child gets: of a limit that somebody chose it plans to use two thirds."""
        more = {"CUBECAST_ATTEMPT": attempt_of(context)} if context else {}
        if self._launch.memory:
            more["CUBECAST_MEMORY"] = str(min(self._memory * 2 // 3, read_settings().memory or self._memory))
        return child_environment(more, tells=request.step == MonitorRequest.step)

    def _ended(self, child: subprocess.Popen[str], request: Request) -> tuple[int, str]:
        """How the child ended, and where that was at a limit, why."""
        began, longest = time.monotonic(), self._launch.limit.total_seconds()
        while True:
            used, left = tree_bytes(child.pid), longest - (time.monotonic() - began)
            if used > self._memory:
                return OUT_OF_MEMORY, over_memory(request, f"{used / MIB:,.0f} MiB in use", self._memory)
            if left <= 0:
                return OUT_OF_TIME, over_time(request, self._launch)
            look = max(LEAST_LOOK, min(MOST_LOOK, left, (self._memory - used) / FASTEST))
            with contextlib.suppress(subprocess.TimeoutExpired):
                return child.wait(look), ""

    def _pass_on(self, stderr: IO[str] | None) -> None:
        with stderr or contextlib.nullcontext(()) as lines:
            for line in lines:
                self._log(log_line(line))

    def kill(self) -> None:
        """End the step and whatever it started."""
        if self._child is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._child.pid, signal.SIGKILL)


def over_memory(request: Request, found: str, limit: int) -> str:
    """What people are told of a step that was ended for its memory."""
    mend = "raise memory in the world's [schedule] or CUBECAST_LAUNCH_MEMORY, or make it plan for less with CUBECAST_MEMORY"
    return f"memory of {request.step} {request.world}: {found}, its limit is {limit / MIB:,.0f} MiB: ended, not tried again. Mend: {mend}"


def over_time(request: Request, launch: Launch) -> str:
    """What people are told of a step that was ended for its time."""
    mend = "raise limit in the world's [schedule] or CUBECAST_LAUNCH_LIMIT if that is how long it takes; a training goes on from its checkpoint"
    return f"time of {request.step} {request.world}: not over after its limit, {launch.limit}: ended, will be tried again. Mend: {mend}"


def attempt_of(context: Any) -> str:
    """Which attempt of which run a task is: what its commits are fenced by."""
    return f"{context['dag_run'].run_id}:{context['ti'].try_number}"


def log_line(line: str) -> str:
    """One line of a step's stderr as people read it."""
    try:
        state = json.loads(line)
        if state["event"] == "alert":
            return f"{state['level']} {state['alert']}: {state['text']} (see {state['mend']})"
        if state["event"] == "error":
            return f"{state['error']}: {state['asked']}: {state['found']}. Mend: {state['mend']}"
        count = (
            f" {state['done']:,.0f}{'/{:,.0f}'.format(state['total']) if state['total'] else ''} {state['unit']}" if state["done"] else ""
        )
        return f"{state['event']} {state['stage']}{count} {state['note']} ({state['seconds']} s)"
    except (ValueError, KeyError, TypeError):
        return line.rstrip()

"""A step as a child process: its own process group, its own limits, gone when its task is gone."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import subprocess
import tempfile
import threading
from collections.abc import Callable
from typing import IO, Any

from pipeline.api import MonitorRequest, Request, child_environment, command, die_with_parent


class Child:
    """Runs requests as children of this process, one at a time."""

    def __init__(self, log: Callable[[str], None], memory: int | None = None) -> None:
        self._log, self._memory = log, memory
        self._child: subprocess.Popen[str] | None = None

    def run(self, request: Request, context: Any) -> tuple[int, str]:
        """The exit code and the last line of stdout of the request's command; its stderr goes to the log."""
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
                env=child_environment(
                    {"CUBECAST_ATTEMPT": attempt_of(context)} if context else None, tells=request.step == MonitorRequest.step
                ),
                start_new_session=True,
            )
            if self._memory is not None:
                # Of the data segment, as address space is reserved freely by numerical libraries.
                resource.prlimit(self._child.pid, resource.RLIMIT_DATA, (self._memory, self._memory))
            reader = threading.Thread(target=self._pass_on, args=(self._child.stderr,), daemon=True)
            reader.start()
            try:
                code = self._child.wait()
            finally:
                self.kill()
            reader.join(timeout=10)
            out.seek(0)
            return code, (out.read().splitlines() or [""])[-1]

    def _pass_on(self, stderr: IO[str] | None) -> None:
        with stderr or contextlib.nullcontext(()) as lines:
            for line in lines:
                self._log(log_line(line))

    def kill(self) -> None:
        """End the step and whatever it started."""
        if self._child is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._child.pid, signal.SIGKILL)


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

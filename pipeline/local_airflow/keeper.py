"""Whoever starts processes for us and ends them all with us."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

from pipeline.errors import StoreError
from pipeline.process_tree import adopt_orphans, end_descendants
from pipeline.settings import child_environment


class ComponentEnded(StoreError):
    """A process ended while it was needed."""


class Keeper:
    """The process that starts others and ends them all, even where we are killed."""

    def __init__(self) -> None:
        adopt_orphans()
        self._logs: dict[str, Path] = {}
        self.begin()

    def begin(self) -> None:
        """Start the keeping process."""
        words = [sys.executable, "-m", "pipeline.process_tree"]
        self._process = subprocess.Popen(  # noqa: S603
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=child_environment(), start_new_session=True
        )
        os.set_blocking(_pipe(self._process.stdout).fileno(), False)

    def start(self, name: str, argv: Sequence[str], log: Path, environment: Mapping[str, str], user: str | None = None) -> None:
        """Start one process, as another user where one is named."""
        self._logs[name] = log
        order = {"name": name, "argv": list(argv), "log": str(log), "env": dict(environment), "user": user}
        stdin = _pipe(self._process.stdin)
        stdin.write(json.dumps(order).encode() + b"\n")
        stdin.flush()

    def check(self) -> None:
        """Raise where a process has ended.

        Raises:
            ComponentEnded: One has; the message carries the tail of its log.
        """
        for line in (_pipe(self._process.stdout).read() or b"").splitlines():
            ended = json.loads(line)
            tail = self._logs[ended["ended"]].read_text(errors="replace")[-1500:]
            raise ComponentEnded(
                asked=str(ended["ended"]),
                found=f"it ended with {ended['code']}:\n{tail}",
                mend="mend what the log says, then try again",
            )
        if self._process.poll() is not None:
            raise ComponentEnded(asked="the keeper of the processes", found=f"it ended with {self._process.returncode}", mend="try again")

    def end(self) -> None:
        """End the processes and everything below them."""
        _pipe(self._process.stdin).close()
        try:
            self._process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        _pipe(self._process.stdout).close()
        end_descendants(grace=1)


def _pipe(stream: IO[bytes] | None) -> IO[bytes]:
    if stream is None:
        raise TypeError("the keeper is started with pipes")
    return stream

"""Processes under a manager: what ends is started again, as systemd, compose and Kubernetes do."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from pipeline.errors import StoreError
from pipeline.local_airflow.home import USER
from pipeline.local_airflow.keeper import Keeper
from pipeline.local_airflow.rest import Rest
from pipeline.process_tree import descendants, die_with_parent

AWAY = {"postgres": 60.0}
"""How long a component stays away; others come back after a second."""


class Keeping(Protocol):
    """Whoever keeps the processes."""

    @property
    def processes(self) -> list[int]:
        """All of them."""

    def check(self) -> None:
        """Start what has been away long enough."""

    def kill(self, name: str) -> None:
        """Kill a component."""


@dataclass(frozen=True, kw_only=True)
class Ground:
    """A running Airflow, who keeps it, and the environment of its tasks."""

    keeper: Keeping
    rest: Rest
    environment: Mapping[str, str]


class Manager(Keeper):
    """A keeper whose `check` starts again what has ended."""

    def __init__(self) -> None:
        super().__init__()
        self._orders: dict[str, tuple[Sequence[str], Path, Mapping[str, str], str | None]] = {}
        self._due: dict[str, float] = {}
        self.ended: Counter[str] = Counter()

    def start(self, name: str, argv: Sequence[str], log: Path, environment: Mapping[str, str], user: str | None = None) -> None:
        """Start one process, and again whenever it has ended; the log of its last life but one stays beside it."""
        self._orders[name] = (argv, log, environment, user)
        if log.exists():
            log.rename(log.with_name(f"{log.name}.{self.ended[name]}"))
        super().start(name, argv, log, environment, user)

    def check(self) -> None:
        """Start what has been away long enough."""
        for line in (self._process.stdout.read() or b"").splitlines():  # type: ignore[union-attr]
            name = json.loads(line)["ended"]
            self.ended[name] += 1
            self._due[name] = time.monotonic() + AWAY.get(name, 1.0)
        for name in [name for name, due in self._due.items() if due <= time.monotonic()]:
            del self._due[name]
            self.start(name, *self._orders[name])

    @property
    def processes(self) -> list[int]:
        """All living processes below the manager."""
        return descendants(self._process.pid)

    def kill(self, name: str) -> None:
        """Kill a component with everything below it, as the end of its container does."""
        kill_all(next(pid for pid in self.processes if words_of(pid) == list(self._orders[name][0]) or is_called(pid, name)))


class Box:
    """`cubecast airflow ui` for one world on SQLite; the whole of it is started again when it ends."""

    def __init__(self, world: str, folder: Path) -> None:
        self.environment = {**os.environ, "CUBECAST_STORE": str(folder / "store"), "CUBECAST_WORLDS": world}
        self._words = [sys.executable, "-m", "pipeline", "airflow", "ui", "--world", world]
        self._log = folder / "ui.log"
        self._start()
        while " up at " not in (said := self._log.read_text()):
            if self._process.poll() is not None:
                raise StoreError(asked="cubecast airflow ui", found=said[-800:], mend="mend what it says")
            time.sleep(0.2)
        password = json.loads((folder / "store" / "airflow" / "passwords.json").read_text())[USER]
        self.rest = Rest(said.split(" up at ")[1].split()[0], USER, password)

    def _start(self) -> None:
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                self._words,
                env=self.environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=partial(die_with_parent, os.getpid()),
            )

    @property
    def processes(self) -> list[int]:
        """All living processes below the launcher."""
        return descendants(self._process.pid)

    def check(self) -> None:
        """Start it again where it has ended."""
        if self._process.poll() is not None:
            self._start()

    def kill(self, name: str) -> None:
        """Kill a component with everything below it; the launcher then ends the others and itself."""
        kill_all(next(pid for pid in self.processes if words_of(pid)[1:4] == ["-m", "airflow", name] or is_called(pid, name)))

    def end(self) -> None:
        """End all of it."""
        self._process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(60)
        self._process.kill()


def is_called(pid: int, name: str) -> bool:
    """Whether a process is the component that gives itself a title: the api-server is `airflow api_server -- …`."""
    return " ".join(words_of(pid)).startswith(f"airflow {name.replace('-', '_')} --")


def kill_all(main: int) -> None:
    """Kill a process and everything below it."""
    for pid in [main, *descendants(main)]:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def words_of(pid: int) -> list[str]:
    """The command line of a process; nothing where it has ended, also as a zombie."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_text().split("\0")[:-1]
    return []


def parent_of(pid: int) -> int:
    """The parent of a process."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def patient(ask: Any) -> Any:
    """The answer of an api-server that may be on its way back."""
    deadline = time.monotonic() + 180
    while True:
        try:
            return ask()
        except (OSError, StoreError):
            if time.monotonic() > deadline:
                raise
            time.sleep(1)

"""A PostgreSQL of one's own on loopback, from the programs of this machine."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import ConfigError, StoreError
from pipeline.process_tree import identity

_PROGRAMS = ("initdb", "postgres", "pg_ctl", "createdb", "pg_dump")
_USERS = ("postgres", "nobody")
"""Who runs it where we are root, as whom it refuses to run."""


@dataclass(frozen=True, kw_only=True)
class Postgres:
    """Where its programs, its data and its password's file lie, and as whom it runs (None: as we do)."""

    programs: Path
    folder: Path
    port: int
    user: str | None

    @property
    def argv(self) -> list[str]:
        """Its command line. What it holds ends with it, so nothing is waited for to reach the disk."""
        said = {"listen_addresses": "127.0.0.1", "port": str(self.port), "unix_socket_directories": "", "fsync": "off"}
        options = [word for name, value in said.items() for word in ("-c", f"{name}={value}")]
        return [str(self.programs / "postgres"), "-D", str(self.folder / "data"), *options]

    def run(self, program: str, *words: str, password: str | None = None) -> str:
        """What one of its programs says.

        Raises:
            StoreError: It failed.
        """
        done: subprocess.CompletedProcess[str] = subprocess.run(  # noqa: S603
            [str(self.programs / program), *words],
            env={"PATH": os.defpath, "LC_ALL": "C", **({"PGPASSWORD": password} if password else {})},
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
            **identity(self.user),
        )
        if done.returncode:
            raise StoreError(asked=f"{program} of PostgreSQL", found=done.stderr.strip()[-800:], mend="mend what it says")
        return done.stdout


def find_programs() -> Path:
    """The folder of PostgreSQL's programs: that of PATH, else the newest that a distribution has put in its own place.

    Raises:
        ConfigError: There are none.
    """
    on_path = shutil.which("initdb")
    newest = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: path.parent.name.zfill(4), reverse=True)
    for folder in [*([Path(on_path).resolve().parent] if on_path else []), *newest]:
        if all((folder / program).is_file() for program in _PROGRAMS):
            return folder
    raise ConfigError(asked=f"PostgreSQL: {', '.join(_PROGRAMS)}", found="not on PATH or in /usr/lib/postgresql", mend="install postgresql")


@contextmanager
def made(port: int, owner: str, password: str) -> Iterator[Postgres]:
    """An empty cluster of databases whose only user is `owner`, in a folder that goes in the end.

    Raises:
        ConfigError: There is no PostgreSQL here.
        StoreError: It could not be made.
    """
    user = next((name for name in _USERS if _exists(name)), None) if os.getuid() == 0 else None
    folder = Path(tempfile.mkdtemp(prefix="cubecast-postgres-"))
    try:
        found = Postgres(programs=find_programs(), folder=folder, port=port, user=user)
        secret = folder / "password"
        with os.fdopen(os.open(secret, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as handle:
            handle.write(password)
        if user:
            for path in (folder, secret):
                shutil.chown(path, user)
        words = ("--pgdata", str(folder / "data"), "--username", owner, "--pwfile", str(secret), "--auth", "scram-sha-256", "--no-sync")
        found.run("initdb", *words, "--encoding", "UTF8", "--locale", "C")
        yield found
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def answers(port: int) -> bool:
    """Whether something on loopback accepts connections at a port."""
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def wait_for(port: int, name: str, check: Callable[[], None], patience: float = 60) -> None:
    """Wait until something listens at a port.

    Raises:
        StoreError: Nothing does in time.
    """
    deadline = time.monotonic() + patience
    while not answers(port):
        check()
        if time.monotonic() > deadline:
            raise StoreError(asked=f"{name} at 127.0.0.1:{port}", found=f"no answer in {patience:.0f} s", mend="look into its log")
        time.sleep(0.1)


def _exists(user: str) -> bool:
    with suppress(KeyError):
        return bool(pwd.getpwnam(user))
    return False

"""The folder, the configuration and the processes of a local Airflow."""

from __future__ import annotations

import json
import os
import secrets
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

from filelock import FileLock, Timeout

from pipeline.errors import ConfigError, ConflictError, StoreError
from pipeline.local_airflow.lineage import read_transport
from pipeline.settings import Settings, child_environment, project_folder

USER = "admin"
COMPONENTS = {
    "api-server": ("api-server", "--host", "127.0.0.1"),
    "scheduler": ("scheduler", "--skip-serve-logs"),
    "dag-processor": ("dag-processor",),
    "triggerer": ("triggerer", "--skip-serve-logs"),
}

_ADDRESS = "address"


@dataclass(frozen=True, kw_only=True)
class Home:
    """Where a local Airflow lives and how its processes are told so."""

    folder: Path
    port: int
    password: str
    environment: dict[str, str]

    def on_port(self, port: int) -> Home:
        """The same home with its api-server on another port."""
        told = {name: value.replace(self.address, f"http://127.0.0.1:{port}") for name, value in self.environment.items()}
        return replace(self, port=port, environment=told | {"AIRFLOW__API__PORT": str(port)})

    @property
    def address(self) -> str:
        """Where the UI and the REST API answer."""
        return f"http://127.0.0.1:{self.port}"

    def argv(self, component: str) -> list[str]:
        """The command line of one component."""
        port = ["--port", str(self.port)] if component == "api-server" else []
        return [sys.executable, "-m", "airflow", *COMPONENTS[component], *port]

    def log(self, component: str) -> Path:
        """Where a component writes what it has to say."""
        return self.folder / f"{component}.log"


@contextmanager
def open_home(settings: Settings, worlds: tuple[str, ...], preferred_port: int) -> Iterator[Home]:
    """The home of the store's own Airflow, held by us alone, its database up to date.

    Raises:
        ConflictError: Another command runs Airflow on this store.
    """
    folder = settings.airflow_home
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    lock = FileLock(folder / ".lock", timeout=0)
    try:
        lock.acquire()
    except Timeout as error:
        mend = "wait for the other 'make forecast' or 'make ui' to end, or set CUBECAST_STORE to another folder"
        raise ConflictError(asked=f"Airflow on {folder}", found="another command runs it", mend=mend) from error
    with lock:
        port = free_port(preferred_port)
        home = Home(folder=folder, port=port, password=password(folder), environment=_environment(settings, worlds, port))
        _migrate(home)
        yield home


@contextmanager
def told(home: Home) -> Iterator[None]:
    """Others who use the store find where its Airflow answers, as long as it does."""
    file = home.folder / _ADDRESS
    file.write_text(home.address)
    try:
        yield
    finally:
        file.unlink(missing_ok=True)


def address_of(folder: Path) -> str | None:
    """Where the Airflow of a folder answers, if it was not killed; None where none runs."""
    with suppress(OSError):
        return (folder / _ADDRESS).read_text()
    return None


def free_port(preferred: int) -> int:
    """A free port on loopback: the preferred one, or another where that is in use (0: any)."""
    for port in (preferred, 0):
        with suppress(OSError), socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return int(probe.getsockname()[1])
    raise StoreError(asked="a free port on 127.0.0.1", found="none", mend="end programs that listen on many ports")


def password(folder: Path) -> str:
    """The generated password of the first user, kept in a file that only its owner reads."""
    path = folder / "passwords.json"
    if not path.is_file():
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w") as file:
            json.dump({USER: secrets.token_urlsafe(15)}, file)
    return str(json.loads(path.read_text())[USER])


def call(settings: Settings, words: Sequence[str]) -> int:
    """The exit code of a command of Airflow's own, run on the database of the store's Airflow.

    Raises:
        ConfigError: The store has none yet.
    """
    if not (settings.airflow_home / "airflow.db").is_file():
        raise ConfigError(
            asked=f"airflow {' '.join(words)}",
            found=f"no database in {settings.airflow_home}",
            mend="start it first (cubecast airflow ui); for a shared Airflow on PostgreSQL run 'airflow' itself, with its environment",
        )
    argv = [sys.executable, "-m", "airflow", *words]
    return subprocess.run(argv, env=_environment(settings, settings.worlds, 8080), check=False).returncode  # noqa: S603


def _environment(settings: Settings, worlds: tuple[str, ...], port: int) -> dict[str, str]:
    options = {
        "CORE__AUTH_MANAGER": "airflow.api_fastapi.auth.managers.simple.simple_auth_manager.SimpleAuthManager",
        "CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        "CORE__DAGS_FOLDER": str(project_folder() / "dags"),
        "CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{port}/execution/",
        "CORE__EXECUTOR": "dags._executor.LocalExecutor",
        "CORE__HOSTNAME_CALLABLE": "socket.gethostname",
        "CORE__LOAD_EXAMPLES": "False",
        "CORE__PARALLELISM": "4",
        "CORE__PLUGINS_FOLDER": str(project_folder() / "plugins"),
        "CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(settings.airflow_home / "passwords.json"),
        "CORE__SIMPLE_AUTH_MANAGER_USERS": f"{USER}:admin",
        "API__BASE_URL": f"http://127.0.0.1:{port}",
        "API__HOST": "127.0.0.1",
        "API__INSTANCE_NAME": "Cubecast",
        "API__PORT": str(port),
        "LOGGING__COLORED_CONSOLE_LOG": "False",
        **(
            {"OPENLINEAGE__TRANSPORT": json.dumps(read_transport(settings.lineage)), "OPENLINEAGE__NAMESPACE": "cubecast"}
            if settings.lineage
            else {}
        ),
        "SCHEDULER__MAX_DAGRUNS_PER_LOOP_TO_SCHEDULE": "50",
        "SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "30",
        "SCHEDULER__SCHEDULER_HEALTH_CHECK_SERVER_HOST": "127.0.0.1",
        "SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.5",
        "SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "120",
        "WORKERS__MAX_FAILED_HEARTBEATS": "30",
        "DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{settings.airflow_home / 'airflow.db'}",
    }
    return child_environment(
        {
            "AIRFLOW_HOME": str(settings.airflow_home),
            "CUBECAST_STORE": settings.store,
            "CUBECAST_WORLDS": ",".join(worlds),
            **({"CUBECAST_DATA": str(settings.data)} if settings.data else {}),
            **{f"AIRFLOW__{name}": value for name, value in options.items()},
        },
        tells=True,
    )


def _migrate(home: Home) -> None:
    """Bring Airflow's database up to the installed version; a stamp spares the five seconds where it is."""
    stamp, installed = home.folder / "migrated", version("apache-airflow-core")
    if stamp.is_file() and stamp.read_text() == installed and (home.folder / "airflow.db").is_file():
        return
    done = subprocess.run(
        [sys.executable, "-m", "airflow", "db", "migrate"], env=home.environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise StoreError(
            asked=f"Airflow's database in {home.folder}",
            found=(done.stderr or done.stdout).strip()[-800:],
            mend="remove that folder (its run history only; forecasts are elsewhere), then run the command again",
        )
    stamp.write_text(installed)

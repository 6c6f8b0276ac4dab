"""One forecast through all services of docker/compose.yaml, run as processes on loopback, and what came of it kept."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from pipeline.api import World
from pipeline.contracts.times import format_instant
from pipeline.errors import ConfigError, StoreError
from pipeline.local_airflow import postgres
from pipeline.local_airflow.follow import Screen, follow
from pipeline.local_airflow.home import USER, free_port
from pipeline.local_airflow.keeper import Keeper
from pipeline.local_airflow.launch import stop_on_signals, wait_until_ready
from pipeline.local_airflow.lineage import kept_in
from pipeline.local_airflow.rest import Rest
from pipeline.local_airflow.services import PORTS, Service, make_variables, read_compose, services
from pipeline.settings import Settings, child_environment, project_folder

_AFTERWARDS = ("forecasts", "metrics")
"""Services that show what was made: started when there is something."""
_OURS = ("CUBECAST_", "AWS_", "FSSPEC_", "OTEL_", "HTTP_PROXY", "HTTPS_PROXY")


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where everything of a rehearsal is."""

    folder: Path
    ports: dict[str, int]
    variables: dict[str, str]
    base: dict[str, str]
    keeper: Keeper

    def start(self, service: Service) -> None:
        """Start a service, its log in our folder."""
        self.keeper.start(service.name, service.argv, self.folder / f"{service.name}.log", service.environment | self.base)


def rehearse(world: World, *, issue_time: datetime, now: datetime, settings: Settings, folder: Path) -> int:
    """Make one forecast through PostgreSQL, the four components of Airflow, Dask and S3, let go what has expired, end them all; returns the exit code.

    `folder` then holds each process's log, `airflow.sql` (the database), `store/` (a copy of what was on S3) and `lineage.jsonl`; where
    the environment names a transport of OpenLineage events, they are sent there too.

    Args:
        world: A world of `worlds/`.
        issue_time: The forecast's.
        now: What time it is in the world.
        settings: Where the data of the world lie.
        folder: Where everything goes; empty, or not there yet.

    Raises:
        ConfigError: A program is missing, or the folder is in use.
        StoreError: A process ended, or did not get ready.
    """
    if folder.is_dir() and any(folder.iterdir()):
        raise ConfigError(asked=f"folder {folder}", found="it is not empty", mend="name another with --folder, or remove it")
    screen = Screen(sys.stdout)
    with screen, topology(world, folder, settings, screen) as (place, rest, every):
        conf = {"issue_time": format_instant(issue_time), "now": format_instant(now)}
        run = rest.post(f"/dags/{world.name}__ingest/dagRuns", {"logical_date": None, "conf": conf})
        code = follow(rest, world.name, run, screen, place.keeper.check)
        if code == 0:
            run = rest.post(f"/dags/{world.name}__retention/dagRuns", {"logical_date": None, "conf": conf})
            code = follow(rest, world.name, run, screen, place.keeper.check, ("retention",))
        if code == 0:
            _look(place, every, screen)
        _keep(place, every[0].environment)
        return code


@contextmanager
def topology(
    world: World, folder: Path, settings: Settings, screen: Screen, keeper_of: type[Keeper] = Keeper
) -> Iterator[tuple[Place, Rest, tuple[Service, ...]]]:
    """All services but those that show what was made, started and ready; on leaving, no process of them is left.

    Raises:
        StoreError: A process ended, or did not get ready.
    """
    stop_on_signals()
    for path in (folder, folder / "airflow"):
        path.mkdir(parents=True, exist_ok=True)
        path.chmod(0o700)
    said = {"CUBECAST_WORLDS": world.name, "OPENLINEAGE_TRANSPORT": kept_in(folder / "lineage.jsonl", settings.lineage)}
    variables = make_variables(project_folder() / "docker" / ".env.example", folder / ".env", said)
    ports = _free_ports()
    every = services(read_compose(project_folder() / "docker" / "compose.yaml"), variables, ports, folder)
    base = _base(folder, ports, settings)
    with postgres.made(ports["5432"], "airflow", variables["POSTGRES_PASSWORD"]) as database:
        keeper = keeper_of()
        place = Place(folder=folder, ports=ports, variables=variables, base=base, keeper=keeper)
        try:
            _start_stores(place, database, screen)
            yield place, _start_rest(place, every, world, screen), every
        finally:
            for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
                signal.signal(number, signal.SIG_IGN)
            with suppress(StoreError):  # it may not run yet, or no longer
                database.run("pg_ctl", "stop", "--pgdata", str(database.folder / "data"), "--mode", "fast", "--timeout", "10")
            keeper.end()
            screen.line("every process has ended")


def _free_ports() -> dict[str, int]:
    found: set[int] = set()
    while len(found) < len(PORTS):
        found.add(free_port(0))
    return dict(zip(PORTS, sorted(found), strict=True))


def _base(folder: Path, ports: Mapping[str, int], settings: Settings) -> dict[str, str]:
    """What the images say, and what compose's network and volumes do there."""
    own = {name: value for name, value in child_environment().items() if not name.startswith(_OURS)}
    return own | {
        "AIRFLOW_HOME": str(folder / "airflow"),
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": str(ports["8080"]),
        "AIRFLOW__CORE__DAGS_FOLDER": str(project_folder() / "dags"),
        "AIRFLOW__CORE__HOSTNAME_CALLABLE": "socket.gethostname",
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(project_folder() / "plugins"),
        "DASK_TEMPORARY_DIRECTORY": str(folder / "dask"),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{own.get('PATH', os.defpath)}",
        **({"CUBECAST_DATA": str(settings.data)} if settings.data else {}),
    }


def _start_stores(place: Place, database: postgres.Postgres, screen: Screen) -> None:
    """PostgreSQL and S3, both empty."""
    screen.busy("starting PostgreSQL and S3")
    keeper, folder, ports = place.keeper, place.folder, place.ports
    plain = {"PATH": os.defpath, "LC_ALL": "C"}
    keeper.start("postgres", database.argv, folder / "postgres.log", plain, database.user)
    keeper.start("s3", [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(ports["9000"])], folder / "s3.log", place.base)
    postgres.wait_for(ports["5432"], "PostgreSQL", keeper.check)
    words = ("--host", "127.0.0.1", "--port", str(ports["5432"]), "--username", "airflow", "airflow")
    database.run("createdb", *words, password=place.variables["POSTGRES_PASSWORD"])
    postgres.wait_for(ports["9000"], "S3", keeper.check)
    screen.line(f"PostgreSQL at 127.0.0.1:{ports['5432']}, S3 at 127.0.0.1:{ports['9000']}")


def _start_rest(place: Place, every: tuple[Service, ...], world: World, screen: Screen) -> Rest:
    """Everything else that a forecast needs, once what it stands on is prepared."""
    screen.busy("preparing the database, the pools and the bucket")
    by_name = {service.name: service for service in every}
    _call(by_name["prepare"], place)
    password = json.loads((place.folder / "airflow" / "passwords.json").read_text())[USER]
    for name, service in by_name.items():
        if name not in ("prepare", *_AFTERWARDS):
            place.start(service)
    screen.busy("starting Airflow and Dask")
    postgres.wait_for(place.ports["8786"], "Dask's scheduler", place.keeper.check)
    rest = Rest(f"http://127.0.0.1:{place.ports['8080']}", USER, password)
    wait_until_ready(rest, place.keeper, (world.name,))
    screen.line(f"Airflow is up at http://127.0.0.1:{place.ports['8080']}, Dask at tcp://127.0.0.1:{place.ports['8786']}")
    return rest


def _call(service: Service, place: Place) -> None:
    done = subprocess.run(  # noqa: S603
        service.argv, env=service.environment | place.base, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise StoreError(asked=service.name, found=done.stderr.strip()[-800:], mend="mend what it says")


def _look(place: Place, every: tuple[Service, ...], screen: Screen) -> None:
    """Ask the services that show what was made.

    Raises:
        StoreError: One does not answer as it should.
    """
    for service in every:
        if service.name in _AFTERWARDS:
            place.start(service)
    token = place.variables["CUBECAST_TOKENS"]
    asked = {("8000", "/worlds", ""): 401, ("8000", "/worlds", token): 200, ("9464", "/metrics", ""): 200}
    for (port, path, bearer), wanted in asked.items():
        postgres.wait_for(place.ports[port], PORTS[port], place.keeper.check)
        found = _status(f"http://127.0.0.1:{place.ports[port]}{path}", bearer)
        screen.line(f"{PORTS[port]} answers {found}{' with a token' if bearer else ''}")
        if found != wanted:
            raise StoreError(asked=f"{path} of {PORTS[port]}", found=f"{found} instead of {wanted}", mend="look into its log")
    asked_of = [service for service in every if service.health]
    for service in asked_of:
        _be_healthy(service, place)
    screen.line(f"healthy, as compose.yaml asks: {', '.join(service.name for service in asked_of)}")


def _be_healthy(service: Service, place: Place, patience: float = 120) -> None:
    deadline = time.monotonic() + patience
    while True:
        done = subprocess.run(service.health, env=service.environment | place.base, capture_output=True, text=True, check=False)  # noqa: S603
        if done.returncode == 0:
            return
        if time.monotonic() > deadline:
            raise StoreError(asked=f"the health check of {service.name}", found=done.stderr.strip()[-800:], mend="look into its log")
        time.sleep(1)


def _status(url: str, bearer: str) -> int:
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {bearer}"} if bearer else {})  # noqa: S310
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=60) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def _keep(place: Place, environment: Mapping[str, str]) -> None:
    """Copy what ends with the processes: the database and the store."""
    import s3fs

    with (place.folder / "airflow.sql").open("w") as file:
        words = ("--host", "127.0.0.1", "--port", str(place.ports["5432"]), "--username", "airflow", "--inserts", "airflow")
        file.write(_dump(place, words))
    files = s3fs.S3FileSystem(
        key=environment["AWS_ACCESS_KEY_ID"], secret=environment["AWS_SECRET_ACCESS_KEY"], endpoint_url=environment["AWS_ENDPOINT_URL"]
    )
    files.get(environment["CUBECAST_STORE"].removeprefix("s3://"), str(place.folder / "store"), recursive=True)


def _dump(place: Place, words: tuple[str, ...]) -> str:
    database = postgres.Postgres(programs=postgres.find_programs(), folder=place.folder, port=place.ports["5432"], user=None)
    return database.run("pg_dump", *words, password=place.variables["POSTGRES_PASSWORD"])

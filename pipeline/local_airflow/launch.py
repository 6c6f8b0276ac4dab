"""Start a local Airflow, use it, and end every process of it, whatever happens."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from types import FrameType
from typing import Any
from urllib.parse import quote

from pipeline.api import World
from pipeline.contracts.times import format_instant
from pipeline.errors import StoreError
from pipeline.local_airflow.follow import DAGS, Screen, follow
from pipeline.local_airflow.home import COMPONENTS, USER, Home, free_port, open_home, told
from pipeline.local_airflow.keeper import ComponentEnded, Keeper
from pipeline.local_airflow.prepare import POOLS
from pipeline.local_airflow.rest import Rest
from pipeline.settings import Settings
from pipeline.stores.objects import ObjectStore
from pipeline.stores.receipts import Receipts

_PORT_TAKEN = "address already in use"
_LAST = "scheduler"
"""It comes after the api-server: tasks that asked someone else's, or none, would use up their tries."""


@contextmanager
def running(
    settings: Settings, worlds: tuple[str, ...], screen: Screen, preferred_port: int, keeper_of: type[Keeper] = Keeper
) -> Iterator[tuple[Home, Rest, Keeper]]:
    """A healthy Airflow that has parsed the worlds' DAGs; on leaving, no process of it is left."""
    stop_on_signals()
    screen.busy("preparing Airflow's database")
    with open_home(settings, worlds, preferred_port) as home:
        keeper = keeper_of()
        try:
            home, rest = _start(home, keeper, screen, worlds)
            screen.line(f"Airflow is up at {home.address}")
            with told(home):
                yield home, rest, keeper
        finally:
            for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
                signal.signal(number, signal.SIG_IGN)
            keeper.end()
            screen.line("every process of Airflow has ended")


def _start(home: Home, keeper: Keeper, screen: Screen, worlds: tuple[str, ...], attempts: int = 3) -> tuple[Home, Rest]:
    """A healthy Airflow; on another port where someone took ours before the api-server could."""
    screen.busy("starting Airflow")
    for attempt in range(attempts):
        for component in COMPONENTS:
            if component != _LAST:
                keeper.start(component, home.argv(component), home.log(component), home.environment)
        rest = Rest(home.address, USER, home.password)
        last = partial(keeper.start, _LAST, home.argv(_LAST), home.log(_LAST), home.environment)
        try:
            wait_until_ready(rest, keeper, worlds, last=last)
        except ComponentEnded as error:
            if _PORT_TAKEN not in error.found or attempt == attempts - 1:
                raise
            screen.line(f"port {home.port} was taken meanwhile; trying another")
            keeper.end()
            keeper.begin()
            home = home.on_port(free_port(0))
        else:
            return home, rest
    raise AssertionError("the last attempt returns or raises")


def stop_on_signals() -> None:
    """Leave by way of every `finally` when we are asked to end."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _stop)


def _stop(number: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


def wait_until_ready(
    rest: Rest, keeper: Keeper, worlds: tuple[str, ...], *, last: Callable[[], None] | None = None, patience: float = 180
) -> None:
    """Wait until Airflow is healthy, has its pools and has parsed the DAGs; `last` is done as soon as the api-server answers and is ours."""
    wanted = [f"/dags/{world}__{name}" for world in worlds for name in DAGS]
    deadline = time.monotonic() + patience
    pools_made = False
    while time.monotonic() < deadline:
        keeper.check()
        if last is not None and rest.ours():
            last()
            last = None
        if last is None and rest.healthy():
            if not pools_made:
                pools_made = _make_pools(rest, last_chance=time.monotonic() > deadline - 10)
                continue
            wanted = [path for path in wanted if not rest.found(path)]
            if not wanted:
                return
            errors = rest.get("/importErrors")["import_errors"]
            if errors:
                trace = "\n".join(error["stack_trace"].strip()[-800:] for error in errors)
                raise StoreError(asked="Airflow to parse dags/", found=trace, mend="correct that file")
        time.sleep(0.3)
    raise StoreError(
        asked=f"Airflow to be ready in {patience:.0f} s", found=f"still missing: {wanted}", mend="look into the logs in its folder"
    )


def _make_pools(rest: Rest, *, last_chance: bool) -> bool:
    """Whether all pools are there; SQLite may refuse while the DAGs are being parsed, which is no reason to give up."""
    try:
        there = {pool["name"] for pool in rest.get("/pools")["pools"]}
        for name, (slots, description) in POOLS.items():
            if name not in there:
                rest.post("/pools", {"name": name, "slots": slots, "description": description})
    except StoreError:
        if last_chance:
            raise
        time.sleep(0.5)
        return False
    return True


def _clear_the_way(rest: Rest, world: str) -> None:
    """End what an interrupted command has left unfinished, so that this run is not queued behind it.

    A DAG at its limit of active runs stays marked so until its file is parsed again, even where the API ended the run.
    """
    for name in DAGS:
        dag = f"{world}__{name}"
        rest.patch(f"/dags/{dag}", {"is_paused": False})
        rest.delete(f"/dags/{dag}/assets/queuedEvents")
        left = [run for state in ("running", "queued") for run in rest.get(f"/dags/{dag}/dagRuns?state={state}")["dag_runs"]]
        for run in left:
            rest.patch(f"/dags/{dag}/dagRuns/{quote(run['dag_run_id'])}", {"state": "failed"})
        if left:
            rest.put(f"/parseDagFile/{rest.get(f'/dags/{dag}/details')['file_token']}")


def forecast(world: World, *, issue_time: datetime, now: datetime, settings: Settings) -> int:
    """Run a world's DAGs from ingest to verify for one issue time under an Airflow of its own; returns the exit code."""
    screen = Screen(sys.stdout)
    with screen, running(settings, (world.name,), screen, preferred_port=0) as (_, rest, keeper):
        _clear_the_way(rest, world.name)
        conf: dict[str, Any] = {"issue_time": format_instant(issue_time), "now": format_instant(now)}
        run = rest.post(f"/dags/{world.name}__ingest/dagRuns", {"logical_date": None, "conf": conf})
        return follow(rest, world.name, run, screen, keeper.check, receipts=Receipts(ObjectStore(settings.store)))


def serve(worlds: tuple[World, ...], *, settings: Settings) -> int:
    """Leave Airflow running for its UI until a signal ends it."""
    screen, names = Screen(sys.stdout), tuple(world.name for world in worlds)
    with screen, running(settings, names, screen, preferred_port=8080) as (home, _, keeper):
        screen.line(f"user {USER}, password {home.password}; to make a forecast, trigger {names[0]}__ingest with an issue time")
        screen.line("Ctrl-C ends all of it")
        try:
            while True:
                keeper.check()
                time.sleep(1)
        except KeyboardInterrupt:
            return 0

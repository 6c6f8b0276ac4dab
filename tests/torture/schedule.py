"""What the schedule survives: components of a real Airflow killed in the middle of each step of a chain, and of a replay.

python -m tests.torture.schedule {SQLite,PostgreSQL} WORLD_FILE FOLDER VICTIM...     (in a copy of the project: one line of JSON per victim)
"""

from __future__ import annotations

import io
import json
import os
import random
import re
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pipeline.api import World, load_world
from pipeline.contracts.times import format_instant, to_seconds
from pipeline.errors import StoreError
from pipeline.local_airflow import rehearse
from pipeline.local_airflow.follow import DAGS, Screen
from pipeline.settings import read_settings
from pipeline.stores.checkpoints import Checkpoints
from pipeline.stores.forecasts import ForecastStore
from pipeline.stores.lanes import LaneStore
from pipeline.stores.objects import ObjectStore
from tests.torture.managed import Box, Ground, Manager, parent_of, patient, words_of
from tests.torture.once import once_each

STRUCK = ("observe", "build-cube", "train", "predict")
"""The steps of a chain in which the victim is killed, one per DAG."""
PATIENCE = 3600.0


@dataclass(kw_only=True)
class Trial:
    """One chain, or one replay, in which the victim was killed once in each step of `strikes`.

    `kept` epochs of the training were in its checkpoint at the strike, and a further attempt began with epoch `went_on`. `load` is how
    many processes wanted one of the machine's processors at each strike.
    """

    victim: str
    strikes: dict[str, float] = field(default_factory=dict)
    again: dict[str, float] = field(default_factory=dict)
    load: list[float] = field(default_factory=list)
    kept: int = 0
    went_on: int | None = None
    wrong: list[str] = field(default_factory=list)
    seconds: float = 0.0


@contextmanager
def postgres(world: World, folder: Path) -> Iterator[Ground]:
    """PostgreSQL, four components, Dask and S3, each a process that is started again."""
    screen = Screen(io.StringIO())
    with screen, rehearse.topology(world, folder, read_settings(os.environ), screen, Manager) as (place, rest, every):
        assert isinstance(place.keeper, Manager)
        yield Ground(keeper=place.keeper, rest=rest, environment=every[0].environment | place.base)


@contextmanager
def sqlite(world: World, folder: Path) -> Iterator[Ground]:
    """`cubecast airflow ui` on one box, started again when it ends."""
    box = Box(world.name, folder)
    try:
        yield Ground(keeper=box, rest=box.rest, environment=box.environment)
    finally:
        box.end()


def step_process(ground: Ground, step: str) -> int | None:
    """The process of a step that runs now."""
    return next((pid for pid in ground.keeper.processes if words_of(pid)[1:4] == ["-m", "pipeline", step]), None)


def request_of(pid: int) -> list[str]:
    """What a step's process was asked, whoever started it."""
    words = words_of(pid)
    return words[: words.index("--die-with-parent")] if "--die-with-parent" in words else []


def started_at(pid: int) -> float:
    """When a process was started, in seconds since the machine was; 0 where it has ended."""
    with suppress(OSError):
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]) / os.sysconf("SC_CLK_TCK")
    return 0.0


def strike(ground: Ground, victim: str, step: int) -> None:
    """Kill the victim while a step runs."""
    if victim not in ("step", "supervisor"):
        ground.keeper.kill(victim)
        return
    with suppress(ProcessLookupError, FileNotFoundError):
        os.kill(step if victim == "step" else parent_of(parent_of(step)), signal.SIGKILL)


def learned(ground: Ground, world: World, step: int) -> int:
    """How many epochs a training has kept, once it has kept one; 0 where it ended before."""
    checkpoints = Checkpoints(store_of(ground), world.name)
    while words_of(step):
        if found := checkpoints.running():
            return found[0].epoch
        time.sleep(0.05)
    return 0


def store_of(ground: Ground) -> ObjectStore:
    """The store that the steps write to."""
    os.environ.update({k: v for k, v in ground.environment.items() if k.startswith(("AWS_", "CUBECAST_"))})
    return ObjectStore(ground.environment["CUBECAST_STORE"])


def first_epoch(ground: Ground, world: World, since: str) -> int | None:
    """With which epoch a further attempt of a training began; None where none had to train: that of the first went on to its end."""
    [run] = ground.rest.get(f"/dags/{world.name}__training/dagRuns?run_after_gte={since}")["dag_runs"]
    place = f"/dags/{world.name}__training/dagRuns/{quote(run['dag_run_id'])}/taskInstances/train"
    tries = ground.rest.get(place)["try_number"]
    began = []
    for number in range(2, tries + 1):
        lines = json.dumps(ground.rest.get(f"{place}/logs/{number}?full_content=true")["content"])
        if "pipeline train" not in lines:
            raise StoreError(asked=f"the log of attempt {number} of train", found="not its lines", mend="ask again")
        began += [int(epoch) for epoch in re.findall(r"begin epoch (\d+) of", lines)[:1]]
    return min(began, default=None)


def follow(ground: Ground, world: World, trial: Trial, steps: tuple[str, ...], over: Any, chance: random.Random) -> None:
    """Strike once in each of the steps, and wait until `over` says that all runs are a success."""
    began, waiting, struck = time.monotonic(), list(steps), {}
    while time.monotonic() < began + PATIENCE:
        ground.keeper.check()
        if waiting and (found := step_process(ground, waiting[0])):
            step = waiting.pop(0)
            if step == "train":
                trial.kept = learned(ground, world, found)
            else:
                time.sleep(chance.uniform(0, 1.5))
            asked = request_of(found)
            strike(ground, trial.victim, found)
            struck[step] = (asked, time.clock_gettime(time.CLOCK_BOOTTIME))
            trial.strikes[step] = round(time.monotonic() - began, 1)
            trial.load.append(round(os.getloadavg()[0], 1))
        for step, (asked, at) in list(struck.items()):
            later = [started_at(pid) for pid in ground.keeper.processes if asked and request_of(pid) == asked]
            if again := [moment for moment in later if moment > at]:
                trial.again[step] = round(min(again) - at, 1)
                del struck[step]
        with suppress(OSError, StoreError, ValueError):
            states = over()
            if "failed" in states:
                trial.wrong.append(f"{trial.victim}: a run failed: {states}")
                return
            if states and set(states) == {"success"}:
                trial.seconds = round(time.monotonic() - began)
                trial.wrong += [f"{trial.victim}: {step} was never struck" for step in waiting]
                return
        time.sleep(0.1)
    trial.wrong.append(f"{trial.victim}: not over in {PATIENCE:.0f} s, {waiting} not struck")


def chain(ground: Ground, world: World, victim: str, issue_time: datetime, chance: random.Random) -> Trial:
    """One forecast from the feeds on."""
    trial, name = Trial(victim=victim), world.name
    conf = {"issue_time": format_instant(issue_time), "now": format_instant(issue_time)}
    first = patient(lambda: ground.rest.post(f"/dags/{name}__ingest/dagRuns", {"logical_date": None, "conf": conf}))
    since = quote(first["run_after"])

    def over() -> list[str]:
        found = [ground.rest.get(f"/dags/{name}__{dag}/dagRuns?run_after_gte={since}")["dag_runs"] for dag in DAGS]
        states = [run["state"] for runs in found for run in runs]
        return states if all(found) else [*states, "running"]

    follow(ground, world, trial, STRUCK, over, chance)
    trial.went_on = patient(lambda: first_epoch(ground, world, since))
    if trial.went_on is not None and trial.went_on <= trial.kept:
        trial.wrong.append(f"{victim}: {trial.kept} epochs were kept, and the training went on with epoch {trial.went_on}")
    trial.wrong += [f"{victim}: {said}" for said in once_each(store_of(ground).root, world, issue_time, issue_time)]
    return trial


def replay(ground: Ground, world: World, victim: str, day: datetime, chance: random.Random) -> Trial:
    """The forecasts of a day, again."""
    trial = Trial(victim=victim)
    asked = {"logical_date": None, "conf": {"issue_time": format_instant(day), "mode": "reforecast", "every": "2h"}}
    run = patient(lambda: ground.rest.post(f"/dags/{world.name}__replay/dagRuns", asked))
    path = f"/dags/{world.name}__replay/dagRuns/{quote(run['dag_run_id'])}"
    follow(ground, world, trial, ("replay",), lambda: [ground.rest.get(path)["state"]], chance)
    settings = read_settings(os.environ | ground.environment)
    lanes = LaneStore(settings, world.name)
    for lane in lanes.lane_ids():
        forecasts = ForecastStore(ObjectStore(lanes.url(lane)), world.name)
        found = [t for t in forecasts.issue_times() if to_seconds(day) < t <= to_seconds(day + timedelta(days=1))]
        twice = [t for t in found if len(forecasts.revisions(t)) != 1]
        if len(found) < 11 or twice:
            trial.wrong.append(f"{victim}: {len(found)} issue times of {day:%Y-%m-%d} in lane {lane}, {len(twice)} more than once")
    return trial


def main(backend: str, world_file: str, folder: str, victims: list[str]) -> None:
    """Strike down each victim in each step, and say what came of it."""
    world, chance = load_world(world_file), random.Random(1)
    Path(folder).mkdir(parents=True, exist_ok=True)
    recorded = world.recorded
    assert recorded is not None
    with {"SQLite": sqlite, "PostgreSQL": postgres}[backend](world, Path(folder)) as ground:
        for number, victim in enumerate(victims):
            issue_time = recorded.as_of - timedelta(hours=2 * (len(victims) - number))
            day = recorded.as_of.replace(hour=0) - timedelta(days=1 + number)
            for trial, moment in ((chain, issue_time), (replay, day)):
                print(json.dumps(trial(ground, world, victim, moment, chance).__dict__), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:4], sys.argv[4:])

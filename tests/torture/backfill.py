"""A backfill of `replay` beside a live schedule: is every forecast there, is nobody live woken, is the live cadence kept?

python -m tests.torture.backfill WORLD_FILE FOLDER DAYS     (in a copy of the project: one line of JSON)
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pipeline.api import World, load_world
from pipeline.contracts.times import format_instant, from_seconds, to_seconds
from pipeline.settings import read_settings
from pipeline.stores.forecasts import ForecastStore
from pipeline.stores.lanes import LaneStore
from pipeline.stores.objects import ObjectStore
from tests.torture.managed import Box, patient
from tests.world import tiny_world

CADENCE = timedelta(minutes=5)
"""How often the live world forecasts."""
SETTLED = 2
"""Days before today in which scores may still change, as what was late may come."""
HISTORY = 7
"""Days before those that are asked for: what the first model learns from."""
PATIENCE = 3600.0
_SCHEDULE = """[schedule]
ingest = "*/10 * * * *"
issue = "*/5 * * * *"
train = "0 0 1 1 *"
hold = "1s"
patience = "1s"
poll = "15s"

"""


@dataclass(kw_only=True)
class Trial:
    """What came of it."""

    asked: int = 0
    present: int = 0
    events: int = 0
    woken: int = 0
    due: int = 0
    on_time: int = 0
    late: int = 0
    longest: float = 0.0
    changed: int = 0
    seconds: int = 0
    wrong: list[str] = field(default_factory=list)


def live_world(folder: Path, *, days: int) -> Path:
    """Writes `tiny.toml`: the tiny world as a live one, its feeds from before the days of the backfill until tomorrow."""
    path = tiny_world(folder, days=days + HISTORY + SETTLED + 2, delivery="1h", faults=False)
    text = path.read_text()
    recorded = text[text.index("[recorded]") : text.index("[sources.weather]")]
    path.write_text(text.replace(recorded, _SCHEDULE).replace("2025-10-22", f"{_first(days) - timedelta(days=HISTORY):%Y-%m-%d}"))
    return path


def _first(days: int) -> datetime:
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return today - timedelta(days=days + SETTLED)


def airflow(environment: Mapping[str, str], *words: str) -> str:
    """What a command of Airflow's own says, tried again while SQLite is locked or the backfill before is not yet put away."""
    for _ in range(40):
        argv = [sys.executable, "-m", "pipeline", "airflow", "cli", "--", *words]
        done = subprocess.run(argv, env=environment, capture_output=True, text=True)
        if done.returncode == 0:
            return done.stdout
        if "AlreadyRunningBackfill" not in done.stderr and "database is locked" not in done.stderr:
            break
        time.sleep(3)
    raise AssertionError(done.stdout + done.stderr)


def backfill(box: Box, world: World, first: datetime, days: int, behaviour: str) -> list[str]:
    """Ask for the replays as an operator does, and wait; the states of all its runs."""
    name = f"{world.name}__replay"
    conf = {"every": "1h", "retrain": "weekly", "since": format_instant(first)}
    span = ("--from-date", f"{first:%Y-%m-%d}", "--to-date", f"{first + timedelta(days=days - 1):%Y-%m-%d}")
    words = ("backfill", "create", "--dag-id", name, *span, "--max-active-runs", "4", "--reprocess-behavior", behaviour)
    airflow(box.environment, *words, "--dag-run-conf", json.dumps(conf))
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        time.sleep(2)
        runs = patient(lambda: box.rest.get(f"/dags/{name}/dagRuns?run_type=backfill&limit=100"))["dag_runs"]
        states = [run["state"] for run in runs]
        over = patient(lambda: box.rest.get(f"/backfills?dag_id={name}"))["backfills"]
        if all(state in ("success", "failed") for state in states) and all(one["completed_at"] for one in over):
            return states
    raise AssertionError(f"not over in {PATIENCE:.0f} s: {states}")


def lane_files(store: Path, world: World) -> dict[str, str]:
    """Every file of the world's replays with the digest of its content."""
    files = (path for path in (store / "replays" / world.name).rglob("*") if path.is_file() and path.suffix != ".lock")
    return {str(path.relative_to(store)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def present(store: Path, world: World, asked: list[int]) -> Iterator[int]:
    """The issue times that were asked for and have one forecast in the lane of the backfill."""
    lanes = LaneStore(read_settings({"CUBECAST_STORE": str(store)}), world.name)
    for lane in (found for found in lanes.lane_ids() if lanes.record(found).retrain == "weekly"):
        forecasts = ForecastStore(ObjectStore(lanes.url(lane)), world.name)
        there = set(forecasts.issue_times())
        yield from (moment for moment in asked if moment in there and len(forecasts.revisions(moment)) == 1)


def live_runs(box: Box, world: World, since: datetime, until: datetime) -> dict[datetime, dict[str, Any]]:
    """The forecasts that the schedule made in a span, by the tick that they are of."""
    asked = f"run_type=scheduled&run_after_gte={quote(format_instant(since))}&run_after_lte={quote(format_instant(until))}&limit=500"
    runs = patient(lambda: box.rest.get(f"/dags/{world.name}__forecast/dagRuns?{asked}"))["dag_runs"]
    return {datetime.fromisoformat(run["run_after"]): run for run in runs}


def judge_cadence(box: Box, world: World, store: Path, since: datetime, until: datetime, trial: Trial) -> None:
    """Count the ticks of a span whose forecast was there before the next one, and those whose was not."""
    hour, span = since.replace(minute=0, second=0, microsecond=0), (until - since) // CADENCE + timedelta(hours=1) // CADENCE
    ticks = [moment for n in range(span + 2) if since <= (moment := hour + n * CADENCE) <= until]
    while datetime.now(UTC) < ticks[-1] + CADENCE:
        time.sleep(2)
    runs = live_runs(box, world, since, until)
    issued = set(ForecastStore(ObjectStore(str(store)), world.name).issue_times())
    for moment in ticks:
        run = runs.get(moment)
        took = (datetime.fromisoformat(run["end_date"]) - moment).total_seconds() if run and run["end_date"] else float("inf")
        there = run is not None and run["state"] == "success" and to_seconds(moment) in issued
        trial.on_time += there and took <= CADENCE.total_seconds()
        trial.late += there and took > CADENCE.total_seconds()
        trial.longest = max(trial.longest, round(took, 1)) if there else trial.longest
        if not there:
            trial.wrong.append(f"no live forecast of {format_instant(moment)}: {run and run['state']}")
    trial.due = len(ticks)
    trial.wrong += [f"{trial.late} live forecasts later than the next tick"] if trial.late else []


def judge_events(box: Box, world: World, trial: Trial) -> None:
    """Count what the replays announced, and the runs that it has woken."""
    events = patient(lambda: box.rest.get(f"/assets/events?source_dag_id={world.name}__replay&limit=500"))["asset_events"]
    woken = [run["dag_id"] for event in events for run in event["created_dagruns"]]
    trial.events, trial.woken = len(events), len(woken)
    trial.wrong += [f"woken by a replay: {dag}" for dag in woken]


def main(world_file: str, folder: str, days: int) -> Trial:
    """The trial."""
    world, trial, began = load_world(world_file), Trial(), time.monotonic()
    store, first = Path(folder) / "store", _first(days)
    environment = os.environ | {"CUBECAST_STORE": str(store), "CUBECAST_WORLDS": world.name}
    now = datetime.now(UTC)
    tick = now.replace(second=0, microsecond=0) - timedelta(minutes=now.minute % 5)
    chain = [sys.executable, "-m", "pipeline", "run", "--world", world.name, "--as-of", format_instant(tick)]
    subprocess.run(chain, env=environment, check=True, stdout=subprocess.DEVNULL)
    asked = [to_seconds(first) + hour * 3600 for hour in range(24 * days)]
    box = Box(world.name, Path(folder))
    try:
        since = datetime.now(UTC)
        states = backfill(box, world, first, days, "none")
        until = max(datetime.now(UTC), since + 2 * CADENCE)
        trial.wrong += [f"a replay ended as {state}" for state in states if state != "success"]
        if len(states) != days:
            trial.wrong.append(f"{len(states)} runs of {days} days")
        found = set(present(store, world, asked))
        trial.asked, trial.present = len(asked), len(found)
        trial.wrong += [f"not there, or more than once: {format_instant(from_seconds(t))}" for t in asked if t not in found]
        before = lane_files(store, world)
        again = [state for behaviour in ("none", "completed") for state in backfill(box, world, first, days, behaviour)]
        trial.wrong += [f"a replay ended as {state} when asked again" for state in again if state != "success"]
        after = lane_files(store, world)
        changed = [name for name in {*before, *after} if before.get(name) != after.get(name)]
        trial.changed = len(changed)
        trial.wrong += [f"changed by the second backfill: {name}" for name in sorted(changed)[:5]]
        judge_cadence(box, world, store, since, until, trial)
        judge_events(box, world, trial)
    finally:
        box.end()
    trial.seconds = round(time.monotonic() - began)
    return trial


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], sys.argv[2], int(sys.argv[3])).__dict__))

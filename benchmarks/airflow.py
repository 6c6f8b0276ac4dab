"""What does Airflow cost: `make forecast`, parsing, starting, memory, a chain of DAG runs beside `cubecast run`, pages, backfills?

Runs the world `synthetic` under an Airflow of its own and, on a copy of the same store, as one command. `python -m benchmarks.airflow`
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Annotated, Any
from unittest.mock import patch
from urllib.parse import quote

import typer

from benchmarks.measure import memory_of, peaks, setting
from pipeline.api import load_world
from pipeline.contracts.times import format_instant
from pipeline.local_airflow.follow import DAGS
from pipeline.local_airflow.rest import Rest
from pipeline.settings import read_settings
from pipeline.stores.forecasts import ForecastStore
from pipeline.stores.lanes import LaneStore
from pipeline.stores.objects import ObjectStore
from pipeline.stores.receipts import Receipts
from pipeline.stores.scores import ScoreStore

WORLD = "synthetic"
HOURS = 8760
STEPS = ("land", "observe", "build_cube", "predict", "publish", "verify")
Rows = list[tuple[str, str]]
WANTED = """Wanted: parse under 1 s, overhead at most 60 s, Airflow up in 30 s and under 1 GB when it is, the grid under 1 s. `make forecast` is measured on an empty
store, with everything installed; the peak of its memory is that of Airflow and of the steps that run under it, what processes share counted once."""
PARSE = """
import sys, time
from airflow.dag_processing.dagbag import DagBag
wall, processor = time.monotonic(), time.process_time()
bag = DagBag("dags")
print("RESULT", len(bag.dags), time.monotonic() - wall, time.process_time() - processor, len(bag.import_errors))
"""


class Airflow:
    """`cubecast airflow ui` on a store, timed and weighed."""

    def __init__(self, store: Path) -> None:
        began = time.monotonic()
        words = [sys.executable, "-m", "pipeline", "airflow", "ui", "--world", WORLD]
        self.process = subprocess.Popen(words, env=environment(store), stdout=subprocess.PIPE, text=True, start_new_session=True)
        self.address = next(line.split(" up at ")[1].strip() for line in self.process.stdout or () if " up at " in line)
        self.seconds = time.monotonic() - began
        password = json.loads((store / "airflow" / "passwords.json").read_text())["admin"]
        self.rest = Rest(self.address, "admin", password)

    def megabytes(self) -> float:
        """Memory of all its processes, what they share counted once."""
        return memory_of(self.process.pid) / 1e6

    def end(self) -> None:
        """End all of it."""
        self.process.terminate()
        self.process.wait(60)


def environment(store: Path) -> dict[str, str]:
    return os.environ | {"CUBECAST_STORE": str(store), "CUBECAST_WORLDS": WORLD}


@contextlib.contextmanager
def running(store: Path) -> Iterator[Airflow]:
    airflow = Airflow(store)
    try:
        yield airflow
    finally:
        airflow.end()


def one_command(store: Path) -> Rows:
    """What `make forecast` does once everything is installed, on an empty store."""
    words = [sys.executable, "-m", "pipeline", "airflow", "forecast", "--world", WORLD]
    began, up = time.monotonic(), None
    with peaks(every=2.0) as found, subprocess.Popen(words, env=environment(store), stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout or ():
            up = time.monotonic() - began if up is None and " up at " in line else up
        code = process.wait()
    if code or up is None:
        raise SystemExit(f"make forecast ended with {code}")
    return [
        ("`make forecast`, until Airflow is healthy with all DAGs parsed", f"{up:.1f} s"),
        ("`make forecast`, all nine steps and the end of every process", f"{time.monotonic() - began:.1f} s"),
        ("`make forecast`, peak memory of all its processes, the steps among them", f"{found[process.pid] / 1e6:.0f} MB"),
    ]


def parse() -> Rows:
    """All DAG files of all worlds, as the dag-processor reads them."""
    with tempfile.TemporaryDirectory() as home:
        env = os.environ | {"AIRFLOW_HOME": home, "AIRFLOW__CORE__LOAD_EXAMPLES": "False", "PYTHONPATH": str(Path.cwd())}
        found = []
        for _ in range(3):
            words = [sys.executable, "-W", "ignore", "-c", PARSE]
            out = subprocess.run(words, env=env, capture_output=True, text=True, check=True).stdout
            found.append([float(word) for word in out.partition("RESULT")[2].split()])
    dags, wall, processor, errors = (statistics.median(column) for column in zip(*found, strict=True))
    if errors:
        raise SystemExit("the DAG files do not parse")
    return [(f"parse of all {dags:.0f} DAGs", f"{wall:.2f} s ({processor:.2f} s of processor)")]


def chain(rest: Rest, issue_time: datetime, now: datetime) -> float:
    """Seconds from the trigger of ingest to the end of monitoring."""
    began = time.monotonic()
    since = format_instant(datetime.now(UTC) - timedelta(seconds=1))
    conf = {"issue_time": format_instant(issue_time), "now": format_instant(now)}
    rest.post(f"/dags/{WORLD}__ingest/dagRuns", {"logical_date": None, "conf": conf})
    for name in DAGS:
        wait(partial(succeeded, rest, name, since), f"{name} of {issue_time}")
    return time.monotonic() - began


def succeeded(rest: Rest, name: str, since: str) -> bool:
    runs = rest.get(f"/dags/{WORLD}__{name}/dagRuns?run_after_gte={quote(since)}")["dag_runs"]
    if any(run["state"] == "failed" for run in runs):
        raise SystemExit(f"{name} failed")
    return [run["state"] for run in runs] == ["success"]


def wait(condition: Callable[[], bool], what: str, seconds: float = 400) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit(f"{what} did not come about in {seconds:.0f} s")
        time.sleep(0.25)


def command(store: Path, issue_time: datetime) -> float:
    """Seconds of `cubecast run`."""
    began = time.monotonic()
    words = [sys.executable, "-m", "pipeline", "run", "--world", WORLD, "--as-of", format_instant(issue_time)]
    subprocess.run(words, env=environment(store), check=True, capture_output=True)
    return time.monotonic() - began


def backfill(airflow: Airflow, store: Path, last: datetime, days: int) -> Rows:
    """Replays of some days, hour by hour, by Airflow's own backfill; days that were not replayed before, up to the last."""
    path = f"/dags/{WORLD}__replay/dagRuns?run_type=backfill&limit=100"
    # A second one is refused until the scheduler has looked whether the first is over, which it does every half minute.
    wait(
        lambda: all(each["completed_at"] for each in airflow.rest.get(f"/backfills?dag_id={WORLD}__replay")["backfills"]),
        "the backfill's end",
    )
    runs_before, issued_before = len(airflow.rest.get(path)["dag_runs"]), issue_times(store)
    words = ["backfill", "create", "--dag-id", f"{WORLD}__replay", "--from-date", f"{last - timedelta(days=days - 1):%Y-%m-%d}"]
    words += ["--to-date", f"{last:%Y-%m-%d}", "--max-active-runs", "4", "--dag-run-conf", json.dumps({"mode": "reforecast"})]
    asked = [sys.executable, "-m", "pipeline", "airflow", "cli", "--", *words]
    subprocess.run(asked, env=environment(store), check=True, capture_output=True)
    began = time.monotonic()

    def over() -> bool:
        runs = airflow.rest.get(path)["dag_runs"]
        if any(run["state"] == "failed" for run in runs):
            raise SystemExit("a replay failed")
        return len(runs) >= runs_before + days and all(run["state"] == "success" for run in runs)

    wait(over, f"the backfill of {days} days", seconds=400 + 120 * days)
    seconds, issued = time.monotonic() - began, issue_times(store) - issued_before
    what = f"backfill of {days} day{'s' * (days > 1)}, {issued} issue times, a run a day, two at once"
    return [(what, f"{seconds:.0f} s, {60 * issued / seconds:.0f} issue times a minute")]


def issue_times(store: Path) -> int:
    """How many forecasts of the past the store holds."""
    lanes = LaneStore(read_settings(environment(store)), WORLD)
    return sum(len(ForecastStore(ObjectStore(lanes.url(lane)), WORLD).issue_times()) for lane in lanes.lane_ids())


def pages(airflow: Airflow, store: Path, picture: Path | None) -> Rows:
    """The cockpit with a year of hourly issue times, and a forecast's page, in Chromium."""
    from playwright.sync_api import sync_playwright

    token = airflow.rest.sign_in()
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    page = next(iter(sorted((store / "forecasts" / WORLD).rglob("*.html"))))
    rows = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        context = browser.new_context(viewport={"width": 1300, "height": 1000})
        context.add_cookies([{"name": "_token", "value": token, "url": airflow.address}])
        tab = context.new_page()
        last = int(newest(store).timestamp()) + 1
        asked = f"{airflow.address}/cubecast/api/worlds/{WORLD}/grid?days=366&last={last}&columns=120"
        rows.append(("the grid of a year (8,760 issue times), answered", timed(lambda: context.request.get(asked).body())))
        cockpit = f"{airflow.address}/cubecast/?dag_id={WORLD}__forecast"
        rows.append(
            ("the cockpit, until its last panel is drawn", timed(lambda: (tab.goto(cockpit), tab.wait_for_selector("#storage table"))))
        )
        if picture:
            tab.screenshot(path=picture, full_page=True)
        rows.append(
            (f"a forecast's page ({page.stat().st_size / 1e6:.1f} MB), loaded", timed(lambda: tab.goto(page.as_uri(), wait_until="load")))
        )
        browser.close()
    return rows


def timed(action: Callable[[], Any]) -> str:
    found = []
    for _ in range(5):
        began = time.monotonic()
        action()
        found.append(time.monotonic() - began)
    return f"{statistics.median(found):.2f} s (first {found[0]:.2f} s)"


def newest(store: Path) -> datetime:
    return datetime.fromtimestamp(ScoreStore(ObjectStore(str(store)), WORLD).issue_times(newest=1)[-1], UTC)


def fill(store: Path) -> None:
    """A year of hourly receipts before those that are there, written without waiting for the disk."""
    with patch("os.fsync"):
        _fill(store)


def _fill(store: Path) -> None:
    receipts, last = Receipts(ObjectStore(str(store))), newest(store)
    for hour in range(1, HOURS):
        as_of = last - timedelta(hours=hour)
        for step in STEPS:
            receipt = {"step": step, "world": WORLD, "as_of": format_instant(as_of), "outcome": "done", "details": {}}
            receipts.save(receipt, as_of=as_of, source=None, recorded_time=as_of, seconds=1.0, attempt=f"run-{hour}:1")
    receipts.close_months(WORLD, last)


def measure(store: Path, twin: Path, days: int, picture: Path | None) -> Iterator[tuple[str, str]]:
    world = load_world(WORLD)
    if world.recorded is None:
        raise SystemExit("a recorded world")
    first, second, now = world.recorded.as_of - timedelta(hours=12), world.recorded.as_of, world.recorded.end
    today = second.replace(hour=0)
    yield from parse()
    yield from one_command(store.with_name("command"))
    with running(store) as airflow:
        yield "first start, until healthy with all DAGs parsed", f"{airflow.seconds:.1f} s"
        yield "memory of all its processes then", f"{airflow.megabytes():.0f} MB"
        yield "first chain of nine steps, from the feeds on", f"{chain(airflow.rest, first, now):.1f} s"
        shutil.copytree(store, twin, ignore=shutil.ignore_patterns("airflow"))
        dags = chain(airflow.rest, second, now)
        yield "second chain, twelve hours later, scheduler warm", f"{dags:.1f} s"
        alone = command(twin, second)
        yield "the same as one command, `cubecast run`", f"{alone:.1f} s"
        yield "overhead of the chain over the command", f"{dags - alone:.1f} s"
        yield from backfill(airflow, store, today, 1)
        if days:
            yield from backfill(airflow, store, today - timedelta(days=1), days)
        yield "memory of all its processes in the end", f"{airflow.megabytes():.0f} MB"
    fill(store)
    with running(store) as airflow:
        yield "start again", f"{airflow.seconds:.1f} s"
        yield from pages(airflow, store, picture)


def main(
    days: Annotated[int, typer.Option(help="Days of the second backfill, before the day of the first.")] = 7,
    note: Annotated[str, typer.Option(help="What else the machine did meanwhile.")] = "otherwise quiet",
    out: Annotated[Path | None, typer.Option(help="File for the table.")] = None,
    picture: Annotated[Path | None, typer.Option(help="File for a picture of the cockpit.")] = None,
) -> None:
    """Print each figure as it comes, then write the table."""
    where, began = setting("apache-airflow"), time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        rows = []
        for row in measure(Path(folder) / "store", Path(folder) / "twin", days, picture):
            print(f"{row[0]}: {row[1]}", flush=True)
            rows.append(row)
    minutes = (time.monotonic() - began) / 60
    head = f"Measured with `python -m benchmarks.airflow --days {days}` ({minutes:.0f} minutes): the world `{WORLD}`, SQLite, four tasks at once. "
    head += f"{where} ({note})."
    table = ["| what | measured |", "|---|---|", *(f"| {what} | {found} |" for what, found in rows)]
    lines = ["# What Airflow costs", "", head, "", *table, "", WANTED]
    if out:
        out.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)

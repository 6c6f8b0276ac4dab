"""What does a replay cost, and what does walking forward gain over one fixed model?

On one store: days of hourly issue times with daily retraining, from a world never trained; then the same issue times with the first
model of that walk throughout. Prints wall seconds, processor seconds, issue times a minute and bytes of both, and per target the errors of
what was published, of the joint model and of each baseline. `python -m benchmarks.replay --world aarhus --first 2014-09-16T00:00Z --days 14`
With `--rate-only` one model of one epoch is trained, and the replay with it throughout is measured: the rate does not depend on its skill.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import typer

from pipeline.contracts.times import format_instant, parse_instant
from pipeline.contracts.world_files import load_world
from pipeline.settings import read_settings
from pipeline.steps.replayed import show_lane
from pipeline.steps.walk import adopt
from pipeline.stores.lanes import LaneStore
from pipeline.stores.objects import ObjectStore
from pipeline.stores.registry import Registry


def command(store: str, *words: str) -> dict[str, Any]:
    """One command in a process of its own: its receipt, and what it and its processes cost."""
    began = time.monotonic()
    child = subprocess.Popen(
        [sys.executable, "-m", "pipeline", *words, "--json"], stdout=subprocess.PIPE, text=True, env=os.environ | {"CUBECAST_STORE": store}
    )
    out = child.stdout.read() if child.stdout else ""
    _, status, usage = os.wait4(child.pid, 0)
    if status:
        raise SystemExit(f"{words[0]} failed with status {os.waitstatus_to_exitcode(status)}")
    receipt = json.loads(out.strip().splitlines()[-1])
    return {"wall": time.monotonic() - began, "processor": usage.ru_utime + usage.ru_stime, "receipt": receipt}


def stored_bytes(folder: str) -> int:
    """Bytes of all files below a folder."""
    return sum(p.stat().st_size for p in Path(folder).rglob("*") if p.is_file())


def let_live(store: str, world_name: str, lane: str) -> None:
    """Make the first champion of a lane the live one, as of the same instant."""
    settings = read_settings({**os.environ, "CUBECAST_STORE": store})
    own = Registry(ObjectStore(LaneStore(settings, world_name).url(lane)), world_name)
    first = min(parse_instant(p.as_of) for p in own.promotions())
    adopt(own, Registry(ObjectStore(settings.store), world_name), first)


def cost_table(rows: list[tuple[str, dict[str, Any], int]]) -> list[str]:
    """One line per replay."""
    lines = [
        "| replay | issue times | trainings | wall min | estimated min | processor min | issue times/min | MiB |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for name, done, size in rows:
        counts = done["receipt"]["counts"]
        rate, estimated = counts["issued"] / done["wall"] * 60, done["receipt"]["details"]["plan"]["seconds"]
        lines.append(
            f"| {name} | {counts['issued']} | {counts['trained']} | {done['wall'] / 60:.1f} | {estimated / 60:.1f} | {done['processor'] / 60:.1f} "
            f"| {rate:.0f} | {size / 2**20:.0f} |"
        )
    return lines


def score_table(walked: dict[str, Any], fixed: dict[str, Any]) -> list[str]:
    """Per target the errors of both replays and of the walk's baselines."""
    lines = ["| target | scored | walked, published | walked, joint | fixed, published | fixed, joint | best baseline (walked) |"]
    lines.append("|---|---:|---:|---:|---:|---:|---:|")
    by = {id(lane): {(r["domain"], r["variable"], r["model"]): r for r in lane["rows"] if r["lead"] == 0} for lane in (walked, fixed)}
    ours, theirs = by[id(walked)], by[id(fixed)]
    for domain, variable in sorted({key[:2] for key in ours}):
        figures = [lane[domain, variable, model]["mae"] for lane in (ours, theirs) for model in ("published", "joint")]
        rivals = {m: r["mae"] for (d, v, m), r in ours.items() if (d, v) == (domain, variable) and m not in ("published", "joint")}
        best = min(rivals, key=lambda m: rivals[m])
        shown = " | ".join(f"{figure:.4g}" for figure in figures)
        lines.append(f"| {domain} {variable} | {ours[domain, variable, 'joint']['n']:,} | {shown} | {rivals[best]:.4g} ({best}) |")
    return lines


def measure(world: str, first: str, days: int, store: str) -> str:
    """Both replays, as Markdown."""
    last = format_instant(parse_instant(first) + timedelta(days=days))
    for step in ("land", "observe", "build-cube"):
        command(store, step, "--world", world)
    asked = ("replay", "--world", world, "--from", first, "--to", last)
    walked = command(store, *asked, "--retrain", "daily")
    let_live(store, load_world(world).name, walked["receipt"]["ids"]["lane"])
    fixed = command(store, *asked)
    settings = read_settings({**os.environ, "CUBECAST_STORE": store})
    lanes = [show_lane(settings, load_world(world), done["receipt"]["ids"]["lane"]) for done in (walked, fixed)]
    sizes = [stored_bytes(lane["url"]) for lane in lanes]
    packages = ", ".join(f"{name} {version(name)}" for name in ("torch", "icechunk", "zarr", "pyarrow", "numpy"))
    return "\n".join(
        [
            f"# Replay of `{world}`",
            "",
            f"Hourly issue times from {first} to {last}, measured {datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} cores, "
            f"{platform.machine()}, Python {platform.python_version()}, {packages}",
            "",
            f"`python -m benchmarks.replay --world {world} --first {first} --days {days}`",
            "",
            *cost_table([("daily retraining", walked, sizes[0]), ("one fixed model", fixed, sizes[1])]),
            "",
            "Mean absolute error over all leads, on the same cells, scored as of label maturity:",
            "",
            *score_table(*lanes),
            "",
        ]
    )


def measure_rate(world: str, first: str, days: int, store: str) -> str:
    """The replay with one fixed model, as a table; the model is trained quickly, and only where nothing was promoted by the first."""
    last = format_instant(parse_instant(first) + timedelta(days=days))
    for step in ("land", "observe", "build-cube"):
        command(store, step, "--world", world)
    settings = read_settings({**os.environ, "CUBECAST_STORE": store})
    promoted = Registry(ObjectStore(settings.store), load_world(world).name).promotions()
    if not any(parse_instant(p.as_of) <= parse_instant(first) for p in promoted):
        for step, *more in (("train", "--set", "epochs=1"), ("evaluate",), ("promote",)):
            command(store, step, "--world", world, "--as-of", first, *more)
    done = command(store, "replay", "--world", world, "--from", first, "--to", last)
    return "\n".join(cost_table([("one fixed model", done, stored_bytes(done["receipt"]["paths"]["lane"]))]))


def main(
    world: Annotated[str, typer.Option(help="World to replay.")] = "aarhus",
    first: Annotated[str, typer.Option(help="First issue time.")] = "2014-09-16T00:00Z",
    days: Annotated[int, typer.Option(help="Days of hourly issue times.")] = 14,
    store: Annotated[str | None, typer.Option(help="A store to use; by default a fresh one.")] = None,
    out: Annotated[Path | None, typer.Option(help="File for the tables.")] = None,
    rate_only: Annotated[bool, typer.Option("--rate-only", help="Only how many issue times a minute one fixed model takes.")] = False,
) -> None:
    """Replay twice and print what it cost and what it gave."""
    with tempfile.TemporaryDirectory() as fresh:
        text = (measure_rate if rate_only else measure)(world, first, days, store or fresh)
    print(text)
    if out:
        out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)

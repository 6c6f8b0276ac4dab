"""What do the nine steps of a world cost, and how good is what comes out?

Runs each step as a child process on a fresh store, as Airflow does; prints wall seconds, processor seconds and peak memory of each,
then the held-out scores of the joint model beside every baseline. `python -m benchmarks.whole_chain --world aarhus`
With `--hours 24` a day is lived after them, as a schedule lives it: hour by hour the feeds are asked for, the cube is built, a forecast is
issued, published and all are verified; then a model is trained from the champion, judged and put to promotion. Out of this one run comes
what a GB, a forecast, a day and a node-hour cost. With `--brief` the first training is cut short: what a model from nothing costs is left out.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks.measure import setting
from pipeline.api import load_world
from pipeline.contracts.times import format_instant, parse_instant

FEEDING, LEARNING, ISSUING = ("land", "observe", "build-cube"), ("train", "evaluate", "promote"), ("predict", "publish", "verify")
BRIEF = ("--set", "epochs=1", "--set", "steps=300")
"""Of a first training that only has to give the next one a champion to go on from."""
STEPS = (*FEEDING, *LEARNING, *ISSUING)
Ran = dict[str, Any]


def run_step(step: str, world: str, as_of: str | None, store: str, *more: str) -> Ran:
    """One step in a process of its own: its receipt and what it cost."""
    command = [sys.executable, "-m", "pipeline", step, "--world", world, "--json", *more]
    if as_of and step in (*LEARNING, "predict", "publish"):
        command += ["--as-of", as_of]
    began = time.monotonic()
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | {"CUBECAST_STORE": store})
    out = child.stdout.read() if child.stdout else ""
    _, status, usage = os.wait4(child.pid, 0)
    if status:
        raise SystemExit(f"{step} failed with status {os.waitstatus_to_exitcode(status)}")
    return {
        "step": step,
        "wall": time.monotonic() - began,
        "processor": usage.ru_utime + usage.ru_stime,
        "peak_mib": usage.ru_maxrss / 1024,
        "receipt": json.loads(out.strip().splitlines()[-1]),
    }


def live(world: str, first: datetime, hours: int, store: str) -> tuple[list[Ran], list[Ran]]:
    """The hours after an issue time, each with a forecast of its own, and then a training from the champion: what each step cost."""
    hourly = []
    for hour in range(1, hours + 1):
        hourly += [run_step(step, world, format_instant(first + timedelta(hours=hour)), store) for step in (*FEEDING, *ISSUING)]
    last = format_instant(first + timedelta(hours=hours))
    before = next(ran["receipt"]["ids"]["model_id"] for ran in hourly if ran["step"] == "predict")
    trained = run_step("train", world, last, store, "--initial", before)
    return hourly, [trained, *(run_step(step, world, last, store) for step in ("evaluate", "promote"))]


def costs(world: str, nine: list[Ran], hourly: list[Ran], learning: list[Ran], store: str, *, brief: bool = False) -> str:
    """What a GB, a forecast, a day and a node-hour cost in processor seconds, as Markdown."""

    def spent(runs: list[Ran], *steps: str) -> float:
        return float(sum(run["processor"] for run in runs if run["step"] in steps))

    cube = json.loads(command(store, "cube", "info", "--world", world, "--json"))
    widest = max(cube["domains"].values(), key=lambda domain: domain["nodes"] * domain["steps"])
    nodes, span = widest["nodes"], parse_instant(widest["end"]) - parse_instant(widest["start"])
    history = nodes * span.total_seconds() / 3600
    landed, unpacked = sizes(Path(store) / "landing")
    hours, values = len(hourly) // 6, next(r["receipt"]["counts"]["values"] for r in hourly if r["step"] == "predict")
    feeding, asking, issuing = (spent(nine, *FEEDING), spent(hourly, *FEEDING) / hours, spent(hourly, *ISSUING) / hours)
    fed = feeding / (span.total_seconds() / 86400)
    cold, warm = spent(nine, *LEARNING), spent(learning, *LEARNING)
    models = {"from the champion": warm} | ({} if brief else {"from nothing": cold})
    days = [fed + 24 * (asking + issuing) + training for training in models.values()]
    stored = {name: folder_bytes(Path(store) / name) for name in ("landing", "observations", "cubes", "forecasts")}
    issued = 1 + hours
    rows = [
        ("a GB of raw text, from the feed to the cube", f"{feeding / unpacked * 1e9:.1f}", f"{feeding:.1f} s for {unpacked / 1e6:,.0f} MB, delivered as {landed / 1e6:,.0f}; at rest {stored['landing'] / 1e6:,.0f} + {stored['observations'] / 1e6:,.0f} + {stored['cubes'] / 1e6:,.0f} MB"),
        ("a node-hour of readings, from the feed to the cube", f"{feeding / history:.2g}", f"the same / {history:,.0f}: {nodes:,} nodes, {span.days} days"),
        ("an hour in which nothing new has come: land, observe, build-cube", f"{asking:.1f}", f"mean of {hours}"),
        ("a forecast, issued, published and verified", f"{issuing:.1f}", f"mean of {hours}: predict {spent(hourly, 'predict') / hours:.1f}, publish {spent(hourly, 'publish') / hours:.1f}, verify {spent(hourly, 'verify') / hours:.1f}; {stored['forecasts'] / issued / 2**20:.1f} MiB"),
        ("a forecast value", f"{issuing / values:.2g}", f"the same / {values:,}"),
        ("a model from nothing, judged", f"{cold:.0f}", f"train {spent(nine, 'train'):.0f}, evaluate {spent(nine, 'evaluate'):.0f}"),
        ("a model from the champion, judged", f"{warm:.0f}", f"train {spent(learning, 'train'):.0f}, evaluate {spent(learning, 'evaluate'):.0f}"),
        (f"a day: a day's readings, 24 forecasts, a model ({', '.join(models)})", ", ".join(f"{day:.0f}" for day in days), f"{fed:.1f} + 24 · {asking + issuing:.1f} + the model"),
        ("**a node-hour, everything included**", ", ".join(f"{day / nodes / 24:.2g}" for day in days), f"the same / {24 * nodes:,}"),
    ]  # fmt: skip
    rows = [row for row in rows if not brief or "model from nothing" not in row[0]]
    head = ["## What it costs", "", "| of what | processor s | how it comes about |", "|---|---:|---|"]
    return "\n".join([*head, *(f"| {' | '.join(row)} |" for row in rows)]) + "\n"


def sizes(landing: Path) -> tuple[int, int]:
    """Bytes of what was delivered, as it came and without gzip; the books about it aside."""
    came = unpacked = 0
    for file in (file for file in landing.glob("*/*/files/**/*") if file.is_file()):
        content = file.read_bytes()
        came += len(content)
        unpacked += int.from_bytes(content[-4:], "little") if content[:2] == b"\x1f\x8b" else len(content)
    return came, unpacked


def folder_bytes(folder: Path) -> int:
    """Bytes of all files below a folder."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def command(store: str, *words: str) -> str:
    """What a command of `cubecast` on a store prints."""
    asked = [sys.executable, "-m", "pipeline", *words]
    return subprocess.run(asked, check=True, capture_output=True, text=True, env=os.environ | {"CUBECAST_STORE": store}).stdout


def report(world: str, found: list[Ran], where: str) -> str:
    """The figures of the nine steps as Markdown."""
    lines = [
        f"# The nine steps of `{world}`",
        "",
        f"Issue time {next(r['receipt'] for r in found if r['step'] == 'predict')['as_of']}, measured {where}",
        "",
        "| step | wall s | processor s | peak MiB | counts |",
        "|---|---:|---:|---:|---|",
    ]
    for row in found:
        counts = ", ".join(f"{k} {v:,}" for k, v in list(row["receipt"]["counts"].items())[:6])
        lines.append(f"| {row['step']} | {row['wall']:.1f} | {row['processor']:.1f} | {row['peak_mib']:.0f} | {counts} |")
    wall, peak = sum(r["wall"] for r in found), max(r["peak_mib"] for r in found)
    lines.append(f"| all | {wall:.1f} | {sum(r['processor'] for r in found):.1f} | {peak:.0f} | |")
    return "\n".join(lines) + "\n"


def score_table(evaluate: dict[str, Any]) -> str:
    """Held-out mean absolute errors of every model, over all leads and lead by lead."""
    newest = max(Path(evaluate["paths"]["scorecard"]).glob("*.json"))
    rows = json.loads(newest.read_bytes())["record"]["scorecard"]["rows"]
    lines = [
        "Held-out mean absolute error, every row counted:",
        "",
        "| target | model | scored | all leads | lead by lead |",
        "|---|---|---:|---:|---|",
    ]
    for overall in (r for r in rows if r["lead"] == 0):
        same = [r for r in rows if r["lead"] and all(r[k] == overall[k] for k in ("domain", "variable", "model"))]
        leads = " ".join("–" if r["mae"] is None else f"{r['mae']:.3g}" for r in sorted(same, key=lambda r: r["lead"]))
        mae = "–" if overall["mae"] is None else f"{overall['mae']:.4g}"
        lines.append(f"| {overall['domain']} {overall['variable']} | {overall['model']} | {overall['n']:,} | {mae} | {leads} |")
    return "\n".join(lines) + "\n"


def main(
    world: Annotated[str, typer.Option(help="World to run.")] = "aarhus",
    as_of: Annotated[str | None, typer.Option(help="Issue time; default: the world's own.")] = None,
    hours: Annotated[int, typer.Option(help="Hours lived until then, one forecast each, after a first chain; 0: only that chain.")] = 0,
    brief: Annotated[bool, typer.Option("--brief", help="Cut the first training short.")] = False,
    out: Annotated[Path | None, typer.Option(help="File for the tables.")] = None,
) -> None:
    """Run all nine steps on a fresh store, and the hours after them, and print what they cost."""
    where, recorded = setting("torch", "dask", "zarr", "icechunk", "pyarrow", "numpy"), load_world(world).recorded
    last = parse_instant(as_of) if as_of else recorded.as_of if recorded else datetime.now(UTC)
    first = last - timedelta(hours=hours)
    with tempfile.TemporaryDirectory() as store:
        nine = [run_step(step, world, format_instant(first), store, *(BRIEF if brief and step == "train" else ())) for step in STEPS]
        parts = [report(world, nine, where + ("; the first training was cut short" if brief else ""))]
        if hours:
            parts.append(costs(world, nine, *live(world, first, hours, store), store, brief=brief))
        if not brief:
            parts.append(score_table(next(r["receipt"] for r in nine if r["step"] == "evaluate")))
    text = "\n".join(parts)
    print(text)
    if out:
        out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)

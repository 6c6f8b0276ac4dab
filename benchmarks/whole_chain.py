"""What do the nine steps of a world cost, and how good is what comes out?

Runs each step as a child process on a fresh store, as Airflow does; prints wall seconds, processor seconds and peak memory of each,
then the held-out scores of the joint model beside every baseline. `python -m benchmarks.whole_chain --world aarhus`
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import typer

STEPS = ("land", "observe", "build-cube", "train", "evaluate", "promote", "predict", "publish", "verify")


def run_step(step: str, world: str, as_of: str | None, store: str) -> dict[str, Any]:
    """One step in a process of its own: its receipt and what it cost."""
    command = [sys.executable, "-m", "pipeline", step, "--world", world, "--json"]
    if as_of and step not in ("land", "observe", "build-cube", "verify"):
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


def report(world: str, found: list[dict[str, Any]]) -> str:
    """The figures as Markdown."""
    packages = ", ".join(f"{name} {version(name)}" for name in ("torch", "dask", "zarr", "icechunk", "pyarrow", "numpy"))
    lines = [
        f"# The nine steps of `{world}`",
        "",
        f"Issue time {next(r['receipt'] for r in found if r['step'] == 'predict')['as_of']}, measured {datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}, {packages}",
        "",
        "| step | wall s | processor s | peak MiB | counts |",
        "|---|---:|---:|---:|---|",
    ]
    for row in found:
        counts = ", ".join(f"{k} {v:,}" for k, v in list(row["receipt"]["counts"].items())[:6])
        lines.append(f"| {row['step']} | {row['wall']:.1f} | {row['processor']:.1f} | {row['peak_mib']:.0f} | {counts} |")
    wall, peak = sum(r["wall"] for r in found), max(r["peak_mib"] for r in found)
    lines.append(f"| all | {wall:.1f} | {sum(r['processor'] for r in found):.1f} | {peak:.0f} | |")
    return "\n".join(lines) + "\n\n" + score_table(next(r["receipt"] for r in found if r["step"] == "evaluate"))


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
    out: Annotated[Path | None, typer.Option(help="File for the table.")] = None,
) -> None:
    """Run all nine steps on a fresh store and print what they cost."""
    with tempfile.TemporaryDirectory() as store:
        text = report(world, [run_step(step, world, as_of, store) for step in STEPS])
    print(text)
    if out:
        out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)

"""How fast is a node's newest forecast answered over HTTP?

`cubecast serve` on a made-up world of 500 nodes, asked by wrk for random nodes: alone, and while a newer forecast is published every
few seconds. Beside it, in the same run: a service as one writes it first (FastAPI that reads the published Parquet for each request),
static files by Python's http.server, and the bound: uvicorn alone, answering equal bytes without looking.
`python -m benchmarks.serving`
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from pipeline.contracts.forecasts import QUANTILES, DomainForecast, Forecast
from pipeline.publishing.tables import forecast_table, parquet_bytes
from pipeline.stores.forecasts import ForecastStore
from pipeline.stores.objects import ObjectStore
from pipeline.stores.published import PublishedStore

ISSUE_TIME, NODES, LEADS = 1412092800, 500, 12
WORLD = """
name = "served"
title = "A made-up city"
start = "2014-08-01T00:00Z"
[sources.made]
adapter = "csv"
[sources.made.variables]
flow = { unit = "count" }
speed = { unit = "km/h" }
[domains.traffic]
title = "Roads"
clock = { step = "5min" }
context = 12
horizon = 12
[domains.traffic.variables]
flow = { source = "made" }
speed = { source = "made" }
"""
PATH = "/worlds/served/forecasts/latest/traffic/n"
LUA = """
local n = 1
request = function()
  n = (n * 1103515245 + 12345) % 2147483648
  return wrk.format("GET", "{path}" .. (n % {nodes}) .. "{suffix}")
end
done = function(summary, latency, requests)
  local e = summary.errors
  io.write(string.format('{{"requests": %d, "microseconds": %d, "p50": %f, "p99": %f, "worst": %f, "bytes": %d, "faults": %d}}\\n', summary.requests,
    summary.duration, latency:percentile(50), latency:percentile(99), latency.max, summary.bytes, e.connect + e.read + e.write + e.status + e.timeout))
end
"""
BARE = """
import sys, uvicorn
body = open(sys.argv[1], "rb").read()
head = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
async def app(scope, receive, send):
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": head})
        await send({"type": "http.response.body", "body": body})
uvicorn.run(app, port=int(sys.argv[2]), log_level="warning", access_log=False)
"""
USUAL = """
import sys, uvicorn, pyarrow.parquet
from fastapi import FastAPI
app = FastAPI()
@app.get("/worlds/served/forecasts/latest/traffic/{node}")
def node(node: str):
    return {"rows": pyarrow.parquet.read_table(sys.argv[1], filters=[("node", "==", node)]).to_pylist()}
uvicorn.run(app, port=int(sys.argv[2]), log_level="warning", access_log=False)
"""


def made_forecast(number: int) -> Forecast:
    """The forecast of one issue time."""
    random = np.random.default_rng(number)
    valid = ISSUE_TIME + 300 * number + 300 * np.arange(1, LEADS + 1, dtype=np.int64)
    quantiles = np.sort(random.normal(50, 10, (LEADS, NODES, 2, len(QUANTILES))).astype(np.float32), axis=-1)
    domain = DomainForecast(
        domain="traffic",
        variables=("flow", "speed"),
        units=("count", "km/h"),
        node_ids=tuple(f"n{i}" for i in range(NODES)),
        valid_time_L=valid,
        lead_time_L=valid - ISSUE_TIME - 300 * number,
        quantiles_LNVQ=quantiles,
        parts=("anchor", "series", "space"),
        split_LNVP=random.normal(0, 1, (LEADS, NODES, 2, 3)).astype(np.float32),
        model_V=("joint", "joint"),
    )
    return Forecast(
        world="served", issue_time=ISSUE_TIME + 300 * number, domains={"traffic": domain}, provenance={"model_id": "m", "snapshot": "S"}
    )


def publish(objects: ObjectStore, number: int) -> Path:
    """Issue and publish one forecast as the publish step makes it visible; its Parquet file."""
    forecast, published = made_forecast(number), PublishedStore(objects, "served")
    issued, _ = ForecastStore(objects, "served").add(forecast)
    key = published.parquet_key(forecast.issue_time, "traffic", 0)
    sha256 = published.put_product(key, parquet_bytes(forecast_table(forecast, "traffic", revision=0)))
    record = {"forecast": issued.digest, "revision": 0, "model_id": "m", "snapshot": "S", "rows": {}}
    published.commit(forecast.issue_time, record | {"parquet": {"traffic": key}, "sha256": {key: sha256}})
    published.renew_latest()
    return Path(objects.url(key))


@contextlib.contextmanager
def running(words: list[str], port: int, store: Path) -> Iterator[None]:
    """A server as a child process, from when it listens."""
    child = subprocess.Popen(words, env=os.environ | {"CUBECAST_STORE": str(store)}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(300):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                break
            time.sleep(0.1)
        yield
    finally:
        child.terminate()
        child.wait(20)


def ask(folder: Path, port: int, seconds: int, suffix: str = "") -> dict[str, Any]:
    """What wrk found, one thread and 16 connections."""
    script = folder / "nodes.lua"
    script.write_text(LUA.format(path=PATH, nodes=NODES, suffix=suffix))
    words = ["wrk", "-t1", "-c16", f"-d{seconds}s", "--latency", "-s", str(script), f"http://127.0.0.1:{port}"]
    subprocess.run([*words[:3], "-d2s", *words[4:]], check=True, capture_output=True)
    said = subprocess.run(words, check=True, capture_output=True, text=True).stdout
    found: dict[str, Any] = json.loads(said.strip().splitlines()[-1])
    return found


def free_port() -> int:
    """A port that nothing listens on."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


def measured(folder: Path, seconds: int, every: float) -> dict[str, dict[str, Any]]:
    """Figures by what was asked."""
    objects = ObjectStore(str(folder / "store"))
    (folder / "served.toml").write_text(WORLD.lstrip())
    parquet, found, port = publish(objects, 0), {}, free_port()
    python = sys.executable
    ours = [python, "-m", "pipeline", "serve", "--world", str(folder / "served.toml"), "--port", str(port)]
    with running(ours, port, folder / "store"):
        found["cubecast serve"] = ask(folder, port, seconds)
        body = subprocess.run(["curl", "-s", f"http://127.0.0.1:{port}{PATH}0"], check=True, capture_output=True).stdout
        stop, count = threading.Event(), [0]

        def keep_publishing() -> None:
            while not stop.wait(every):
                count[0] += 1
                publish(objects, count[0])

        thread = threading.Thread(target=keep_publishing)
        thread.start()
        found[f"cubecast serve, a newer forecast every {every:g} s"] = ask(folder, port, seconds)
        stop.set()
        thread.join()
    static = folder / "static"
    for n in range(NODES):
        path = static / f"{PATH[1:]}{n}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)
    with running([python, "-c", USUAL, str(parquet), str(port)], port, folder):
        found["FastAPI that reads the Parquet each time"] = ask(folder, port, seconds)
    with running([python, "-m", "http.server", "--bind", "127.0.0.1", "--directory", str(static), str(port)], port, folder):
        found["static files by http.server"] = ask(folder, port, seconds)
    (folder / "body").write_bytes(body)
    with running([python, "-c", BARE, str(folder / "body"), str(port)], port, folder):
        found["bound: uvicorn alone, equal bytes"] = ask(folder, port, seconds)
    return found


def report(found: dict[str, dict[str, Any]], seconds: int) -> str:
    """The figures as Markdown."""
    packages = ", ".join(f"{name} {version(name)}" for name in ("fastapi", "uvicorn", "uvloop", "httptools", "pyarrow"))
    lines = [
        "# A node's newest forecast over HTTP",
        "",
        f"{NODES} nodes x {LEADS} leads x 2 variables x {len(QUANTILES)} quantiles, random nodes, 16 connections, {seconds} s each, one server",
        f"process; wrk runs on the same {os.cpu_count()} cores. Measured {datetime.now(UTC):%Y-%m-%d}, {platform.machine()}, Python {platform.python_version()}, {packages}.",
        "",
        "| served by | requests/s | p50 ms | p99 ms | worst ms | KiB each | faults |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for name, row in found.items():
        rate, size = row["requests"] / row["microseconds"] * 1e6, row["bytes"] / max(1, row["requests"]) / 1024
        times = " | ".join(f"{row[key] / 1000:.1f}" for key in ("p50", "p99", "worst"))
        lines.append(f"| {name} | {rate:,.0f} | {times} | {size:.1f} | {row['faults']} |")
    return "\n".join([*lines, "", "`python -m benchmarks.serving`"]) + "\n"


def main(
    seconds: Annotated[int, typer.Option(help="How long each is asked.")] = 15,
    every: Annotated[float, typer.Option(help="Seconds between two newer forecasts.")] = 3.0,
    out: Annotated[Path | None, typer.Option(help="File for the table.")] = None,
) -> None:
    """Measure, and print the table."""
    if shutil.which("wrk") is None:
        raise SystemExit("no wrk (Debian: apt-get install wrk)")
    with tempfile.TemporaryDirectory() as folder:
        text = report(measured(Path(folder), seconds, every), seconds)
    print(text)
    if out:
        out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)

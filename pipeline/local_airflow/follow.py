"""Follow one forecast through the DAGs of a world, step by step."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Self, TextIO
from urllib.parse import quote

from pipeline.local_airflow.rest import Rest
from pipeline.status import headline_counts
from pipeline.stores.receipts import Receipts, Record

DAGS = ("ingest", "cube", "training", "forecast", "monitoring")
PATIENCE = 180.0
_TOLD = ("snapshot", "model_id", "forecast")
_OVER = ("success", "failed", "upstream_failed", "skipped", "removed")


class Screen:
    """Lines of what has happened; on a terminal also, below them, what is happening."""

    def __init__(self, stream: TextIO) -> None:
        self._stream, self._began, self._exit = stream, time.monotonic(), ExitStack()
        self._status: Any = None

    def __enter__(self) -> Self:
        if self._stream.isatty():
            from rich.console import Console

            self._status = self._exit.enter_context(Console(file=self._stream).status("starting"))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._exit.close()

    def line(self, text: str) -> None:
        """Say something that stays."""
        line = f"[{time.monotonic() - self._began:6.1f} s] {text}"
        if self._status is not None:
            self._status.console.print(line, markup=False, highlight=False, soft_wrap=True)
        else:
            print(line, file=self._stream, flush=True)

    def busy(self, text: str) -> None:
        """Say what is happening now, where that can be taken back."""
        if self._status is not None:
            self._status.update(text)


def follow(
    rest: Rest,
    world: str,
    first_run: dict[str, Any],
    screen: Screen,
    check: Callable[[], None],
    dags: Sequence[str] = DAGS,
    *,
    receipts: Receipts | None = None,
) -> int:
    """Show each task as it ends, until the last of the DAGs is through or a task has failed; returns the exit code.

    What came out of it is told from `receipts`, of which Airflow knows the paths; without them, by its ids.
    """
    run: dict[str, Any] | None = first_run
    for number, name in enumerate(dags):
        dag = f"{world}__{name}"
        if number:
            run = _triggered(rest, dag, first_run["run_after"], screen, check)
        if run is None:
            screen.line(f"{name}: no run came within {PATIENCE:.0f} s of what it waits for")
            return 70
        failed = _follow_run(rest, dag, name, run["dag_run_id"], screen, check, receipts)
        if failed is not None:
            return _explain(rest, dag, run["dag_run_id"], failed, screen)
    return 0


def _triggered(rest: Rest, dag: str, since: str, screen: Screen, check: Callable[[], None]) -> dict[str, Any] | None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        check()
        screen.busy(f"waiting for {dag}")
        runs = rest.get(f"/dags/{dag}/dagRuns?run_after_gte={quote(since)}&order_by=-run_after&limit=1")["dag_runs"]
        if runs:
            return dict(runs[0])
        time.sleep(0.3)
    return None


def _follow_run(
    rest: Rest, dag: str, name: str, run_id: str, screen: Screen, check: Callable[[], None], receipts: Receipts | None
) -> dict[str, Any] | None:
    """Show a run's tasks as they end; returns the task that failed, or None once the run is a success."""
    shown: set[str] = set()
    while True:
        check()
        state = rest.get(f"/dags/{dag}/dagRuns/{quote(run_id)}")["state"]
        tasks = rest.get(f"/dags/{dag}/dagRuns/{quote(run_id)}/taskInstances?limit=100")["task_instances"]
        for task in sorted(tasks, key=lambda t: str(t["end_date"])):
            if task["state"] in _OVER and task["task_id"] not in shown:
                shown.add(task["task_id"])
                screen.line(
                    f"{name:<10} {task['task_id']:<24} {task['state']:<8} {task['duration'] or 0:5.1f} s  {_came_out(rest, task, receipts)}"
                )
        screen.busy(", ".join(f"{name} {t['task_id']}" for t in tasks if t["state"] == "running") or f"{name}: waiting for a slot")
        if state == "success":
            return None
        asked = [str(t["task_id"]) for t in tasks if t["state"] == "awaiting_input"]
        if asked and not any(t["state"] == "running" for t in tasks):
            screen.line(f"{name:<10} {asked[0]:<24} waits for a person: cubecast models list says for what; the champion stays until then")
            return None
        if state == "failed":
            return next((dict(t) for t in tasks if t["state"] == "failed"), {"task_id": "", "try_number": 0, "state": "failed"})
        time.sleep(0.4)


def _xcom(rest: Rest, task: dict[str, Any], key: str) -> Any:
    path = f"/dags/{task['dag_id']}/dagRuns/{quote(task['dag_run_id'])}/taskInstances/{task['task_id']}/xcomEntries/{key}"
    return rest.get(path)["value"] if rest.found(path) else None


def _came_out(rest: Rest, task: dict[str, Any], receipts: Receipts | None) -> str:
    known = _xcom(rest, task, "return_value") if task["state"] == "success" else None
    if not isinstance(known, dict):
        return ""
    ids = [f"{key} {known['ids'][key][:12]}" for key in _TOLD if key in known["ids"]]
    return ", ".join([*(_done(receipts.at(known["paths"]["receipt"])) if receipts else ()), *ids])


def _done(record: Record) -> list[str]:
    counts = headline_counts(record["receipt"]["counts"])
    return [
        "unchanged" if record["confirmed_time"] else record["receipt"]["outcome"],
        *(f"{value:,} {key}" for key, value in counts.items()),
    ]


def _explain(rest: Rest, dag: str, run_id: str, task: dict[str, Any], screen: Screen) -> int:
    """Show the end of a failed task's log; returns its step's exit code."""
    if not task["task_id"]:
        screen.line(f"{dag} failed before any task of it ran")
        return 70
    log = rest.get(f"/dags/{dag}/dagRuns/{quote(run_id)}/taskInstances/{task['task_id']}/logs/{task['try_number']}?full_content=true")
    said = [str(entry["event"] if isinstance(entry, dict) else entry) for entry in log["content"]]
    for text in [text for text in said if not text.startswith("::")][-20:]:
        screen.line(f"    {text}")
    code = _xcom(rest, task, "exit_code")
    screen.line(f"{dag} {task['task_id']} failed after {task['try_number']} tries; its step ended with {code}")
    return code if isinstance(code, int) and code > 0 else 70

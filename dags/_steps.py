"""How a step is launched: the CLI's command as a child process, its exit code as a decision. No other DAG file knows."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import tempfile
import threading
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import IO, Any

from airflow.sdk import Asset, BaseOperator, Param
from airflow.sdk.exceptions import AirflowException, AirflowFailException

from pipeline.api import Receipt, Request, child_environment, command, die_with_parent

IN_RECEIPT = {"step", "world", "as_of", "outcome", "ids", "counts", "paths"}
COME_BACK = (74, 75)
STOP = (2, 65, 70, 78)
TIMES = {
    "issue_time": Param(
        None,
        type=["null", "string"],
        format="date-time",
        title="Issue time",
        description="The information cut-off of the forecast, with its offset: 2014-09-30T06:00:00Z. Comes with the event where an asset triggers.",
    ),
    "now": Param(
        None,
        type=["null", "string"],
        format="date-time",
        title="Now",
        description="What time it is in the world: deliveries are fetched and forecasts verified as of it. By default the issue time.",
    ),
}


def asset(world: str, name: str) -> Asset:
    """What one DAG of a world hands to the next."""
    return Asset(name=f"{world}/{name}", uri=f"cubecast://{world}/{name}", group="cubecast")


def house(world: str, name: str, **more: Any) -> dict[str, Any]:
    """What all DAGs have in common, as arguments of `@dag`."""
    retry = {
        "retries": 3,
        "retry_delay": timedelta(seconds=15),
        "retry_exponential_backoff": True,
        "max_retry_delay": timedelta(minutes=10),
    }
    return {
        "dag_id": f"{world}__{name}",
        "tags": ["cubecast", world, name],
        "params": TIMES | more.pop("params", {}),
        "max_active_runs": 1,
        "catchup": False,
        "default_args": {"owner": "cubecast", **retry},
        **more,
    }


def times(events: Mapping[Any, Iterable[Any]], params: Mapping[str, Any]) -> dict[str, str]:
    """The explicit times of a run, `issue_time` and `now`: from the newest event that triggered it, else from its parameters."""
    carried = [event.extra for found in events.values() for event in found if event.extra.get("issue_time")]
    given = max(carried, key=lambda extra: str(extra["issue_time"])) if carried else params
    if not given.get("issue_time"):
        raise AirflowFailException(
            "Asked: a run of this DAG. Found: neither an asset event nor a parameter that carries an issue time. "
            "Mend: trigger it with issue_time, such as 2014-09-30T06:00:00Z, or run the world's ingest DAG."
        )
    return {"issue_time": given["issue_time"], "now": given.get("now") or given["issue_time"]}


class Step(BaseOperator):
    """Runs one step of the flow in a process of its own and returns its receipt (ids, paths and counts).

    Args:
        request: The kind of request.
        world: The world's name.
        clock: Which of the run's times is the request's `as_of`.
        fields: Further fields of the request.
        from_params: Fields that the run's parameters of the same name give, where they are set.
        model_of: The task of this run whose receipt names the model to use.
        announces: The asset that is up to date afterwards; its event carries the times on.
    """

    def __init__(
        self,
        *,
        request: type[Request],
        world: str,
        clock: str,
        fields: Mapping[str, Any] | None = None,
        from_params: tuple[str, ...] = (),
        model_of: str | None = None,
        announces: Asset | None = None,
        **rest: Any,
    ) -> None:
        super().__init__(
            **{"task_id": request.step, "doc_md": request.__doc__, "outlets": [announces] if announces else [], "pool": "default_pool"}
            | rest
        )
        self.request, self.world, self.clock = request, world, clock
        self.fields, self.from_params, self.announces = dict(fields or {}), from_params, announces
        self.model_of = model_of
        self.child: subprocess.Popen[str] | None = None

    def execute(self, context: Any) -> dict[str, Any]:
        """Build the request, run it, return its receipt."""
        when = times(context["triggering_asset_events"], context["params"])
        chosen = {name: context["params"][name] for name in self.from_params if context["params"].get(name) is not None}
        received = {"received_time": when["now"]} if "received_time" in self.request.model_fields else {}
        if self.model_of:
            chosen["model_id"] = context["ti"].xcom_pull(task_ids=self.model_of)["ids"]["model_id"]
        request = self.request.model_validate({"world": self.world, "as_of": when[self.clock]} | received | self.fields | chosen)
        code, receipt = self.run_child(request)
        context["ti"].xcom_push(key="exit_code", value=code)
        decide(code, request)
        found = Receipt.model_validate_json(receipt).model_dump(mode="json", include=IN_RECEIPT)
        if self.announces:
            context["outlet_events"][self.announces].extra = {**when, "ids": found["ids"], "counts": found["counts"]}
        return found

    def run_child(self, request: Request) -> tuple[int, str]:
        """The exit code and the last line of stdout of the request's command; its stderr goes to the task's log."""
        die_with_parent(os.getppid())
        words = [*command(request), "--die-with-parent", str(os.getpid())]
        self.log.info("%s", " ".join(words))
        with tempfile.TemporaryFile("w+") as out:
            self.child = subprocess.Popen(  # noqa: S603
                words,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.PIPE,
                text=True,
                env=child_environment(),
                start_new_session=True,
            )
            reader = threading.Thread(target=self._pass_on, args=(self.child.stderr,), daemon=True)
            reader.start()
            try:
                code = self.child.wait()
            finally:
                self.on_kill()
            reader.join(timeout=10)
            out.seek(0)
            return code, (out.read().splitlines() or [""])[-1]

    def _pass_on(self, stderr: IO[str] | None) -> None:
        with stderr or contextlib.nullcontext(()) as lines:
            for line in lines:
                self.log.info("%s", log_line(line))

    def on_kill(self) -> None:
        """End the step and whatever it started."""
        if self.child is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.child.pid, signal.SIGKILL)


def decide(code: int, request: Request) -> None:
    """Turn an exit code into what Airflow does next: go on, come back later, or stop at once."""
    if code in STOP:
        raise AirflowFailException(f"{request.step} {request.world} ended with {code}: repeating cannot help; see the error above")
    if code:
        raise AirflowException(
            f"{request.step} {request.world} ended with {code}: {'come back' if code in COME_BACK else 'killed'}; will retry"
        )


def log_line(line: str) -> str:
    """One line of a step's stderr as people read it."""
    try:
        state = json.loads(line)
        if state["event"] == "error":
            return f"{state['error']}: {state['asked']}: {state['found']}. Mend: {state['mend']}"
        count = (
            f" {state['done']:,.0f}{'/{:,.0f}'.format(state['total']) if state['total'] else ''} {state['unit']}" if state["done"] else ""
        )
        return f"{state['event']} {state['stage']}{count} {state['note']} ({state['seconds']} s)"
    except (ValueError, KeyError, TypeError):
        return line.rstrip()

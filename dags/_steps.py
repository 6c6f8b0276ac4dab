"""A step as a task: its request, where it runs, and its exit code as a decision. DAG files know nothing else of steps."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Protocol

from airflow.sdk import Asset, BaseOperator
from airflow.sdk.exceptions import AirflowException, AirflowFailException

from dags._child import OUT_OF_TIME, Child
from dags._house import launch_of, text_of, times
from dags._retries import Killed
from pipeline.api import Receipt, Request, World

IN_XCOM = {"ids", "paths"}
"""What of a receipt becomes an XCom; the whole lies in the store, at its path `receipt`."""
COME_BACK = (74, 75)
STOP = (2, 65, 70, 78, 80)
AGAIN = dict.fromkeys(COME_BACK, (AirflowException, "come back")) | {OUT_OF_TIME: (AirflowException, "out of time")}


class Runner(Protocol):
    """Runs a request somewhere else than in this process."""

    def run(self, request: Request, context: Any) -> tuple[int, str]:
        """Its exit code and its receipt."""

    def kill(self) -> None:
        """End it."""


def carried(receipt: Receipt) -> dict[str, Any]:
    """What the event of an asset says of it: snapshot and digests, rows or cells, and the share that is missing, where that has a meaning."""
    shares = {name: share for name, share in receipt.details.items() if name == "missing_share"}
    return receipt.model_dump(mode="json", include={"ids", "counts"}) | shares


class Step(BaseOperator):
    """Runs one step of the flow in a process of its own and returns the ids and paths of its receipt.

    Args:
        request: The kind of request.
        world: The world.
        clock: Which of the run's times is the request's `as_of`.
        on_the_wall: Fields of the request that are what time it is, whatever time it is in the world.
        issued_by: The task of this run that says at which issue time, instead of the run itself.
        fields: Further fields of the request.
        from_params: Fields that the run's parameters of the same name give, where they are set.
        model_of: The task of this run whose receipt names the model to use.
        announces: The asset that is up to date afterwards; its event carries the times on.
    """

    def __init__(
        self,
        *,
        request: type[Request],
        world: World,
        clock: str,
        fields: Mapping[str, Any] | None = None,
        from_params: tuple[str, ...] = (),
        model_of: str | None = None,
        issued_by: str | None = None,
        on_the_wall: tuple[str, ...] = (),
        announces: Asset | None = None,
        **rest: Any,
    ) -> None:
        super().__init__(
            **{"task_id": request.step, "doc_md": request.__doc__, "outlets": [announces] if announces else [], "pool": "default_pool"}
            | rest
        )
        self.request, self.world, self.clock = request, world, clock
        self.fields, self.from_params, self.announces = dict(fields or {}), from_params, announces
        self.model_of, self.issued_by, self.on_the_wall = model_of, issued_by, on_the_wall
        self.runner: Runner | None = None
        self.receipt: Receipt | None = None

    def execute(self, context: Any) -> dict[str, Any]:
        """Build the request, run it, return the ids and paths of its receipt."""
        when = times(context)
        if self.issued_by:
            when = when | {"issue_time": context["ti"].xcom_pull(task_ids=self.issued_by)}
        receipt = self.receipt = self.perform(self.ask(context, when), context)
        if self.announces:
            context["outlet_events"][self.announces].extra = {**when, **carried(receipt)}
        return receipt.model_dump(mode="json", include=IN_XCOM)

    def ask(self, context: Any, when: Mapping[str, str]) -> Request:
        """The request of this run."""
        chosen = {name: context["params"][name] for name in self.from_params if context["params"].get(name) is not None}
        told: dict[str, str] = {name: when["now"] for name in ("received_time", "now") if name in self.request.model_fields}
        told |= dict.fromkeys(self.on_the_wall, text_of(datetime.now(UTC)))
        if self.model_of:
            ids = context["ti"].xcom_pull(task_ids=self.model_of)["ids"]
            chosen["model_id"] = ids.get("candidate") or ids["model_id"]
        return self.request.model_validate({"world": self.world.name, "as_of": when[self.clock]} | told | self.fields | chosen)

    def perform(self, request: Request, context: Any) -> Receipt:
        """Run a request in a process of its own; its exit code decides what becomes of the task."""
        code, receipt = self.run_child(request, context)
        context["ti"].xcom_push(key="exit_code", value=code)
        decide(code, request)
        return Receipt.model_validate_json(receipt)

    def run_child(self, request: Request, context: Any) -> tuple[int, str]:
        """The exit code of the request's command and its receipt as one line."""
        launch = launch_of(self.world)
        if launch.kind == "kubernetes":
            from dags._pod import Pod

            self.runner = Pod(launch)
        else:
            self.runner = Child(lambda line: self.log.info("%s", line), launch)
        return self.runner.run(request, context)

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> Any:
        """What was read and written, for OpenLineage where its events are sent."""
        if self.receipt is None:
            return None
        from dags._lineage import lineage

        return lineage(self.receipt, self.fields.get("source"))

    def on_kill(self) -> None:
        """End the step and whatever it started."""
        if self.runner is not None:
            self.runner.kill()


def decide(code: int, request: Request) -> None:
    """Turn an exit code into what Airflow does next: go on, come back later, or stop at once."""
    if code in STOP:
        raise AirflowFailException(f"{request.step} {request.world} ended with {code}: repeating cannot help; see the error above")
    if code:
        error, why = AGAIN.get(code, (Killed, "killed"))
        raise error(f"{request.step} {request.world} ended with {code}: {why}; will retry")

"""Wait for what is late without holding a worker: look, come back later, and at the deadline go on or fail."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from dags._house import text_of, times
from dags._steps import Step, decide
from pipeline.api import InputsRequest, LandRequest, Receipt, Request, World

LATE = 75


class Waiting(Step):
    """A step that waits for what is late."""

    def look_again(self, poll: timedelta, until: datetime) -> None:
        """Defer until the next look, where that is before the deadline."""
        now = datetime.now(UTC)
        if now + poll <= until:
            from airflow.providers.standard.triggers.temporal import DateTimeTrigger

            self.defer(trigger=DateTimeTrigger(moment=now + poll), method_name="execute")


class Landing(Waiting):
    """Lands one source. In a world with a schedule a late source is waited for, as long as the world holds an ingest for it.

    At the deadline a world that degrades skips the source with a warning, and the next ingest asks again; one that does not fails.
    """

    def __init__(self, *, world: World, source: str, **rest: Any) -> None:
        super().__init__(request=LandRequest, world=world, clock="now", fields={"source": source}, **rest)

    def execute(self, context: Any, event: Any = None) -> dict[str, Any]:
        """Land what has come; defers while nothing has."""
        return super().execute(context)

    def perform(self, request: Request, context: Any) -> Receipt:
        """Run the request in a process of its own; that its source is late is waited for."""
        code, receipt = self.run_child(request, context)
        context["ti"].xcom_push(key="exit_code", value=code)
        schedule = self.world.schedule
        if code != LATE or schedule is None:
            decide(code, request)
            return Receipt.model_validate_json(receipt)
        self.look_again(schedule.poll, datetime.fromisoformat(times(context)["issue_time"]) + schedule.hold)
        late = f"source {self.fields['source']} of {self.world.name} is late: held for {schedule.hold}"
        if schedule.late == "fail":
            raise AirflowFailException(late)
        self.log.warning("%s; the others go on without it", late)
        raise AirflowSkipException(late)


class Inputs(Waiting):
    """Says at which issue time to forecast: the run's own, or the later one at which what was late has come.

    At the deadline a world that degrades forecasts with what there is; one that does not fails.
    """

    def __init__(self, *, world: World, **rest: Any) -> None:
        super().__init__(request=InputsRequest, world=world, clock="issue_time", **{"task_id": "inputs"} | rest)

    def execute(self, context: Any, event: Any = None) -> Any:
        """The issue time; defers while a source is late."""
        issue_time = times(context)["issue_time"]
        schedule = self.world.schedule
        if schedule is None:
            return issue_time
        due = datetime.fromisoformat(issue_time)
        waited = bool(event)
        moment = datetime.now(UTC).replace(microsecond=0) if waited else due
        asked = text_of(moment)
        request = self.ask(context, {"issue_time": asked, "now": asked})
        code, _ = self.run_child(request, context)
        if code != LATE:
            decide(code, request)
            return asked
        self.look_again(schedule.poll, due + schedule.patience)
        if schedule.late == "fail":
            raise AirflowFailException(f"inputs of {self.world.name} are still late {schedule.patience} after {issue_time}")
        self.log.warning("inputs are still late after %s: forecasting with what there is", schedule.patience)
        return text_of(datetime.now(UTC).replace(microsecond=0)) if waited else asked

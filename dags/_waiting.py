"""Wait for late inputs without holding a worker: look, come back later, and at the deadline go on or fail."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from airflow.sdk.exceptions import AirflowFailException

from dags._house import times
from dags._steps import Step
from pipeline.api import InputsRequest, World

LATE = 75


class Inputs(Step):
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
        asked = _text(moment)
        code, _ = self.run_child(self.ask(context, {"issue_time": asked, "now": asked}), context)
        if code == 0:
            return asked
        if code != LATE:
            raise AirflowFailException(f"inputs of {self.world.name} ended with {code}; see the error above")
        now = datetime.now(UTC)
        if now + schedule.poll <= due + schedule.patience:
            from airflow.providers.standard.triggers.temporal import DateTimeTrigger

            self.defer(trigger=DateTimeTrigger(moment=now + schedule.poll), method_name="execute")
        if schedule.late == "fail":
            raise AirflowFailException(f"inputs of {self.world.name} are still late {schedule.patience} after {issue_time}")
        self.log.warning("inputs are still late after %s: forecasting with what there is", schedule.patience)
        return _text(now.replace(microsecond=0)) if waited else asked


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

"""The replay of a day: which issue times the run's partition stands for, and what to do where nothing can be replayed yet."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk.exceptions import AirflowSkipException

from dags._house import asset
from dags._steps import COME_BACK, Step, decide
from pipeline.api import Receipt, ReplayRequest, Request, World

NOT_YET = COME_BACK[1]


class Replay(Step):
    """The day that the run's partition names.

    In a world that has just begun there is no champion of yesterday, so the schedule's own replay of it is skipped with a warning
    once its tries are used up; one that somebody asked for fails.
    """

    def __init__(self, *, world: World, **rest: Any) -> None:
        super().__init__(request=ReplayRequest, world=world, clock="now", pool="replay", announces=asset(world, "replays"), **rest)

    def ask(self, context: Any, when: Mapping[str, str]) -> Request:
        """From the partition's midnight to the next."""
        first = datetime.fromisoformat(when["issue_time"]).replace(hour=0, minute=0, second=0)
        now = min(self.world.recorded.end if self.world.recorded else datetime.now(UTC), datetime.now(UTC))
        span = {"first": first, "last": min(first + timedelta(days=1), now), "as_of": now}
        return self.request.model_validate(
            {"world": self.world.name, **span, **{name: context["params"][name] for name in self.from_params}}
        )

    def perform(self, request: Request, context: Any) -> Receipt:
        """Run the request in a process of its own."""
        code, receipt = self.run_child(request, context)
        context["ti"].xcom_push(key="exit_code", value=code)
        if code == NOT_YET and context["dag_run"].run_type == "scheduled" and context["ti"].try_number > self.retries:
            self.log.warning("there is nothing to replay yet; see above")
            raise AirflowSkipException(f"nothing to replay of {self.world.name} yet")
        decide(code, request)
        return Receipt.model_validate_json(receipt)

"""Replay: the forecasts of a day as they would have been issued, in a lane of their own that nothing live listens to.

`airflow backfill create --dag-id <world>__replay --from-date 2014-09-01 --to-date 2014-09-14` gives the forecasts of the past; in a
world with a schedule yesterday's are replayed every day, and should equal what was issued.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import CronPartitionTimetable, Param, dag

from dags._house import asset, house
from dags._steps import Step
from pipeline.api import ReplayRequest, Request, World, load_world, scheduled_worlds

PARAMS = {
    "every": Param("1h", type="string", title="Every", description="How far apart the issue times are, such as 15min, 1h or 1d."),
    "retrain": Param("none", enum=["none", "daily", "weekly"], title="Retrain", description="How often a model is trained on the way."),
    "since": Param(
        None,
        type=["null", "string"],
        format="date-time",
        title="Since",
        description="When the first training of the lane is in force; give it with retrain, the same for all days that share models.",
    ),
    "mode": Param("replay", enum=["replay", "reforecast"], title="Mode", description="The champion as of then, or today's."),
}


class Replay(Step):
    """The day that the run's partition names."""

    def ask(self, context: Any, when: Mapping[str, str]) -> Request:
        """From the partition's midnight to the next."""
        first = datetime.fromisoformat(when["issue_time"]).replace(hour=0, minute=0, second=0)
        now = min(self.world.recorded.end if self.world.recorded else datetime.now(UTC), datetime.now(UTC))
        span = {"first": first, "last": min(first + timedelta(days=1), now), "as_of": now}
        return self.request.model_validate(
            {"world": self.world.name, **span, **{name: context["params"][name] for name in self.from_params}}
        )


def replay(world: World) -> None:
    """The replay DAG of a world."""
    reach = {"start_date": world.start, "end_date": world.recorded.end if world.recorded else None}
    day = CronPartitionTimetable("0 0 * * *", timezone="UTC", run_offset=-1)

    @dag(**house(world, "replay", params=PARAMS, max_active_runs=4, **reach), schedule=day, doc_md=__doc__)
    def build() -> None:
        Replay(request=ReplayRequest, world=world, clock="now", from_params=tuple(PARAMS), announces=asset(world, "replays"))

    build()


for name in scheduled_worlds():
    replay(load_world(name))

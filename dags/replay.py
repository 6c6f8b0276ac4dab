"""Replay: the forecasts of a day as they would have been issued, in a lane of their own that nothing live listens to.

`airflow backfill create --dag-id <world>__replay --from-date 2014-09-01 --to-date 2014-09-14` (or *Trigger*, *Backfill*) gives the
forecasts of the past; in a world with a schedule yesterday's are replayed every day, and should equal what was issued. Replays have a
pool of their own, so that what is live never waits for them.
"""

from __future__ import annotations

from airflow.sdk import CronPartitionTimetable, Param, dag

from dags._house import house
from dags._replay import Replay
from pipeline.api import World, load_world, scheduled_worlds

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


def replay(world: World) -> None:
    """The replay DAG of a world."""
    reach = {"start_date": world.start, "end_date": world.recorded.end if world.recorded else None}
    day = CronPartitionTimetable("0 0 * * *", timezone="UTC", run_offset=-1)

    @dag(**house(world, "replay", params=PARAMS, max_active_runs=4, **reach), schedule=day, doc_md=__doc__)
    def build() -> None:
        Replay(world=world, from_params=tuple(PARAMS))

    build()


for name in scheduled_worlds():
    replay(load_world(name))

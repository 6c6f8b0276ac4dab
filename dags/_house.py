"""What all DAGs have in common: their schedule, their assets, their defaults, and which times a run is asked for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from airflow.sdk import Asset, AssetAny, CronPartitionTimetable, Param, PartitionedAssetTimetable
from airflow.sdk.exceptions import AirflowFailException

from dags._alerts import failed
from dags._retries import TRIES
from pipeline.api import Launch, World, read_launch

TIMES = {
    "issue_time": Param(
        None,
        type=["null", "string"],
        format="date-time",
        title="Issue time",
        description="The information cut-off of the forecast, with its offset: 2014-09-30T06:00:00Z. Comes with the partition or the event where the schedule or an asset triggers.",
    ),
    "now": Param(
        None,
        type=["null", "string"],
        format="date-time",
        title="Now",
        description="What time it is in the world: deliveries are fetched and forecasts verified as of it. By default the issue time of an ended world, else the time of the run.",
    ),
}

AROUND = timedelta(minutes=30)
"""How much longer than its step a task may take: for a pod to get a node, and to tell what became of it."""


def asset(world: World, name: str) -> Asset:
    """What one DAG of a world hands to the next."""
    return Asset(name=f"{world.name}/{name}", uri=f"cubecast://{world.name}/{name}", group="cubecast")


def launch_of(world: World) -> Launch:
    """Where a world's steps run, and what they may take: of the machine's limits and the world's the lower."""
    launch, schedule = read_launch(), world.schedule
    if schedule is None:
        return launch
    sizes = [size for size in (launch.memory, schedule.memory) if size]
    return replace(launch, memory=min(sizes, default=None), limit=min(launch.limit, schedule.limit))


def house(world: World, name: str, **more: Any) -> dict[str, Any]:
    """What all DAGs have in common, as arguments of `@dag`."""
    return {
        "dag_id": f"{world.name}__{name}",
        "tags": ["cubecast", world.name, name],
        "params": TIMES | more.pop("params", {}),
        "max_active_runs": 1,
        "catchup": False,
        "default_args": {"owner": "cubecast", "execution_timeout": launch_of(world).limit + AROUND, "on_failure_callback": failed, **TRIES},
        **more,
    }


def at(world: World, cadence: Literal["ingest", "issue", "train", "retention"]) -> CronPartitionTimetable | None:
    """A world's own cadence, a partition in UTC per tick; None where it runs when it is asked."""
    return CronPartitionTimetable(getattr(world.schedule, cadence), timezone="UTC") if world.schedule else None


def woken_by(world: World, *names: str) -> PartitionedAssetTimetable | AssetAny:
    """When any of these assets is up to date: partition by partition where the world has a schedule."""
    found = AssetAny(*(asset(world, name) for name in names))
    return PartitionedAssetTimetable(assets=found) if world.schedule else found


def times(context: Mapping[str, Any]) -> dict[str, str]:
    """The explicit times of a run, `issue_time` and `now`.

    They come from the newest event that triggered it, else from its partition, else from its parameters. What the clock says is
    `now` only where the schedule started the run: everything else could not be repeated.
    """
    carried = [event.extra for found in _events(context) for event in found if event.extra.get("issue_time")]
    params, partition = context["params"], getattr(context.get("dag_run"), "partition_date", None)
    if carried:
        given = max(carried, key=lambda extra: str(extra["issue_time"]))
    elif partition is not None and not params.get("issue_time"):
        given = {"issue_time": text_of(partition), "now": params.get("now") or text_of(max(partition, datetime.now(UTC)))}
    else:
        given = params
    if not given.get("issue_time"):
        raise AirflowFailException(
            "Asked: a run of this DAG. Found: neither an asset event, a partition nor a parameter that carries an issue time. "
            "Mend: trigger it with issue_time, such as 2014-09-30T06:00:00Z, or run the world's ingest DAG."
        )
    return {"issue_time": given["issue_time"], "now": given.get("now") or given["issue_time"]}


def _events(context: Mapping[str, Any]) -> Iterable[Iterable[Any]]:
    found: Mapping[Any, Iterable[Any]] = context.get("triggering_asset_events") or {}
    return found.values()


def text_of(moment: datetime) -> str:
    """An instant as requests and events carry it."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

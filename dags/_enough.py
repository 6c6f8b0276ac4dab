"""What an ingest tells the cube: which sources are in, where these are enough for one."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from dags._receipts import receipts_of
from dags._steps import carried
from pipeline.api import Receipt, World


def told(world: World, context: Any) -> dict[str, Any]:
    """What the event carries of the sources that this run has observed: digests, rows, and the share of rows that was rejected.

    Raises:
        AirflowSkipException: They are too few, or one is missing without which there is no cube; in a world that degrades.
        AirflowFailException: The same, in one that does not.
        AirflowException: A receipt cannot be read now.
    """
    pulled = {source: context["ti"].xcom_pull(task_ids=f"{source}.observe") for source in world.sources}
    found = {source: known for source, known in pulled.items() if known}
    if world.schedule is not None and (why := _lacking(world, found)):
        if world.schedule.late == "fail":
            raise AirflowFailException(why)
        logging.getLogger(__name__).warning("%s", why)
        raise AirflowSkipException(why)
    events = [carried(Receipt.model_validate(receipt)) for receipt in receipts_of(found.values())]
    return {part: {name: value for event in events for name, value in event[part].items()} for part in ("ids", "counts", "missing_share")}


def _lacking(world: World, found: Mapping[str, Any]) -> str:
    """Why a cube has to wait for the next ingest; nothing where it has not."""
    schedule = world.schedule
    if schedule is None:
        return ""
    missing = [source for source in schedule.required if source not in found]
    if not missing and len(found) >= schedule.enough:
        return ""
    wanted = f"required are {', '.join(schedule.required)}; " if schedule.required else ""
    return (
        f"no cube of this ingest of {world.name}: {len(found)} of {len(world.sources)} sources are in ({', '.join(found) or 'none'}); "
        f"{wanted}enough are {schedule.enough}. What has come stays, and goes into the next"
    )

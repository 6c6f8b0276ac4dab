"""What the cockpit of the store's own Airflow knows beyond the store, while it runs: the tasks that have not ended well."""

from __future__ import annotations

from contextlib import suppress
from urllib.parse import quote

from pipeline.cockpit.grid import Unfinished
from pipeline.local_airflow.home import USER, address_of, password
from pipeline.local_airflow.rest import Rest
from pipeline.settings import Settings


def unfinished_of(settings: Settings, world: str) -> tuple[Unfinished, ...] | None:
    """The tasks of a world that run, wait or failed, each with the whole address of its page; None where no Airflow of the store tells."""
    address = address_of(settings.airflow_home)
    if address is None:
        return None
    with suppress(OSError, ValueError):
        rest = Rest(address, USER, password(settings.airflow_home))
        found = rest.cockpit(f"/worlds/{quote(world)}/unfinished")
        return tuple(Unfinished(**{**task, "link": address + task["link"]}) for task in found)
    return None

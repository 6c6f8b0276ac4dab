"""When a world's steps run by themselves, what they may take, and how long what was superseded stays. Light: stdlib and pydantic only."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import timedelta
from typing import Literal

from pydantic import Field

from pipeline.contracts.world_types import Cron, Duration, Name, Table, hint


class Retention(Table):
    """How long what was superseded stays: never what a champion names, nor what a forecast issued in the last `forecasts` names.

    `grace` is the age from which on garbage goes: longer than any step runs. No `forecasts`: those of all forecasts stay.
    """

    snapshots: Duration = timedelta(days=30)
    forecasts: Duration | None = None
    grace: Duration = timedelta(days=7)


class Schedule(Table):
    """When a world's steps run by themselves; all times are UTC. A world without one runs when it is asked.

    Attributes:
        ingest: When deliveries are fetched, observed and brought into the cube.
        issue: When a forecast is due: its issue time, unless inputs are late.
        train: When a candidate is trained, evaluated and perhaps promoted.
        retention: When what has expired is removed.
        hold: How long an ingest waits for a source that is late; then the others go on, and the next ingest asks again.
        patience: How long a forecast waits for late inputs; then it is made with what there is, or fails.
        late: What happens then: `degrade` skips the source with a warning, or forecasts with what there is; `fail` fails.
        required: Sources without which no cube is built of an ingest.
        enough: How many sources must have come for one; with fewer, what has come goes into the next, and `late` says whether the ingest fails.
        poll: How often late inputs are looked for.
        limit: The longest that one attempt of a step may take.
        memory: The most memory that a step and what it starts may hold, in bytes; by default three quarters of the machine.
    """

    ingest: Cron
    issue: Cron
    train: Cron
    retention: Cron = "40 3 * * *"
    hold: Duration = timedelta(minutes=10)
    patience: Duration = timedelta(hours=1)
    late: Literal["degrade", "fail"] = "degrade"
    required: tuple[Name, ...] = ()
    enough: int = Field(default=1, ge=1)
    poll: Duration = timedelta(minutes=5)
    limit: Duration = timedelta(hours=6)
    memory: int | None = None

    def faults(self, sources: Collection[str]) -> Iterator[str]:
        """What it asks of sources that a world does not have."""
        yield from (f"schedule.required: no source '{name}'{hint(name, sources)}" for name in self.required if name not in sources)
        if self.enough > len(sources):
            yield f"schedule.enough = {self.enough}: the world has {len(sources)} source(s)"

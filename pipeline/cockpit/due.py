"""What a world's schedule promises over a span of time, for the grid to hold receipts against."""

from __future__ import annotations

from datetime import datetime
from itertools import takewhile

from pipeline.cockpit.grid import NOTHING_DUE, Due
from pipeline.contracts.cron import ticks_before
from pipeline.contracts.times import from_seconds, to_seconds
from pipeline.contracts.worlds import World
from pipeline.monitoring.running import late_after


def due_in(world: World, *, first: int, last: int, now: datetime) -> Due:
    """Until when steps may end, and the issue times between two instants (seconds UTC) of which a forecast must be there by now.

    Nothing is due in a world without a schedule, which runs when it is asked, nor in a recorded one, whose time stands still.
    """
    if world.schedule is None or world.recorded is not None:
        return NOTHING_DUE
    within = late_after(world.schedule, world.monitoring)
    newest = min(now - within["publish"], from_seconds(last))
    ticks = takewhile(lambda tick: tick >= first, map(to_seconds, ticks_before(world.schedule.issue, newest)))
    return Due(within={step: int(span.total_seconds()) for step, span in within.items()}, issue_times=tuple(ticks)[::-1])

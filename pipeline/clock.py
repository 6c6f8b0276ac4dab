"""What time it is: the only place that asks, so that everything else is told."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from pipeline import api
from pipeline.contracts.times import format_instant
from pipeline.errors import ConfigError

_SKEW = timedelta(minutes=5)
"""How far the clocks of a scheduler and a worker may be apart."""


def now() -> datetime:
    """What time it is, in whole seconds."""
    return datetime.now(UTC).replace(microsecond=0)


def clock_of(world: api.World) -> datetime:
    """What time it is in a world: a recorded world's clock stops where its feeds ended."""
    return min(now(), world.recorded.end) if world.recorded else now()


def issue_time_of(world: api.World) -> datetime:
    """The issue time that is meant where none is given."""
    return world.recorded.as_of if world.recorded else now()


def check_issue_time(world: api.World, moment: datetime) -> None:
    """Refuse an instant of learning and forecasting outside the world's time.

    Raises:
        ConfigError: Naming the time there is.
    """
    _check(world, moment, begun=world.start < moment)


def check_reached(world: api.World, moment: datetime) -> None:
    """Refuse an instant that a world has not reached, on any clock that is nearly right; raises as `check_issue_time` does."""
    _check(world, moment, begun=True, slack=timedelta(0) if world.recorded else _SKEW)


def _check(world: api.World, moment: datetime, *, begun: bool, slack: timedelta = timedelta(0)) -> None:
    first, last = world.start, clock_of(world)
    if not begun or moment > last + slack:
        raise ConfigError(
            asked=f"world {world.name} as of {format_instant(moment)}",
            found=f"{'later than it reaches' if moment > last else 'before it begins'}: {format_instant(first)} .. {format_instant(last)}",
            mend=f"give an --as-of in between, such as {format_instant(issue_time_of(world))}",
        )

"""What verified forecasts of a period scored, from the sums that verification keeps."""

from __future__ import annotations

from typing import Any

from pipeline.contracts.times import format_instant, from_seconds
from pipeline.contracts.worlds import World
from pipeline.errors import NotYetAvailable
from pipeline.settings import Settings
from pipeline.stores.objects import ObjectStore
from pipeline.stores.scores import ScoreStore
from pipeline.verification.tables import tables_of


def show_scores(settings: Settings, world: World, first: int, last: int) -> dict[str, Any]:
    """Every table of the scores of the issue times from `first` to `last` (seconds UTC), as JSON-able content.

    Raises:
        NotYetAvailable: No forecast of that period was verified.
    """
    store = ScoreStore(ObjectStore(settings.store), world.name)
    found = store.period(first, last)
    if not found.issue_times:
        times = store.issue_times()
        edges = " to ".join(format_instant(from_seconds(t)) for t in (times[0], times[-1])) if times else ""
        raise NotYetAvailable(
            asked=f"scores of world {world.name}, issued from {format_instant(from_seconds(first))} to {format_instant(from_seconds(last))}",
            found=f"none; what was verified was issued from {edges}" if times else "nothing was ever verified",
            mend="ask for another period" if times else f"cubecast publish --world {world.name}, then cubecast verify --world {world.name}",
        )
    return {
        "world": world.name,
        "issue_times": found.issue_times,
        "observed": found.observed,
        "left_out": found.left_out,
        **{name: [row.model_dump(mode="json") for row in rows] for name, rows in tables_of(found.statistics).items()},
    }

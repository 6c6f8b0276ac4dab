"""What verified forecasts of a period scored, from the sums that verification keeps."""

from __future__ import annotations

from typing import Any

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
    found = ScoreStore(ObjectStore(settings.store), world.name).period(first, last)
    if not found.issue_times:
        mend = f"cubecast verify --world {world.name}, or ask for another period"
        raise NotYetAvailable(asked=f"scores of world {world.name}", found="no forecast of that period was verified", mend=mend)
    return {
        "world": world.name,
        "issue_times": found.issue_times,
        "observed": found.observed,
        "left_out": found.left_out,
        **{name: [row.model_dump(mode="json") for row in rows] for name, rows in tables_of(found.statistics).items()},
    }

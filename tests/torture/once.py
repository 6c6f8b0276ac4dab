"""Whether what the faults of a run interrupted is there exactly once: one commit per dataset and interval."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import datetime

from pipeline.api import World
from pipeline.contracts.times import format_instant, to_seconds
from pipeline.stores.cubes import CubeStore
from pipeline.stores.forecasts import ForecastStore
from pipeline.stores.landing import LandingStore
from pipeline.stores.objects import ObjectStore
from pipeline.stores.observations import ObservationStore
from pipeline.stores.registry import Registry


def once_each(store: str, world: World, issue_time: datetime, now: datetime) -> Iterator[str]:
    """What of a chain is not there exactly once: deliveries, their observations, the cube's state of `now`, candidate and forecast of the issue time."""
    objects, asked, built = ObjectStore(store), format_instant(issue_time), format_instant(now)
    for source in world.sources:
        yield from source_once(objects, world, source)
    commits = [c for c in CubeStore(store, world.name).history() if c["provenance"].get("as_of") == built]
    candidates = [c for c in Registry(objects, world.name).candidates() if c.as_of == issue_time]
    revisions = ForecastStore(objects, world.name).revisions(to_seconds(issue_time))
    for what, found in (("commits of the cube", commits), ("candidates", candidates), ("forecasts", revisions)):
        if len(found) != 1:
            yield f"{len(found)} {what} as of {asked}"


def source_once(objects: ObjectStore, world: World, source: str) -> Iterator[str]:
    """Every content landed once, and every delivery taken into the observations by one commit."""
    manifest = LandingStore(objects, world.name, source).manifest()
    landed = Counter((entry.name, entry.id) for entry in manifest)
    yield from (f"{source}: delivery {name} landed {count} times" for (name, _), count in landed.items() if count != 1)
    taken = Counter(number for commit in ObservationStore(objects, world, source).commits() for number in commit.deliveries)
    for entry in manifest:
        if entry.role == "readings" and taken[entry.number] != 1:
            yield f"{source}: delivery {entry.name} is in {taken[entry.number]} commits of its observations"

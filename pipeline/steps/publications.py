"""All that a world has published: whether it is whole, and made anew from what was issued."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pipeline.contracts.times import format_instant, from_seconds
from pipeline.contracts.worlds import World
from pipeline.errors import CubecastError, NotYetAvailable
from pipeline.settings import Settings
from pipeline.steps.publish import publish_forecast, rows_of
from pipeline.stores.forecast_arrays import ForecastArrays
from pipeline.stores.forecasts import ForecastStore
from pipeline.stores.objects import ObjectStore
from pipeline.stores.published import PublishedStore
from pipeline.telemetry import Progress


@dataclass(frozen=True, kw_only=True)
class Check:
    """What a look at everything published found: how many issue times, and one line per fault."""

    issue_times: int
    files: int
    faults: tuple[str, ...]


def published_times(world: World, settings: Settings) -> list[int]:
    """The published issue times, ascending.

    Raises:
        NotYetAvailable: There is none.
    """
    found = PublishedStore(ObjectStore(settings.store), world.name).issue_times()
    if not found:
        raise NotYetAvailable(
            asked=f"published forecasts of world {world.name}", found="none yet", mend=f"cubecast run --world {world.name}"
        )
    return found


def check(world: World, settings: Settings, progress: Progress) -> Check:
    """Read every forecast that was issued and published against its digest, its Parquet files and its Zarr rows."""
    objects = ObjectStore(settings.store)
    published = PublishedStore(objects, world.name)
    times, faults, files = published_times(world, settings), [], 0
    with progress.stage("verify", len(times), "issue times") as stage:
        for issue_time in times:
            instant = format_instant(from_seconds(issue_time))
            try:
                record = published.record(issue_time) or {}
                files += len(record.get("sha256", {}))
                faults += [
                    f"{instant}: {key} is damaged or gone" for key, sha in record["sha256"].items() if not published.is_whole(key, sha)
                ]
                faults += _row_faults(world, settings, issue_time, record)
            except CubecastError as error:
                faults.append(f"{instant}: {error.asked}: {error.found}")
            stage.advance()
    return Check(issue_times=len(times), files=files, faults=tuple(faults))


def _row_faults(world: World, settings: Settings, issue_time: int, record: dict[str, Any]) -> list[str]:
    store = ForecastStore(ObjectStore(settings.store), world.name)
    issued = next((i for i in store.revisions(issue_time) if i.digest == record["forecast"]), None)
    instant = format_instant(from_seconds(issue_time))
    if issued is None:
        return [f"{instant}: no revision issued has the digest that was published"]
    rows = rows_of(world, settings, store.read(issue_time, issued.revision), issued)
    return [f"{instant}: Zarr row of {name} is damaged or absent" for name in ForecastArrays(settings.store, world.name).faults(rows)]


def rebuild(world: World, settings: Settings, progress: Progress) -> tuple[int, int]:
    """Put every published forecast's products where they are damaged or gone; counts issue times looked at and mended.

    Raises:
        NotYetAvailable: Nothing was published.
        StoreError: A forecast itself is damaged: that one cannot be made anew.
    """
    objects = ObjectStore(settings.store)
    published, store = PublishedStore(objects, world.name), ForecastStore(objects, world.name)
    times, mended = published_times(world, settings), 0
    with progress.stage("rebuild", len(times), "issue times") as stage:
        for issue_time in times:
            record, written = publish_forecast(world, settings, store.newest(issue_time), progress)
            published.commit(issue_time, record)
            mended += bool(written)
            stage.advance(note=format_instant(from_seconds(issue_time)))
    published.renew_latest()
    return len(times), mended

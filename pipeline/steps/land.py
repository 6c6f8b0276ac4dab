"""Land: keep what the sources have delivered by `as_of`, byte for byte."""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.api import LandRequest, Receipt
from pipeline.contracts.deliveries import Delivery
from pipeline.contracts.holes import Hole
from pipeline.contracts.times import to_seconds
from pipeline.contracts.world_files import load_world
from pipeline.contracts.worlds import World
from pipeline.errors import NotYetAvailable
from pipeline.settings import Settings
from pipeline.sources.registry import adapter_named, check_sources, source_names
from pipeline.steps.owing import Debtor
from pipeline.stores.landing import Landed, LandingStore
from pipeline.stores.objects import ObjectStore
from pipeline.telemetry import Progress, Stage


def run(request: LandRequest, settings: Settings, progress: Progress) -> Receipt:
    """Land every source's new deliveries, or one source's; `unchanged` where there were none.

    What a source should have delivered and has not is asked for again, until it comes or has been missing for `retry_holes`. A
    source that is out of reach does not keep the others from being landed.

    Raises:
        NotYetAvailable: A source has nothing at all yet, is out of reach, or is late.
        ConfigError: The world, a source's name or a location is wrong.
        StoreError: Storage refused.
    """
    world = load_world(request.world)
    check_sources(world)
    objects = ObjectStore(settings.store)
    counts: dict[str, int] = {}
    notes: list[str] = []
    late: list[NotYetAvailable] = []
    for name in source_names(world, request.source):
        try:
            landed, owed = _land_source(objects, world, name, request, settings, progress)
        except NotYetAvailable as error:
            late.append(error)
            continue
        counts |= {f"{name}.deliveries": len(landed), f"{name}.bytes": sum(d.bytes for d in landed)}
        notes += [] if not owed else [f"source {name}: {len(owed)} hole(s), asked for again on the next run"]
    if late:
        raise late[0] if len(late) == 1 else _together(late)
    return Receipt(
        step=request.step,
        world=world.name,
        as_of=request.as_of,
        outcome="done" if any(counts.values()) else "unchanged",
        ids={"world": world.digest},
        counts=counts,
        paths={"landing": objects.url(f"landing/{world.name}")},
        notes=tuple(notes),
    )


def _land_source(
    objects: ObjectStore, world: World, name: str, request: LandRequest, settings: Settings, progress: Progress
) -> tuple[list[Landed], list[Hole]]:
    """What is new of one source, and what it still owes."""
    source, received = world.sources[name], to_seconds(request.received_time)
    debtor = Debtor(objects, world, name, received)
    try:
        with progress.stage(f"land {name}", None, "files") as stage:
            offered = adapter_named(source.adapter).deliveries(source, settings, request.as_of)
            landed = LandingStore(objects, world.name, name).land(_counted(offered, stage), received, debtor)
    except NotYetAvailable:
        debtor.keep()
        raise
    debtor.listed()
    return landed, debtor.keep()


def _together(late: list[NotYetAvailable]) -> NotYetAvailable:
    """Several sources' errors as one."""
    return NotYetAvailable(
        asked=f"{len(late)} sources", found="; ".join(f"{e.asked}: {e.found}" for e in late), mend=f"{late[0].mend}; the others were landed"
    )


def _counted(offered: Iterator[Delivery], stage: Stage) -> Iterator[Delivery]:
    for delivery in offered:
        yield delivery
        stage.advance(len(delivery.parts), delivery.name)

"""Land: keep what the sources have delivered by `as_of`, byte for byte."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from pipeline.api import LandRequest, Receipt
from pipeline.contracts.deliveries import Delivery
from pipeline.contracts.times import to_seconds
from pipeline.contracts.world_files import load_world
from pipeline.contracts.worlds import Source
from pipeline.settings import Settings
from pipeline.sources.registry import adapter_named, check_sources, source_names
from pipeline.steps.repeating import again_after_conflicts
from pipeline.stores.landing import Landed, LandingStore
from pipeline.stores.objects import ObjectStore
from pipeline.telemetry import Progress, Stage


def run(request: LandRequest, settings: Settings, progress: Progress) -> Receipt:
    """Land every source's new deliveries, or one source's; `unchanged` where there were none.

    Raises:
        NotYetAvailable: A source has nothing at all yet.
        ConfigError: The world, a source's name or a location is wrong.
        StoreError: Storage refused.
    """
    world = load_world(request.world)
    check_sources(world)
    objects = ObjectStore(settings.store)
    counts: dict[str, int] = {}
    notes: list[str] = []
    for name in source_names(world, request.source):
        source = world.sources[name]
        store = LandingStore(objects, world.name, name)
        with progress.stage(f"land {name}", None, "files") as stage:
            landed = again_after_conflicts(partial(_land, source, store, request, settings, stage), notes)
        counts |= {f"{name}.deliveries": len(landed), f"{name}.bytes": sum(d.bytes for d in landed)}
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


def _land(source: Source, store: LandingStore, request: LandRequest, settings: Settings, stage: Stage) -> list[Landed]:
    offered = adapter_named(source.adapter).deliveries(source, settings, request.as_of)
    return store.land(_counted(offered, stage), to_seconds(request.received_time))


def _counted(offered: Iterator[Delivery], stage: Stage) -> Iterator[Delivery]:
    for delivery in offered:
        yield delivery
        stage.advance(len(delivery.parts), delivery.name)

"""retain: what was superseded long ago goes, and what nothing refers to; what a champion or a forecast names stays."""

from __future__ import annotations

from collections import Counter

from pipeline.api import Receipt, RetainRequest
from pipeline.contracts.times import to_seconds
from pipeline.contracts.world_files import load_world
from pipeline.contracts.worlds import World
from pipeline.errors import NotYetAvailable
from pipeline.settings import Settings
from pipeline.stores.forecasts import ForecastStore
from pipeline.stores.inventory import take_inventory
from pipeline.stores.lanes import LaneStore
from pipeline.stores.objects import ObjectStore
from pipeline.stores.registry import Registry
from pipeline.stores.repositories import storage_errors
from pipeline.stores.retention import Gone, collect_garbage, retain_snapshots
from pipeline.telemetry import Progress


def run(request: RetainRequest, settings: Settings, progress: Progress) -> Receipt:
    """Landed bytes, observations, records, models and forecasts are never taken; killed at any moment, the same request goes on.

    Raises:
        StoreError: The store is damaged, so that what is needed cannot be told from what is not; or the storage refused.
    """
    world = load_world(request.world)
    rules, objects = world.retention, ObjectStore(settings.store)
    pins = _pins(world, settings, None if rules.forecasts is None else to_seconds(request.now - rules.forecasts))
    garbage_before = request.now - rules.grace
    gone: dict[str, Gone] = {}
    inventory = take_inventory(objects, world.name)
    with progress.stage("retain", len(inventory.repositories) + 1, "parts") as stage:
        gone["objects"] = collect_garbage(inventory, garbage_before=garbage_before, dry_run=request.dry_run)
        stage.advance(1, f"{gone['objects'].total_bytes:,} bytes of objects")
        for repository in inventory.repositories:
            keep_since = request.now - rules.snapshots if repository == f"cubes/{world.name}" else None
            url = objects.url(repository)
            with storage_errors(f"retain {url}"):
                found = retain_snapshots(url, keep_since=keep_since, garbage_before=garbage_before, pins=pins, dry_run=request.dry_run)
            gone[repository] = found
            stage.advance(1, f"{found.total_bytes:,} bytes of {repository}")
    return _receipt(request, world, gone, len(pins))


def _pins(world: World, settings: Settings, since: int | None) -> set[str]:
    """The cube's snapshots that a champion, past or present, or a forecast names, live or in a lane of replay."""
    lanes = LaneStore(settings, world.name)
    found: set[str] = set()
    for root in (settings.store, *(lanes.url(lane) for lane in lanes.lane_ids())):
        registry = Registry(ObjectStore(root), world.name)
        for model in {promotion.model_id for promotion in registry.promotions()}:
            try:
                found.add(str(registry.candidate(model).card.get("snapshot")))
            except NotYetAvailable:
                continue  # a lane's champion may be a model of the live registry
        found |= ForecastStore(ObjectStore(root), world.name).snapshots(since)
    return found


def _receipt(request: RetainRequest, world: World, gone: dict[str, Gone], pins: int) -> Receipt:
    objects = sum((Counter(g.objects) for g in gone.values()), Counter[str]())
    snapshots = sum(len(g.snapshots) for g in gone.values())
    kinds = {f"{part}/{kind}": {"objects": n, "bytes": g.bytes[kind]} for part, g in gone.items() for kind, n in sorted(g.objects.items())}
    return Receipt(
        step=request.step,
        world=world.name,
        as_of=request.as_of,
        outcome="done" if objects and not request.dry_run else "unchanged",
        counts={
            "snapshots": snapshots,
            "objects": sum(objects.values()),
            "bytes": sum(g.total_bytes for g in gone.values()),
            "pinned": pins,
        },
        notes=("nothing went: a dry run",) if request.dry_run else (),
        details={"kinds": kinds, "snapshots": {part: list(g.snapshots) for part, g in gone.items() if g.snapshots}},
    )

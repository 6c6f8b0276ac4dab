"""monitor: inputs, forecasts and steps as they are at an instant, against contracts and the champion's evidence; alerts are kept."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from pipeline.api import MonitorRequest, Receipt
from pipeline.contracts.alerts import Alert
from pipeline.contracts.scores import Promotion
from pipeline.contracts.times import format_instant, parse_instant, to_seconds
from pipeline.contracts.world_files import load_world
from pipeline.contracts.worlds import World
from pipeline.errors import ConfigError, NotYetAvailable
from pipeline.monitoring.running import Ran, costly, latencies, seconds_by_day, slow_steps
from pipeline.monitoring.standing import Change, renewed
from pipeline.settings import Settings
from pipeline.steps.looking_at_inputs import look_at_inputs
from pipeline.steps.looking_at_outcomes import look_at_outcomes
from pipeline.stores.monitoring import MonitoringStore
from pipeline.stores.objects import ObjectStore
from pipeline.stores.profiles import ProfileStore
from pipeline.stores.receipts import Receipts
from pipeline.stores.registry import Registry
from pipeline.telemetry import Progress

_AREAS = ("landing", "observations", "cubes", "registry", "forecasts", "scores", "replays")
"""What storage is counted in: not what monitoring itself writes, nor receipts."""


def run(request: MonitorRequest, settings: Settings, progress: Progress) -> Receipt:
    """A report of what was found, and the alerts that stand after it. The same request again on the same store changes nothing.

    Alerts go on from the newest report as of an earlier instant, so that one opens once, and closes when enough looks in a row
    have found nothing.
    """
    world = load_world(request.world)
    _check_time(world, request.as_of)
    objects = ObjectStore(settings.store)
    store, registry = MonitoringStore(objects, world.name), Registry(objects, world.name)
    champion = _champion(registry, request.as_of)
    cut_off = parse_instant(champion.as_of) if champion is not None else request.as_of
    earlier = store.before(to_seconds(request.as_of))
    before = tuple(Alert.from_json(content) for content in earlier["alerts"]) if earlier else ()
    standing = frozenset(alert.key for alert in before)
    looked = look_at_inputs(
        world, settings, ProfileStore(objects, world.name), as_of=request.as_of, cut_off=cut_off, standing=standing, progress=progress
    )
    outcomes, rows = look_at_outcomes(world, objects, registry, champion, as_of=request.as_of, progress=progress)
    ran = list(_ran(objects, world, request.as_of))
    days, stored = seconds_by_day(ran), _stored(objects, world)
    running = [*slow_steps(ran, world.monitoring), *costly(days, sum(stored.values()), world.monitoring)]
    found = [f for f in (*looked.findings, *outcomes, *running) if not world.monitoring.mutes(f.key)]
    kept = [alert for alert in before if not world.monitoring.mutes(alert.key)]
    change = renewed(kept, found, now=to_seconds(request.as_of), heal_after=world.monitoring.heal_after)
    notes = (*looked.notes, *(() if champion else ("no champion yet: forecasts are not judged, inputs against the time up to now",)))
    report = {
        "as_of": format_instant(request.as_of),
        "champion": champion.model_id if champion else None,
        "inputs": looked.inputs,
        "outcomes": rows,
        "steps": latencies(ran),
        "cost": {"seconds_by_day": {str(day): seconds for day, seconds in days.items()}, "stored_bytes": stored},
        "notes": list(notes),
        **_alerts(change),
    }
    added = store.add_report(to_seconds(request.as_of), report)
    return _receipt(request, world, store, change, notes, added)


def _check_time(world: World, moment: datetime) -> None:
    """Refuse an instant at which nothing can be there: what it found would stand as alerts."""
    end = world.recorded.end if world.recorded else None
    if moment <= world.start or (end is not None and moment > end):
        raise ConfigError(
            asked=f"monitor {world.name} as of {format_instant(moment)}",
            found=f"the world's time is {format_instant(world.start)} .. {format_instant(end) if end else 'now'}",
            mend="give an --as-of in between",
        )


def _alerts(change: Change) -> dict[str, Any]:
    return {
        "alerts": [alert.to_json() for alert in change.standing],
        "opened": [alert.key for alert in change.opened],
        "closed": [alert.key for alert in change.closed],
    }


def _receipt(request: MonitorRequest, world: World, store: MonitoringStore, change: Change, notes: tuple[str, ...], added: bool) -> Receipt:
    levels = [alert.finding.level for alert in change.standing]
    counts = {"alerts": len(levels), "blocking": levels.count("block"), "opened": len(change.opened), "closed": len(change.closed)}
    return Receipt(
        step=request.step,
        world=world.name,
        as_of=request.as_of,
        outcome="done" if added else "unchanged",
        counts=counts,
        paths={"monitoring": store.url},
        notes=notes,
        details={"alerts": [_told(alert) for alert in change.standing[:50]]},
    )


def _told(alert: Alert) -> dict[str, Any]:
    return {"alert": alert.key, "level": alert.finding.level, "text": alert.finding.text, "mend": alert.mend}


def _stored(objects: ObjectStore, world: World) -> dict[str, int]:
    """Bytes at rest per area; on a remote store only where there is a budget, as every object is listed."""
    if "://" in objects.root and world.monitoring.stored_bytes is None:
        return {}
    return {area: objects.bytes_below(f"{area}/{world.name}") for area in _AREAS}


def _champion(registry: Registry, as_of: datetime) -> Promotion | None:
    try:
        return registry.champion(as_of)
    except NotYetAvailable:
        return None


def _ran(objects: ObjectStore, world: World, as_of: datetime) -> Iterable[Ran]:
    """The runs of steps that did something, as of the last days before an instant."""
    receipts, last = Receipts(objects), to_seconds(as_of)
    first = last - int(world.monitoring.history.total_seconds())
    for month in receipts.months(world.name):
        if f"{as_of - world.monitoring.history:%Y-%m}" <= month <= f"{as_of:%Y-%m}":
            for row in receipts.summaries(world.name, month):
                if first <= row.as_of <= last and row.outcome == "done" and row.step not in (MonitorRequest.step, "replay", "retain"):
                    yield Ran(step=row.step, source=row.source, as_of=row.as_of, seconds=row.seconds)

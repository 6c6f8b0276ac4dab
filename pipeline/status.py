"""What `cubecast status` says, gathered from what is at rest; `pipeline.status_view` shows it to people."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from pipeline.api import STEPS, Receipt, World
from pipeline.contracts.alerts import Alert
from pipeline.contracts.times import format_instant, to_seconds
from pipeline.monitoring.running import due_within

if TYPE_CHECKING:
    from pipeline.cockpit.grid import Unfinished

Records = Mapping[tuple[str, str | None], Mapping[str, Any]]
Holes = Mapping[str, Any]
_ORDER = [request.step for request in STEPS]
PARTS = ("raw", "observations", "duplicates", "rejected")
"""What becomes of raw rows: the first is the sum of the others."""


def receipt_line(receipt: Receipt, seconds: float) -> str:
    """A receipt in one line: `observe aarhus: done, 7,137,361 raw, 7,135,969 observations (31.2 s)`."""
    counts = "".join(f", {value:,} {name}" for name, value in headline_counts(receipt.counts).items())
    notes = "".join(f"; {note}" for note in receipt.notes[:2])
    return f"{receipt.step} {receipt.world}: {receipt.outcome}{counts}{notes} ({seconds:.1f} s)"


def headline_counts(counts: Mapping[str, int], most: int = 4) -> dict[str, int]:
    """The counts worth a line: those of a part (`roads.raw`) added up over the parts."""
    totals: dict[str, int] = {}
    for name, value in counts.items():
        whole = name.rpartition(".")[2]
        totals[whole] = totals.get(whole, 0) + value
    accounted = {name: totals.pop(name) for name in PARTS if name in totals}
    return dict(list((accounted | totals).items())[:most])


def everything_of(
    world: World, store: str, *, days: int, until: datetime | None = None, unfinished: Iterable[Unfinished] = ()
) -> dict[str, Any]:
    """All that the cockpit shows of a world: its state, what stands beside the grid, and the grid of so many days (0: none)."""
    from pipeline import clock
    from pipeline.cockpit.panels import over_time, panels
    from pipeline.status_grid import grid_of
    from pipeline.stores.objects import ObjectStore
    from pipeline.stores.receipts import Receipts

    objects, now = ObjectStore(store), clock.clock_of(world)
    receipts = Receipts(objects)
    grid = {"grid": grid_of(world, receipts, now=now, days=days, until=until, unfinished=unfinished)} if days else {}
    return {
        **state_of(world, store),
        "now": format_instant(now),
        **panels(objects, world, now=now),
        **over_time(objects, world, receipts, now=now),
        **grid,
    }


def state_of(world: World, store: str) -> dict[str, Any]:
    """The state of a world as its store tells it now."""
    from pipeline import clock
    from pipeline.stores.holes import HoleStore
    from pipeline.stores.monitoring import MonitoringStore
    from pipeline.stores.objects import ObjectStore
    from pipeline.stores.receipts import Receipts

    objects = ObjectStore(store)
    holes = HoleStore(objects, world).report(to_seconds(clock.clock_of(world)))
    return collect(world, store, Receipts(objects).newest(world.name), holes, MonitoringStore(objects, world.name).standing())


def collect(world: World, store: str, records: Records, holes: Holes, alerts: Iterable[Alert] = ()) -> dict[str, Any]:
    """The state of a world as its newest receipts tell it, with what its sources owe (`HoleStore.report`) and the alerts that stand."""
    steps = [_step(record, store) for _, record in sorted(records.items(), key=_in_flow)]
    newest = {step["step"]: step for step in sorted(steps, key=recency)}
    ids = {name: value for step in newest.values() for name, value in step["ids"].items()}
    paths = {name: path for step in _ORDER[3:] if step in newest for name, path in newest[step]["paths"].items()}
    return {
        "world": world.name,
        "title": world.title,
        "store": store,
        "latest_issue_time": max((step["as_of"] for step in steps if step["step"] in ("predict", "publish")), default=None),
        "snapshot": ids.get("snapshot"),
        "model": ids.get("model_id"),
        "steps": steps,
        "sources": _sources(world, steps),
        "holes": dict(holes),
        "scores": newest.get("evaluate", {}).get("details", {}).get("headline", []),
        "alerts": [alert.to_json() for alert in alerts],
        "due_within": {name: int(span.total_seconds()) for name, span in _due_within(world).items()},
        "verified": newest.get("verify", {}).get("details", {}).get("latest", {}),
        "paths": paths,
    }


def _due_within(world: World) -> dict[str, timedelta]:
    return due_within(world.schedule, world.monitoring) if world.schedule else {}


def recency(step: Mapping[str, Any]) -> str:
    """When a step last ended well."""
    return str(step["confirmed_time"] or step["recorded_time"])


def _in_flow(item: tuple[tuple[str, str | None], Any]) -> tuple[int, str]:
    (step, source), _ = item
    return (_ORDER.index(step) if step in _ORDER else len(_ORDER), source or "")


def _step(record: Mapping[str, Any], store: str) -> dict[str, Any]:
    receipt = Receipt.model_validate(record["receipt"])
    return {
        "step": receipt.step,
        "source": record["source"],
        "as_of": format_instant(receipt.as_of),
        "recorded_time": record["recorded_time"],
        "confirmed_time": record["confirmed_time"],
        "seconds": record["seconds"],
        "outcome": receipt.outcome,
        "ids": receipt.ids,
        "counts": receipt.counts,
        "notes": list(receipt.notes),
        "details": receipt.details,
        "paths": {
            name: path if "://" in path or path.startswith("/") else posixpath.join(store, path) for name, path in receipt.paths.items()
        },
    }


def _sources(world: World, steps: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, int]]:
    """Per source every raw row by what became of it, from the newest receipt of observe that counts it."""
    found: dict[str, dict[str, int]] = {}
    for step in sorted((s for s in steps if s["step"] == "observe"), key=recency):
        for source in world.sources:
            if f"{source}.raw" in step["counts"]:
                found[source] = {name: step["counts"].get(f"{source}.{name}", 0) for name in PARTS}
    return found

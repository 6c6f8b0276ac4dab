"""What stands beside the grid: alerts, champion and candidates, freshness, skill over time, training, storage and cost."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from pipeline.contracts.times import format_instant, from_seconds, to_seconds
from pipeline.contracts.worlds import World
from pipeline.errors import NotYetAvailable
from pipeline.stores.checkpoints import Checkpoints
from pipeline.stores.holes import HoleStore
from pipeline.stores.monitoring import MonitoringStore
from pipeline.stores.objects import ObjectStore
from pipeline.stores.receipts import Receipts, Summary
from pipeline.stores.registry import Registry

AREAS = ("landing", "observations", "cubes", "registry", "forecasts", "scores", "receipts", "monitoring", "replays")
NEWEST = 30
DAY = 86400
SKILL_DAYS = 60


def panels(objects: ObjectStore, world: World, *, now: datetime) -> dict[str, Any]:
    """Everything about a world but its grid, from what is at rest."""
    records = Receipts(objects).newest(world.name)
    details = {step: record["receipt"].get("details") or {} for (step, _), record in records.items()}
    times = [record["receipt"]["as_of"] for (step, _), record in records.items() if step == "predict"]
    return {
        "world": world.name,
        "title": world.title,
        "issue_time": max(times, default=None),
        "inputs": details.get("predict", {}).get("inputs", {}),
        "published": details.get("predict", {}).get("published", {}),
        "scores": details.get("evaluate", {}).get("headline", []),
        "alerts": [alert.to_json() for alert in MonitoringStore(objects, world.name).standing()],
        "verified": details.get("verify", {}).get("latest", {}),
        "models": _models(Registry(objects, world.name), now),
        "running": running(objects, world.name),
        "holes": HoleStore(objects, world).report(to_seconds(now)),
        "notes": [
            f"{step}: {note}" for (step, _), record in sorted(records.items(), key=str) for note in record["receipt"].get("notes", [])
        ][:40],
    }


def _models(registry: Registry, now: datetime) -> dict[str, Any]:
    """The champion with its verdicts, the newest candidates with their loss curves, the newest promotions."""
    try:
        champion = registry.champion(now).model_dump(mode="json")
    except NotYetAvailable:
        champion = None
    candidates = sorted(registry.candidates(), key=lambda c: c.as_of)[-NEWEST:]
    return {
        "champion": champion,
        "candidates": [
            {
                "model_id": c.model_id,
                "as_of": format_instant(c.as_of),
                "recipe": c.card.get("recipe"),
                "epochs": c.card.get("epochs"),
                "history": c.card.get("history", []),
            }
            for c in reversed(candidates)
        ],
        "promotions": [
            {"as_of": p.as_of, "model_id": p.model_id, "how": p.how, "reason": p.reason} for p in reversed(registry.promotions()[-NEWEST:])
        ],
    }


def running(objects: ObjectStore, world: str) -> list[dict[str, Any]]:
    """The trainings that are not over, each with its loss curve so far."""
    return [
        {"model_id": each.model_id, "epoch": each.epoch, "history": each.history, "since": format_instant(from_seconds(int(each.written)))}
        for each in Checkpoints(objects, world).running()
    ]


def skill(objects: ObjectStore, world: str, days: int = SKILL_DAYS) -> list[dict[str, Any]]:
    """Per target how published forecasts did on each of the newest days that were verified, all leads together.

    `skill` is 1 - MAE / the MAE of the best rival of that day, `coverage` the share of outcomes inside the 80 % interval.
    """
    from pipeline.stores.scores import ScoreStore
    from pipeline.verification.metrics import score_rows

    scores = ScoreStore(objects, world)
    newest = scores.issue_times(newest=1)
    found: dict[tuple[str, str], list[dict[str, Any]]] = {}
    last = newest[-1] // DAY * DAY if newest else 0
    for day in range(last - (days - 1) * DAY, last + 1, DAY) if newest else ():
        for row in score_rows(scores.period(day, day + DAY - 1).statistics):
            if row.model == "published" and row.lead == 0 and row.mae is not None:
                told = {"day": day, "mae": row.mae, "skill": min(row.skill.values(), default=None), "coverage": row.coverage_80}
                found.setdefault((row.domain, row.variable), []).append(told)
    return [{"domain": domain, "variable": variable, "days": rows} for (domain, variable), rows in sorted(found.items())]


def cost(rows: Iterable[Summary]) -> dict[str, dict[str, float]]:
    """Per day and step how many seconds were spent on it, by when it was recorded."""
    found: dict[str, dict[str, float]] = {}
    for row in rows:
        day = found.setdefault(row.recorded_time[:10], {})
        day[row.step] = round(day.get(row.step, 0.0) + row.seconds, 1)
    return dict(sorted(found.items()))


def storage(objects: ObjectStore, world: str) -> dict[str, int]:
    """Bytes at rest of a world, per area."""
    return {area: objects.bytes_below(f"{area}/{world}") for area in AREAS}

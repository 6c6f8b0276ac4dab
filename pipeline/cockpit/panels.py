"""What stands beside the grid: alerts, champion and candidates, freshness, skill over time, training, storage and cost."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from pipeline.cockpit.verdicts import decided
from pipeline.contracts.times import format_instant, from_seconds, to_seconds
from pipeline.contracts.worlds import World
from pipeline.errors import NotYetAvailable
from pipeline.stores.checkpoints import Checkpoints
from pipeline.stores.holes import HoleStore
from pipeline.stores.monitoring import MonitoringStore
from pipeline.stores.objects import ObjectStore
from pipeline.stores.receipts import Receipts
from pipeline.stores.registry import Registry

AREAS = ("landing", "observations", "cubes", "registry", "forecasts", "scores", "receipts", "monitoring", "replays")
NEWEST = 30
DAY = 86400
SKILL_DAYS = 60
COST_DAYS = 60


def panels(objects: ObjectStore, world: World, *, now: datetime) -> dict[str, Any]:
    """What a world's newest receipts, its registry and its monitoring say; `over_time` is what takes longer."""
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
    """The champion with its verdicts, the newest candidates with their loss curves, decisions and promotions, the newest first."""
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
        "decisions": decided(registry.decisions.read(), now)[:NEWEST],
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


def over_time(objects: ObjectStore, world: World, receipts: Receipts, *, now: datetime) -> dict[str, Any]:
    """Skill and calibration day by day, the time spent per day, the bytes at rest."""
    return {"skill": skill(objects, world.name), "cost": cost(receipts, world, now), "storage": storage(objects, world.name)}


def skill(objects: ObjectStore, world: str, days: int = SKILL_DAYS) -> list[dict[str, Any]]:
    """Per target how published forecasts did on each of the newest days that were verified, all leads together.

    `skill` is 1 - MAE / the MAE of the best rival of that day, `coverage` the share of outcomes inside the 80 % interval.
    """
    from pipeline.stores.scores import ScoreStore
    from pipeline.verification.evidence import overall

    scores = ScoreStore(objects, world)
    newest = scores.issue_times(newest=1)
    found: dict[tuple[str, str], list[dict[str, Any]]] = {}
    last = newest[-1] // DAY * DAY if newest else 0
    for day, period in scores.whole_by_day(last - (days - 1) * DAY, last + DAY - 1) if newest else ():
        for (domain, variable, model), row in overall(period.statistics).items():
            if model == "published" and row.mae is not None:
                told = {"day": day, "mae": row.mae, "skill": min(row.skill.values(), default=None), "coverage": row.coverage_80}
                found.setdefault((domain, variable), []).append(told)
    return [{"domain": domain, "variable": variable, "days": rows} for (domain, variable), rows in sorted(found.items())]


def cost(receipts: Receipts, world: World, now: datetime) -> dict[str, dict[str, float]]:
    """Per day and step how many seconds were spent on it, by when it was recorded; the newest days of what was asked as of the last year."""
    first = f"{now - timedelta(days=400):%Y-%m}"
    found: dict[str, dict[str, float]] = {}
    for month in receipts.months(world.name):
        for row in receipts.summaries(world.name, month) if month >= first else ():
            day = found.setdefault(row.recorded_time[:10], {})
            day[row.step] = round(day.get(row.step, 0.0) + row.seconds, 1)
    return dict(sorted(found.items())[-COST_DAYS:])


def storage(objects: ObjectStore, world: str) -> dict[str, int]:
    """Bytes at rest of a world, per area: as the newest monitoring counted them, else counted now."""
    monitoring = MonitoringStore(objects, world)
    newest = monitoring.report_times()
    report = monitoring.report(newest[-1]) if newest else None
    counted = report.get("cost", {}).get("stored_bytes") if report else None
    return counted or {area: objects.bytes_below(f"{area}/{world}") for area in AREAS}

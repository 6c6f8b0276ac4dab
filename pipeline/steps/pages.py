"""The forecast page of one issue time, put together from what the stores hold; publish and verify both renew it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.contracts.cubes import DomainCube
from pipeline.contracts.forecasts import Forecast
from pipeline.contracts.scores import Scorecard, ScoreRow
from pipeline.contracts.times import from_seconds, parse_instant, to_seconds
from pipeline.contracts.worlds import World
from pipeline.errors import NotYetAvailable
from pipeline.publishing.page import render_page
from pipeline.publishing.page_inputs import Earlier, PageInputs, ReplayCard
from pipeline.publishing.revisions import change_lines
from pipeline.settings import VERSION, Settings
from pipeline.steps import reading
from pipeline.steps.replayed import replay_evidence
from pipeline.stores.forecasts import ForecastStore
from pipeline.stores.objects import ObjectStore
from pipeline.stores.published import PublishedStore
from pipeline.stores.registry import Registry
from pipeline.stores.scores import ScoreStore
from pipeline.verification.metrics import score_rows
from pipeline.verification.outcomes import pair

_ISSUES_SUMMED = 100
_EARLIER = 4
_EARLIER_SECONDS = 31 * 86400


@dataclass(frozen=True, kw_only=True)
class Page:
    """Where a page lies, whether it changed, and what could not be shown on it."""

    url: str
    changed: bool
    notes: tuple[str, ...] = ()


def write_page(world: World, settings: Settings, issue_time: int) -> Page:
    """Render the page of a published issue time from what is stored now; `index.html` where it is the newest one.

    Raises:
        NotYetAvailable: Nothing was issued at that instant.
    """
    published = PublishedStore(ObjectStore(settings.store), world.name)
    inputs = page_inputs(world, settings, issue_time)
    name = published.page_name(issue_time)
    return Page(changed=published.view(name, render_page(inputs)), url=published.url(name), notes=inputs.notes)


def page_inputs(world: World, settings: Settings, issue_time: int) -> PageInputs:
    """What the page of an issue time is made of, from what is stored now.

    Raises:
        NotYetAvailable: Nothing was issued at that instant.
    """
    objects = ObjectStore(settings.store)
    published, store = PublishedStore(objects, world.name), ForecastStore(objects, world.name)
    issued, forecast = store.newest(issue_time), store.read(issue_time)
    moment = from_seconds(issue_time)
    start = {domain: issue_time - _past_seconds(world, domain) for domain in forecast.domains}
    scores, record = ScoreStore(objects, world.name), published.record(issue_time) or {}
    verified, issues = _verified(scores)
    model = _model(Registry(objects, world.name), forecast)
    before = [store.read(t) for t in published.issue_times(issue_time - _EARLIER_SECONDS) if t < issue_time][-_EARLIER:]
    looked = scores.newest(issue_time)
    seen = moment if looked is None else parse_instant(looked["as_of"])
    later = _cubes_at(world, settings, seen, [forecast, *before])
    registry, shown = Registry(objects, world.name), replay_evidence(settings, world, moment)
    return PageInputs(
        world=world,
        forecast=forecast,
        revision=issued.revision,
        cubes=reading.open_cubes(world, settings, moment, domains=forecast.domains, start=start),
        came={} if looked is None else _came(forecast, later, to_seconds(seen)),
        earlier=tuple(Earlier(forecast=f, came=_came(f, later, to_seconds(seen))) for f in before),
        scorecard=model.scorecard,
        replay=ReplayCard(card=shown.replay.scorecard(), retrain=shown.replay.record.retrain) if shown.replay else None,
        verified=verified,
        verified_issues=issues,
        explanation=model.explanation,
        promotions=tuple(p for p in registry.promotions() if parse_instant(p.as_of) <= moment),
        changes=tuple(change_lines(record.get("changes", {}))),
        card=model.card,
        products=_products(record),
        notes=shown.notes,
        version=VERSION,
    )


def _past_seconds(world: World, domain: str) -> int:
    settings = world.domains[domain]
    steps = max(20, 2 * settings.horizon) + 1
    return 86400 * (7 + 2 * steps) if settings.clock.step is None else int(settings.clock.step.total_seconds()) * steps


def _cubes_at(world: World, settings: Settings, seen: datetime, forecasts: list[Forecast]) -> dict[str, DomainCube]:
    """What was known at `seen` of all that these forecasts speak of."""
    names = sorted({name for forecast in forecasts for name in forecast.domains if name in world.domains})
    start = dict.fromkeys(names, min(forecast.issue_time for forecast in forecasts))
    return reading.open_cubes(world, settings, seen, domains=names, start=start, absent_is_fine=True)


def _came(forecast: Forecast, cubes: Mapping[str, DomainCube], now: int) -> dict[str, NDArray[np.float32]]:
    """What came of a forecast as known at `now`; a domain of which all is pending is left out."""
    found = {name: pair(domain, cubes.get(name), now) for name, domain in forecast.domains.items()}
    return {name: outcome.values_LNV for name, outcome in found.items() if outcome.counts.pending < outcome.counts.expected}


def _verified(scores: ScoreStore) -> tuple[tuple[ScoreRow, ...], int]:
    """Scores of the newest published forecasts together, and how many were compared with at least one observation."""
    known = scores.issue_times(newest=_ISSUES_SUMMED)
    if not known:
        return (), 0
    found = scores.period(known[0], known[-1])
    return score_rows(found.statistics, by_lead=False), found.observed


@dataclass(frozen=True, kw_only=True)
class _Model:
    card: Mapping[str, Any]
    scorecard: Scorecard | None
    explanation: Mapping[str, Any]


def _model(registry: Registry, forecast: Forecast) -> _Model:
    """What the registry says of the model that made a forecast."""
    model_id = str(forecast.provenance["model_id"])
    card = registry.candidate(model_id).card
    try:
        evidence = registry.evidence(model_id)
    except NotYetAvailable:
        return _Model(card=card, scorecard=None, explanation={})
    explanation = evidence.read("explanation.json")
    return _Model(card=card, scorecard=evidence.scorecard, explanation={} if explanation is None else json.loads(explanation))


def _products(record: dict[str, Any]) -> dict[str, str]:
    if not record:
        return {}
    tables = {"Parquet": record["parquet"], "Parquet of events": record.get("events", {})}
    parquet = {f"{kind}, {domain}": key.split("/published/", 1)[-1] for kind, keys in tables.items() for domain, key in keys.items()}
    return {**parquet, "Zarr, all issue times (Icechunk; a group per domain)": "zarr", "Newest, for programs": "latest.json"}

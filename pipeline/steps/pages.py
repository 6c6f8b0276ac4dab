"""The forecast page of one issue time, put together from what the stores hold; publish and verify both renew it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.contracts.forecasts import Forecast
from pipeline.contracts.scores import Promotion, Scorecard, ScoreRow
from pipeline.contracts.times import compact_instant, from_seconds, parse_instant
from pipeline.contracts.worlds import World
from pipeline.errors import NotYetAvailable
from pipeline.publishing.page import render_page
from pipeline.publishing.page_data import PageInputs
from pipeline.settings import VERSION, Settings
from pipeline.steps import reading
from pipeline.stores.forecasts import ForecastStore
from pipeline.stores.objects import ObjectStore
from pipeline.stores.published import PublishedStore
from pipeline.stores.registry import Registry
from pipeline.stores.scores import ScoreStore
from pipeline.verification.metrics import score_rows
from pipeline.verification.outcomes import pair

_ISSUES_SUMMED = 100


@dataclass(frozen=True, kw_only=True)
class Page:
    """Where a page lies, and whether it changed."""

    url: str
    changed: bool


def write_page(world: World, settings: Settings, issue_time: int) -> Page:
    """Render the page of a published issue time from what is stored now; `index.html` where it is the newest one.

    Raises:
        NotYetAvailable: Nothing was issued at that instant.
    """
    objects = ObjectStore(settings.store)
    published = PublishedStore(objects, world.name)
    issued = ForecastStore(objects, world.name).newest(issue_time)
    forecast = ForecastStore(objects, world.name).read(issue_time)
    moment = from_seconds(issue_time)
    start = {domain: issue_time - _past_seconds(world, domain) for domain in forecast.domains}
    cubes = reading.open_cubes(world, settings, moment, domains=forecast.domains, start=start)
    verified, issues = _verified(ScoreStore(objects, world.name))
    model = _model(Registry(objects, world.name), forecast)
    html = render_page(
        PageInputs(
            world=world,
            forecast=forecast,
            revision=issued.revision,
            cubes=cubes,
            came=_came(world, settings, forecast, ScoreStore(objects, world.name).newest(issue_time)),
            scorecard=model.scorecard,
            verified=verified,
            verified_issues=issues,
            explanation=model.explanation,
            promotion=model.promotion,
            card=model.card,
            products=_products(published.record(issue_time)),
            version=VERSION,
        )
    )
    name = "page/index.html" if published.newest() == [issue_time] else f"page/{compact_instant(moment)}.html"
    return Page(changed=published.view(name, html), url=published.url(name))


def _past_seconds(world: World, domain: str) -> int:
    settings = world.domains[domain]
    steps = max(20, 2 * settings.horizon) + 1
    return 86400 * (7 + 2 * steps) if settings.clock.step is None else int(settings.clock.step.total_seconds()) * steps


def _came(world: World, settings: Settings, forecast: Forecast, record: dict[str, Any] | None) -> dict[str, NDArray[np.float32]]:
    """What came, as known when the newest scores were made; nothing where there are none."""
    if record is None:
        return {}
    seen: datetime = parse_instant(record["as_of"])
    start = dict.fromkeys(forecast.domains, forecast.issue_time)
    cubes = reading.open_cubes(world, settings, seen, domains=forecast.domains, start=start, absent_is_fine=True)
    found = {name: pair(domain, cubes.get(name), int(seen.timestamp())) for name, domain in forecast.domains.items()}
    return {name: outcome.values_LNV for name, outcome in found.items() if outcome.counts.pending < outcome.counts.expected}


def _verified(scores: ScoreStore) -> tuple[tuple[ScoreRow, ...], int]:
    """Scores of the newest published forecasts together, and how many were compared with at least one observation."""
    known = scores.issue_times(newest=_ISSUES_SUMMED)
    if not known:
        return (), 0
    found = scores.period(known[0], known[-1])
    return tuple(row for row in score_rows(found.statistics) if row.lead == 0), found.observed


@dataclass(frozen=True, kw_only=True)
class _Model:
    card: Mapping[str, Any]
    promotion: Promotion | None
    scorecard: Scorecard | None
    explanation: Mapping[str, Any]


def _model(registry: Registry, forecast: Forecast) -> _Model:
    """What the registry says of the model that made a forecast."""
    model_id = str(forecast.provenance["model_id"])
    promotion = registry.champion(from_seconds(forecast.issue_time))
    card = registry.candidate(model_id).card
    try:
        evidence = registry.evidence(model_id)
    except NotYetAvailable:
        return _Model(card=card, promotion=promotion, scorecard=None, explanation={})
    explanation = evidence.read("explanation.json")
    return _Model(
        card=card, promotion=promotion, scorecard=evidence.scorecard, explanation={} if explanation is None else json.loads(explanation)
    )


def _products(record: dict[str, Any] | None) -> dict[str, str]:
    if record is None:
        return {}
    parquet = {f"Parquet, {domain}": key.split("/published/", 1)[-1] for domain, key in record["parquet"].items()}
    return {**parquet, "Zarr, all issue times (Icechunk; a group per domain)": "zarr", "Newest, for programs": "latest.json"}

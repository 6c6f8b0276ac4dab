"""verify: published forecasts against what happened, as far as it is known."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.api import Receipt, VerifyRequest
from pipeline.contracts.cubes import DomainCube
from pipeline.contracts.forecasts import DomainForecast, Forecast
from pipeline.contracts.times import format_instant, from_seconds, to_seconds
from pipeline.contracts.world_files import load_world
from pipeline.contracts.worlds import World
from pipeline.errors import NotYetAvailable
from pipeline.settings import Settings
from pipeline.steps import reading
from pipeline.steps.pages import write_page
from pipeline.stores.forecasts import ForecastStore, forecast_digest
from pipeline.stores.objects import ObjectStore
from pipeline.stores.published import PublishedStore
from pipeline.stores.scores import ScoreStore
from pipeline.telemetry import Progress
from pipeline.verification.metrics import score_rows
from pipeline.verification.outcomes import PUBLISHED, Counts, pair
from pipeline.verification.statistics import Axis, Statistics, score_windows

GRACE_SECONDS = 7 * 86400
"""How long after the last valid time late observations are still waited for."""


def run(request: VerifyRequest, settings: Settings, progress: Progress) -> Receipt:
    """The scores of every published forecast that is due and not final, as additive statistics per issue time.

    Raises:
        NotYetAvailable: One issue time was asked for and nothing was published at it.
    """
    world = load_world(request.world)
    objects = ObjectStore(settings.store)
    scores, published = ScoreStore(objects, world.name), PublishedStore(objects, world.name)
    now = to_seconds(request.as_of)
    due = _due(published.issue_times(), scores, request, now)
    changed, total, latest = 0, Counts.zero(), None
    if due:
        store = ForecastStore(objects, world.name)
        cubes = reading.open_cubes(world, settings, request.as_of, start=dict.fromkeys(world.domains, min(due)), absent_is_fine=True)
        with progress.stage("verify", len(due), "issue times") as stage:
            for issue_time in due:
                record = score_forecast(world, store.read(issue_time), cubes, now)
                changed += keep_scores(scores, issue_time, record)
                total, latest = total + Counts(**record["counts"]["all"]), record
                stage.advance(note=format_instant(from_seconds(issue_time)))
    known = published.newest()
    if latest is None and known:
        latest = scores.newest(known[-1])
    paths = {"scores": objects.url(f"scores/{world.name}")}
    page = write_page(world, settings, known[-1]) if known else None
    if page is not None:
        paths["page"] = page.url
    return Receipt(
        step=request.step,
        world=world.name,
        as_of=request.as_of,
        outcome="done" if changed or (page and page.changed) else "unchanged",
        ids={"forecast": latest["forecast"]} if latest else {},
        counts={"issue_times": len(due), "changed": changed, **total.to_json()},
        paths=paths,
        details={"latest": {k: latest[k] for k in ("issue_time", "counts", "final", "headline")} if latest else {}},
    )


def _due(published: list[int], scores: ScoreStore, request: VerifyRequest, now: int) -> list[int]:
    if request.issue_time is not None:
        asked = to_seconds(request.issue_time)
        if asked not in published:
            raise NotYetAvailable(
                asked=f"verify the forecast issued at {format_instant(request.issue_time)}",
                found=f"{len(published)} published issue times, not this one",
                mend=f"cubecast publish --world {request.world} --as-of {format_instant(request.issue_time)}",
            )
        return [asked]
    return [t for t in published if t <= now and not ((record := scores.newest(t)) and record["final"])]


def keep_scores(scores: ScoreStore, issue_time: int, record: dict[str, Any]) -> bool:
    """Keep a record unless only the instant of looking differs from the newest one."""
    known = scores.newest(issue_time)
    if known is not None and {**known, "as_of": None} == {**record, "as_of": None}:
        return False
    return scores.add(issue_time, record)


def score_forecast(world: World, forecast: Forecast, cubes: Mapping[str, DomainCube], now: int) -> dict[str, Any]:
    """The record of a forecast's scores, as the cubes and the instant `now` (seconds UTC) give them."""
    statistics, counts, last = Statistics.zero(), {}, forecast.issue_time
    for name, domain in forecast.domains.items():
        outcome = pair(domain, cubes.get(name), now)
        counts[name] = outcome.counts.to_json()
        last = max(last, int(domain.valid_time_L[-1]))
        axis = _axis(world, domain)
        for model, quantiles in _models(domain):
            statistics = statistics + score_windows(
                domain=name,
                axis=axis,
                model=model,
                issue_time_W=np.array([forecast.issue_time]),
                truth_WLNV=outcome.values_LNV[None],
                good_WLNV=outcome.good_LNV[None],
                quantiles_WLNVQ=quantiles[None],
            )
    everything = sum((Counts(**c) for c in counts.values()), Counts.zero())
    final = everything.pending == 0 and (everything.missing == 0 or now >= last + GRACE_SECONDS)
    rows = [r for r in score_rows(statistics) if r.lead == 0]
    return {
        "issue_time": format_instant(from_seconds(forecast.issue_time)),
        "forecast": forecast_digest(forecast),
        "as_of": format_instant(from_seconds(now)),
        "counts": {**counts, "all": everything.to_json()},
        "final": final,
        "headline": [r.model_dump(mode="json", include={"domain", "variable", "model", "n", "missing", "mae", "pinball"}) for r in rows],
        "statistics": statistics.to_json(),
    }


def _models(domain: DomainForecast) -> Iterable[tuple[str, NDArray[np.float32]]]:
    yield PUBLISHED, domain.quantiles_LNVQ
    yield from domain.rivals.items()


def _axis(world: World, domain: DomainForecast) -> Axis:
    step = world.domains[domain.domain].clock.step
    seconds = 86400 if step is None else int(step.total_seconds())
    leads = tuple(seconds * (i + 1) for i in range(len(domain.valid_time_L)))
    return Axis(variables=domain.variables, units=domain.units, lead_times=leads)

"""verify: published forecasts against what happened, as far as it is known."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.alignment.as_of import earlier
from pipeline.alignment.time_grid import step_seconds
from pipeline.api import Receipt, VerifyRequest
from pipeline.contracts.cubes import DomainCube
from pipeline.contracts.forecasts import MEDIAN, DomainForecast, Forecast
from pipeline.contracts.nodes import NodeSet
from pipeline.contracts.times import format_instant, from_seconds, to_seconds
from pipeline.contracts.world_files import load_world
from pipeline.contracts.worlds import World
from pipeline.errors import NotYetAvailable, StoreError
from pipeline.parallel import crew
from pipeline.settings import Settings
from pipeline.steps import reading
from pipeline.steps.pages import write_page
from pipeline.stores.forecasts import ForecastStore, forecast_digest
from pipeline.stores.objects import ObjectStore
from pipeline.stores.published import PublishedStore
from pipeline.stores.scores import ScoreStore
from pipeline.telemetry import Progress
from pipeline.verification.evaluation import CLIMATE
from pipeline.verification.grounds import Grounds, grounds_of
from pipeline.verification.metrics import score_rows
from pipeline.verification.outcomes import PUBLISHED, Counts, pair
from pipeline.verification.scoring import score_windows
from pipeline.verification.statistics import Axis, Statistics

GRACE_SECONDS = 7 * 86400
"""How long after the last valid time late observations are still waited for."""

_TOGETHER = 24
"""Issue times that one task scores, from one reading of the cubes about them."""

_CLOSED_DAYS = 7
"""Days that sessions may be apart."""


@dataclass(frozen=True, kw_only=True)
class _Scored:
    """What became of one issue time: its record, or why there is none."""

    issue_time: int
    record: dict[str, Any] | None
    damage: StoreError | None = None


def run(request: VerifyRequest, settings: Settings, progress: Progress) -> Receipt:
    """The scores of every published forecast that is due and not final, as additive statistics per issue time.

    Each task reads the cubes about its issue times only, so that memory does not grow with how many are due.

    Raises:
        NotYetAvailable: One issue time was asked for and nothing was published at it.
        StoreError: A published forecast is damaged; all others are scored and kept first.
    """
    world = load_world(request.world)
    objects = ObjectStore(settings.store)
    scores, published = ScoreStore(objects, world.name), PublishedStore(objects, world.name)
    due = _due(published.issue_times(), scores, request)
    tasks = [tuple(due[at : at + _TOGETHER]) for at in range(0, len(due), _TOGETHER)]
    scored = [each for done in _scored(request, settings, tasks, progress) for each in done]
    changed, total, latest = 0, Counts.zero(), None
    for each in scored:
        if each.record is not None:
            changed += keep_scores(scores, each.issue_time, each.record)
            total, latest = total + Counts(**each.record["counts"]["all"]), each.record
    scores.renew(scores.issue_times())
    _refuse_damage(scored)
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
        notes=(*_never_came([each.record for each in scored if each.record is not None]), *(page.notes if page else ())),
        details={"latest": {k: latest[k] for k in ("issue_time", "counts", "final", "headline")} if latest else {}},
    )


def _scored(request: VerifyRequest, settings: Settings, tasks: Sequence[tuple[int, ...]], progress: Progress) -> Iterator[list[_Scored]]:
    if not tasks:
        return iter(())
    work = partial(score_published, request.world, settings, to_seconds(request.as_of))
    with crew(settings) as workers:
        return iter(workers.map(work, tasks, progress, name="tasks"))


def _due(published: list[int], scores: ScoreStore, request: VerifyRequest) -> list[int]:
    if request.issue_time is not None:
        asked = to_seconds(request.issue_time)
        if asked not in published:
            raise NotYetAvailable(
                asked=f"verify the forecast issued at {format_instant(request.issue_time)}",
                found=f"{len(published)} published issue times, not this one",
                mend=f"cubecast publish --world {request.world} --as-of {format_instant(request.issue_time)}",
            )
        return [asked]
    passed = [t for t in published if t <= to_seconds(request.as_of)]
    final = scores.final(passed)
    return [t for t in passed if t not in final]


def keep_scores(scores: ScoreStore, issue_time: int, record: dict[str, Any]) -> bool:
    """Keep a record unless only the instant of looking differs from the newest one."""
    known = scores.newest(issue_time)
    if known is not None and {**known, "as_of": None} == {**record, "as_of": None}:
        return False
    return scores.add(issue_time, record)


def _refuse_damage(scored: Sequence[_Scored]) -> None:
    damaged = [each for each in scored if each.damage is not None]
    if damaged and damaged[0].damage is not None:
        first, instants = damaged[0].damage, ", ".join(format_instant(from_seconds(each.issue_time)) for each in damaged[:3])
        raise StoreError(
            asked=f"verify the forecast issued at {instants}" + (f" and {len(damaged) - 3} others" if len(damaged) > 3 else ""),
            found=f"{first.asked}: {first.found}; the other {len(scored) - len(damaged)} due were scored and kept",
            mend=first.mend,
        )


def _never_came(records: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """Per domain what was never observed of the forecasts that are closed now."""
    closed: dict[str, Counts] = {}
    for record in records:
        for name, counts in record["counts"].items() if record["final"] else ():
            if name != "all" and counts["missing"]:
                closed[name] = closed.get(name, Counts.zero()) + Counts(**counts)
    return tuple(
        f"domain {name}: {c.missing:,} of {c.expected:,} values never came; they are counted as missing, and not scored"
        for name, c in sorted(closed.items())
    )


def score_published(world_file: str, settings: Settings, now: int, issue_times: tuple[int, ...]) -> list[_Scored]:
    """The records of some issue times, from the cubes about them as known at `now` (seconds UTC)."""
    world = load_world(world_file)
    store = ForecastStore(ObjectStore(settings.store), world.name)
    start, until = {}, {}
    for name, domain in world.domains.items():
        step = step_seconds(domain.clock) * (2 if domain.clock.step is None else 1)
        start[name] = issue_times[0] - (domain.context + 1) * step
        until[name] = issue_times[-1] + (domain.horizon + 1) * step + (_CLOSED_DAYS * 86400 if domain.clock.step is None else 0)
    cubes = reading.open_cubes(world, settings, from_seconds(now), start=start, until=until, absent_is_fine=True)
    found = []
    for issue_time in issue_times:
        try:
            found.append(_Scored(issue_time=issue_time, record=score_forecast(world, store.read(issue_time), cubes, now)))
        except StoreError as error:
            found.append(_Scored(issue_time=issue_time, record=None, damage=error))
    return found


def score_forecast(
    world: World, forecast: Forecast, cubes: Mapping[str, DomainCube], now: int, digest: str | None = None
) -> dict[str, Any]:
    """The record of a forecast's scores, as the cubes and the instant `now` (seconds UTC) give them; `digest` is the forecast's, if known."""
    parts: list[Statistics] = []
    counts, last = {}, forecast.issue_time
    for name, domain in forecast.domains.items():
        cube = cubes.get(name)
        outcome = pair(domain, cube, now)
        counts[name] = outcome.counts.to_json()
        last = max(last, int(domain.valid_time_L[-1]))
        plain = _grounds(world, domain, cube, forecast.issue_time, {})
        told = _grounds(world, domain, cube, forecast.issue_time, domain.events) if domain.events else plain
        for model, quantiles in _models(domain):
            scored = score_windows(
                domain=name,
                axis=_axis(world, domain),
                model=model,
                issue_time_W=np.array([forecast.issue_time]),
                truth_WLNV=outcome.values_LNV[None],
                good_WLNV=outcome.good_LNV[None],
                quantiles_WLNVQ=quantiles[None],
                grounds=told if model == PUBLISHED else plain,
            )
            parts.append(scored)
    statistics = Statistics.added(parts)
    everything = sum((Counts(**c) for c in counts.values()), Counts.zero())
    final = everything.pending == 0 and (everything.missing == 0 or now >= last + GRACE_SECONDS)
    rows = score_rows(statistics, by_lead=False)
    return {
        "issue_time": format_instant(from_seconds(forecast.issue_time)),
        "forecast": digest or forecast_digest(forecast),
        "as_of": format_instant(from_seconds(now)),
        "counts": {**counts, "all": everything.to_json()},
        "final": final,
        "headline": [r.model_dump(mode="json", include={"domain", "variable", "model", "n", "missing", "mae", "pinball"}) for r in rows],
        "statistics": statistics.to_json(),
    }


def _models(domain: DomainForecast) -> Iterator[tuple[str, NDArray[np.float32]]]:
    yield PUBLISHED, domain.quantiles_LNVQ
    yield from domain.rivals.items()


def _grounds(
    world: World, domain: DomainForecast, cube: DomainCube | None, issue_time: int, events: Mapping[str, NDArray[np.float32]]
) -> Grounds:
    """By what a forecast's cells are told apart: the regimes that it carries, and what was known at its issue time.

    `events` are probabilities (L, N); of an event that is not among them it is the one that the quantiles give.
    """
    usual = domain.rivals.get(CLIMATE)
    return grounds_of(
        world.domains[domain.domain],
        _places(domain, cube),
        variables=domain.variables,
        units=domain.units,
        valid_time_WL=domain.valid_time_L[None],
        zone=world.zone,
        regimes={name: codes[None] for name, codes in domain.regimes.items()},
        origin_WNV=None if cube is None else _newest(domain, cube, issue_time)[None],
        climate_WLNV=None if usual is None else usual[None, ..., MEDIAN],
        probabilities={name: share[None] for name, share in events.items()},
    )


def _places(domain: DomainForecast, cube: DomainCube | None) -> NodeSet:
    """The forecast's nodes with the places that the cube knows."""
    at = {} if cube is None else {node: n for n, node in enumerate(cube.nodes.ids)}
    latitude, longitude = np.full((2, len(domain.node_ids)), np.nan)
    for n, node in enumerate(domain.node_ids):
        if cube is not None and node in at:
            latitude[n], longitude[n] = cube.nodes.latitude[at[node]], cube.nodes.longitude[at[node]]
    return NodeSet(ids=domain.node_ids, latitude=latitude, longitude=longitude)


def _newest(domain: DomainForecast, cube: DomainCube, issue_time: int) -> NDArray[np.float32]:
    """The newest good value (N, V) of each node as known at the issue time, NaN where there is none."""
    then = earlier(cube, min(issue_time, cube.as_of))
    shown = np.where(then.flags_TNV == 0, then.values_TNV, np.float32(np.nan))
    found = np.full((len(domain.node_ids), len(domain.variables)), np.nan, np.float32)
    at = {node: n for n, node in enumerate(then.nodes.ids)}
    ours = [n for n, node in enumerate(domain.node_ids) if node in at]
    theirs = [at[domain.node_ids[n]] for n in ours]
    for v, variable in enumerate(domain.variables):
        if variable in then.variables and len(shown):
            series = shown[:, theirs, then.variables.index(variable)]
            good = np.isfinite(series)
            last = len(series) - 1 - np.argmax(good[::-1], axis=0)
            found[ours, v] = np.where(good.any(axis=0), series[last, np.arange(len(theirs))], np.float32(np.nan))
    return found


def _axis(world: World, domain: DomainForecast) -> Axis:
    seconds = step_seconds(world.domains[domain.domain].clock)
    leads = tuple(seconds * (i + 1) for i in range(len(domain.valid_time_L)))
    return Axis(variables=domain.variables, units=domain.units, lead_times=leads)

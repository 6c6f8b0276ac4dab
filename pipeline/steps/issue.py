"""Issuing in a lane: a run of past issue times, each forecast, published and scored from cubes that are opened once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import Any, TypeVar

import numpy as np

from pipeline.alignment.as_of import earlier
from pipeline.contracts.cubes import DomainCube
from pipeline.contracts.forecasts import Forecast
from pipeline.contracts.replays import Mode
from pipeline.contracts.scores import Promotion
from pipeline.contracts.times import format_instant, from_seconds
from pipeline.contracts.world_files import load_world
from pipeline.contracts.worlds import World
from pipeline.errors import ConflictError, LookaheadError, NotYetAvailable
from pipeline.settings import Settings
from pipeline.steps import reading
from pipeline.steps.calibrating import taught_from
from pipeline.steps.forecasting import Maker, load_maker, make_forecast
from pipeline.steps.incumbents import makers_of
from pipeline.steps.publish import put_tables
from pipeline.steps.verify import keep_scores, score_forecast
from pipeline.stores.forecasts import ForecastStore, Issued
from pipeline.stores.objects import ObjectStore
from pipeline.stores.published import PublishedStore
from pipeline.stores.registry import Registry
from pipeline.stores.scores import ScoreStore
from pipeline.telemetry import QUIET
from pipeline.windows.maturity import label_maturity

Result = TypeVar("Result")


@dataclass(frozen=True, kw_only=True)
class Chunk:
    """Issue times that one process works on.

    Attributes:
        settings: Of the lane.
        issues: Issue times (seconds UTC), each with what is published at it.
        since: The first issue time (seconds UTC) that the cubes of all chunks are opened for.
        until: As of when they are opened.
        snapshot: Of the cubes, the one that is read.
        now: As of when it is asked; outcomes later than that are pending.
    """

    world: str
    settings: Settings
    lane_id: str
    mode: Mode
    issues: tuple[tuple[int, Promotion], ...]
    since: int
    until: int
    snapshot: str
    now: int


@dataclass(kw_only=True)
class Done:
    """What became of a chunk: how many were issued and scored now, and why others were not issued."""

    issued: int = 0
    scored: int = 0
    refused: dict[int, str] = field(default_factory=dict)


def work(chunk: Chunk) -> Done:
    """Issue, publish and score what is not there yet; the same forecasts in whichever process and order.

    Raises:
        LookaheadError: A model was trained on data later than an issue time, and the mode is replay.
    """
    world, objects, done = load_world(chunk.world), ObjectStore(chunk.settings.store), Done()
    published, scores = PublishedStore(objects, world.name), ScoreStore(objects, world.name)
    inputs = _inputs(chunk.world, chunk.settings, chunk.since, chunk.until, chunk.snapshot)
    for issue_time, champion in chunk.issues:
        known = scores.newest(issue_time)
        if published.record(issue_time) is not None and known is not None and known["final"]:
            continue
        try:
            forecast, digest, fresh = _issued(chunk, world, champion, inputs, issue_time, published)
        except NotYetAvailable as error:
            done.refused[issue_time] = error.found
            continue
        done.issued += fresh
        scored = mature_scores(world, forecast, inputs.cubes, chunk.now, digest)
        done.scored += _repeated(partial(keep_scores, scores, issue_time, scored))
    return done


def _issued(
    chunk: Chunk, world: World, champion: Promotion, inputs: reading.Inputs, issue_time: int, published: PublishedStore
) -> tuple[Forecast, str, bool]:
    """The forecast of an issue time, published, its digest, and whether it was made now."""
    forecasts = ForecastStore(ObjectStore(chunk.settings.store), world.name)
    if (record := published.record(issue_time)) is not None:
        return forecasts.read(issue_time), record["forecast"], False
    forecast = _forecast(chunk, world, champion, inputs, issue_time)
    issued, _ = _repeated(partial(forecasts.add, forecast))
    _repeated(partial(_publish, world, published, forecast, issued))
    return forecast, issued.digest, True


def mature_scores(world: World, forecast: Forecast, cubes: Mapping[str, DomainCube], now: int, digest: str) -> dict[str, Any]:
    """The record of the scores of a forecast of that digest, each domain's as of the instant at which its last label was mature.

    So they depend on neither when the replay is run nor on what was corrected later, and may be evidence from
    `mature_time` on.
    """
    mature = {name: int(d.valid_time_L[-1]) + label_maturity(world, name) for name, d in forecast.domains.items()}
    last = max(mature.values())
    seen = {}
    for name, domain in forecast.domains.items():
        first = max(int(np.searchsorted(cubes[name].valid_time, domain.valid_time_L[0])) - world.domains[name].context - 1, 0)
        seen[name] = earlier(cubes[name], min(mature[name], now), first=first)
    times = {name: format_instant(from_seconds(moment)) for name, moment in mature.items()}
    return score_forecast(world, forecast, seen, min(last, now), digest) | {"final": last <= now, "mature_time": times}


def _forecast(chunk: Chunk, world: World, champion: Promotion, inputs: reading.Inputs, issue_time: int) -> Forecast:
    makers = {model_id: _maker(chunk.world, chunk.settings, model_id) for model_id in makers_of(champion)}
    marks = {"lane": chunk.lane_id, **({"mode": "reforecast"} if chunk.mode == "reforecast" else {})}
    for maker in makers.values():
        if chunk.mode == "replay" and maker.candidate.as_of > from_seconds(issue_time):
            raise LookaheadError(
                asked=f"replay the forecast of {format_instant(from_seconds(issue_time))}",
                found=f"champion {maker.candidate.model_id} trained on data until {format_instant(maker.candidate.as_of)}",
                mend="look at the lane's registry; --mode reforecast applies a later model to the past on purpose",
            )
    return make_forecast(world, champion, makers, inputs, issue_time, marks)


def _publish(world: World, published: PublishedStore, forecast: Forecast, issued: Issued) -> None:
    """Parquet, and the record that makes it visible; neither Zarr nor page."""
    record, _ = put_tables(world, published, forecast, issued, QUIET)
    published.commit(forecast.issue_time, record)


def _repeated(write: Callable[[], Result]) -> Result:
    """What a write gives; once more where another process, working on the same issue time, came first."""
    try:
        return write()
    except ConflictError:
        return write()


@lru_cache(maxsize=1)
def _inputs(world_file: str, settings: Settings, since: int, until: int, snapshot: str) -> reading.Inputs:
    world = load_world(world_file)
    return reading.open_inputs(world, settings, from_seconds(until), live=True, since=taught_from(world, since), at=snapshot)


@lru_cache(maxsize=4)
def _maker(world_file: str, settings: Settings, model_id: str) -> Maker:
    world = load_world(world_file)
    return load_maker(world, settings, Registry(ObjectStore(settings.store), world.name), model_id)

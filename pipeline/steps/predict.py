"""predict: the champion as of the issue time, on what was known at the issue time."""

from __future__ import annotations

from pipeline.api import PredictRequest, Receipt
from pipeline.contracts.times import format_instant, to_seconds
from pipeline.contracts.world_files import load_world
from pipeline.errors import LookaheadError
from pipeline.monitoring.freshness import late
from pipeline.publishing.tables import headline
from pipeline.settings import Settings
from pipeline.steps import reading
from pipeline.steps.forecasting import load_maker, make_forecast
from pipeline.steps.incumbents import makers_of
from pipeline.stores.forecasts import ForecastStore
from pipeline.stores.objects import ObjectStore
from pipeline.stores.registry import Registry
from pipeline.telemetry import Progress


def run(request: PredictRequest, settings: Settings, progress: Progress) -> Receipt:
    """The forecast of every domain that has its context; per target by the model that was promoted for it.

    Raises:
        NotYetAvailable: Nothing was promoted by the issue time, or no domain has its context yet.
        LookaheadError: The champion was trained on data later than the issue time.
    """
    world = load_world(request.world)
    objects = ObjectStore(settings.store)
    registry = Registry(objects, world.name)
    champion = registry.champion(request.as_of)
    candidate = registry.candidate(champion.model_id)
    if candidate.as_of > request.as_of:
        raise LookaheadError(
            asked=f"forecast at {format_instant(request.as_of)}",
            found=f"champion {candidate.model_id} trained on data until {format_instant(candidate.as_of)}",
            mend="promote a model with an earlier cut-off, or ask for a later issue time",
        )
    issue_time = to_seconds(request.as_of)
    known = reading.open_inputs(world, settings, request.as_of, live=True)
    with progress.stage("predict", len(known.cubes), "domains") as stage:
        makers = {model_id: load_maker(world, settings, registry, model_id) for model_id in makers_of(champion)}
        forecast = make_forecast(world, champion, makers, known, issue_time, look=True)
        stage.advance(len(known.cubes))
    issued, created = ForecastStore(objects, world.name).add(forecast)
    return Receipt(
        step=request.step,
        world=world.name,
        as_of=request.as_of,
        outcome="done" if created else "unchanged",
        ids={"model_id": candidate.model_id, "forecast": issued.digest, "snapshot": forecast.provenance["snapshot"]},
        counts={
            "domains": len(forecast.domains),
            "values": sum(d.quantiles_LNVQ[..., 0].size for d in forecast.domains.values()),
            "revision": issued.revision,
        },
        paths={"forecast": issued.url},
        notes=tuple(f"domain {name} has no context at this issue time and is not forecast" for name in forecast.provenance["absent"]),
        details={
            "late": late(world, known.cubes, as_of=issue_time),
            "inputs": {d: {k: v for k, v in row.items() if k != "variables"} for d, row in forecast.provenance["inputs"].items()},
            "published": {d: dict(zip(f.variables, f.model_V, strict=True)) for d, f in forecast.domains.items()},
            "headline": {d: headline(f) for d, f in forecast.domains.items()},
        },
    )

"""promote: per target, the joint model is published only where it beats its baselines; otherwise the best baseline is."""

from __future__ import annotations

import json
from datetime import datetime

from pipeline.api import PromoteRequest, Receipt
from pipeline.contracts.forecasts import JOINT
from pipeline.contracts.scores import Promotion
from pipeline.contracts.times import format_instant
from pipeline.contracts.world_files import load_world
from pipeline.errors import ContractError, LookaheadError, NotYetAvailable
from pipeline.settings import Settings
from pipeline.stores.objects import ObjectStore
from pipeline.stores.registry import Candidate, Registry
from pipeline.telemetry import Progress
from pipeline.verification.promotion import verdicts
from pipeline.verification.statistics import Statistics


def run(request: PromoteRequest, settings: Settings, progress: Progress) -> Receipt:
    """An entry in the log of champions, with a verdict and its reasons for each target.

    Raises:
        NotYetAvailable: There is no candidate as of the request, or it was never evaluated.
        LookaheadError: The candidate was trained on data later than the request's `as_of`.
        ContractError: The evaluation left no statistics.
    """
    world = load_world(request.world)
    registry = Registry(ObjectStore(settings.store), world.name)
    candidate = trained_by(registry, request.model_id or registry.newest_candidate(request.as_of), request.as_of)
    statistics = statistics_of(registry, candidate.model_id)
    previous = champion_as_of(registry, request.as_of)
    with progress.stage("promote", None) as stage:
        decided = verdicts(statistics)
        stage.advance(len(decided), "targets decided")
    won = sum(verdict.published == JOINT for verdict in decided)
    promotion = Promotion(
        world=world.name,
        as_of=format_instant(request.as_of),
        model_id=candidate.model_id,
        previous=previous.model_id if previous else None,
        verdicts=decided,
        reason=f"on windows that no model has seen, the joint model beats every baseline for {won} of {len(decided)} targets",
    )
    created = not _rolled_back(previous, candidate.model_id) and registry.promote(promotion)
    current = registry.champion(request.as_of)
    return Receipt(
        step=request.step,
        world=world.name,
        as_of=request.as_of,
        outcome="done" if created else "unchanged",
        ids={"model_id": current.model_id},
        counts={"targets": len(current.verdicts), "joint": sum(v.published == JOINT for v in current.verdicts)},
        notes=(current.reason,),
        details={"verdicts": [verdict.model_dump(mode="json") for verdict in current.verdicts], "previous": current.previous},
    )


def trained_by(registry: Registry, model_id: str, as_of: datetime) -> Candidate:
    """A candidate whose training cut-off is not later than `as_of`.

    Raises:
        NotYetAvailable: There is no such candidate.
        LookaheadError: It was trained on data later than `as_of`.
    """
    candidate = registry.candidate(model_id)
    if candidate.as_of > as_of:
        raise LookaheadError(
            asked=f"model {candidate.model_id} as of {format_instant(as_of)}",
            found=f"it was trained on data until {format_instant(candidate.as_of)}",
            mend="ask with a later --as-of",
        )
    return candidate


def statistics_of(registry: Registry, model_id: str) -> Statistics:
    """The statistics that the newest evaluation of a candidate left.

    Raises:
        NotYetAvailable: It was never evaluated.
        ContractError: The evaluation left no statistics.
    """
    content = registry.evidence(model_id).read("statistics.json")
    if content is None:
        raise ContractError(asked=f"judge model {model_id}", found="a scorecard without statistics", mend="run cubecast evaluate again")
    return Statistics.from_json(json.loads(content))


def champion_as_of(registry: Registry, as_of: datetime) -> Promotion | None:
    """The entry of the champion's log in force at an instant, or None where nothing was promoted by then."""
    try:
        return registry.champion(as_of)
    except NotYetAvailable:
        return None


def _rolled_back(champion: Promotion | None, model_id: str) -> bool:
    """Whether the champion stands because a person moved back from this very model: only a person undoes that."""
    return champion is not None and champion.how == "rollback" and champion.previous == model_id

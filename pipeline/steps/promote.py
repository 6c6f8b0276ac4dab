"""promote: per target, the joint model is published only where it beats its baselines; otherwise the best baseline is."""

from __future__ import annotations

import json

from pipeline.api import PromoteRequest, Receipt
from pipeline.contracts.forecasts import JOINT, Promotion
from pipeline.contracts.times import format_instant, parse_instant
from pipeline.contracts.worlds import load_world
from pipeline.errors import ContractError, LookaheadError, NotYetAvailable
from pipeline.settings import Settings
from pipeline.stores.objects import ObjectStore
from pipeline.stores.registry import Registry
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
    candidate = registry.candidate(request.model_id or registry.newest_candidate(request.as_of))
    if candidate.as_of > request.as_of:
        raise LookaheadError(
            asked=f"promote model {candidate.model_id} as of {format_instant(request.as_of)}",
            found=f"it was trained on data until {format_instant(candidate.as_of)}",
            mend="ask with a later --as-of",
        )
    evidence = registry.evidence(candidate.model_id)
    content = evidence.read("statistics.json")
    if content is None:
        raise ContractError(
            asked=f"promote model {candidate.model_id}", found="a scorecard without statistics", mend="run cubecast evaluate again"
        )
    previous = _previous(registry, request)
    with progress.stage("promote", None) as stage:
        decided = verdicts(Statistics.from_json(json.loads(content)))
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
    created = registry.promote(promotion)
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


def _previous(registry: Registry, request: PromoteRequest) -> Promotion | None:
    try:
        found = registry.champion(request.as_of)
    except NotYetAvailable:
        return None
    return None if parse_instant(found.as_of) > request.as_of else found

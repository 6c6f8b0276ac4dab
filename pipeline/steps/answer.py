"""answer: what a person said of a proposal, entered in the log of decisions; approved, it takes the champion's place."""

from __future__ import annotations

from collections.abc import Callable

from pipeline.api import AnswerRequest, Receipt
from pipeline.contracts.times import format_instant
from pipeline.contracts.world_files import load_world
from pipeline.settings import Settings
from pipeline.steps.champions import approve, reject
from pipeline.steps.promote import learned_from
from pipeline.stores.objects import ObjectStore
from pipeline.stores.registry import Registry
from pipeline.telemetry import Progress


def run(request: AnswerRequest, settings: Settings, progress: Progress) -> Receipt:
    """The answer in force; `unchanged` where a person has answered for that model before, whatever the answer was.

    Raises:
        NotYetAvailable: No proposal of that model waits at that instant.
        ConflictError: The champion has changed since it was proposed.
    """
    world = load_world(request.world)
    registry = Registry(ObjectStore(settings.store), world.name)
    candidate = registry.candidate(request.model_id)
    known = [d for d in registry.decisions.read() if d.model_id == candidate.model_id]
    said = known[-1] if known and known[-1].decided else None
    if said is None:
        enter: Callable[..., object] = approve if request.answer == "approve" else reject
        with progress.stage("answer", None):
            enter(registry, candidate.model_id, as_of=request.as_of, reason=request.reason)
    outcome = said.outcome if said else {"approve": "approved", "reject": "rejected"}[request.answer]
    told = said or request
    return Receipt(
        step=request.step,
        world=world.name,
        as_of=request.as_of,
        outcome="unchanged" if said else "done",
        ids={"model_id": candidate.model_id, **learned_from(candidate), "answer": outcome},
        notes=(f"{candidate.model_id} is {outcome} as of {said.decided if said else format_instant(request.as_of)}: {told.reason}",),
    )

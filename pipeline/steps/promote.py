"""promote: per target, the candidate is published only on evidence against the champion and every baseline."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Literal

from pipeline.api import PromoteRequest, Receipt
from pipeline.contracts.forecasts import CHAMPION, JOINT
from pipeline.contracts.scores import Decision, Promotion, Scorecard, Verdict
from pipeline.contracts.times import format_instant, from_seconds, parse_instant
from pipeline.contracts.world_files import load_world
from pipeline.contracts.worlds import World
from pipeline.errors import ContractError, LookaheadError, NotYetAvailable, StoreError
from pipeline.settings import Settings
from pipeline.steps.incumbents import champion_before, damaged_champion, makers_of
from pipeline.steps.replayed import Replayed, replay_of_kind
from pipeline.stores.objects import ObjectStore
from pipeline.stores.registry import Candidate, Evidence, Registry
from pipeline.telemetry import Progress
from pipeline.verification.evidence import Replay
from pipeline.verification.promotion import Incumbent, verdicts
from pipeline.verification.statistics import Statistics


def run(request: PromoteRequest, settings: Settings, progress: Progress) -> Receipt:
    """A decision with a verdict and its reasons for each target; where the candidate takes one, an entry in the log of champions.

    Where the world asks for a person's approval, the decision is a proposal, and the champion stays until it is approved.

    Raises:
        NotYetAvailable: There is no candidate as of the request, or it was not evaluated against the champion of that instant.
        LookaheadError: The candidate was trained on data later than the request's `as_of`.
        ContractError: The evaluation left no statistics.
        StoreError: A file of the champion is damaged, so that it cannot be judged.
    """
    world = load_world(request.world)
    registry = Registry(ObjectStore(settings.store), world.name)
    candidate = trained_by(registry, request.model_id or registry.newest_candidate(request.as_of), request.as_of)
    with progress.stage("promote", None) as stage:
        shown = replay_of_kind(settings, world, candidate.card, request.as_of)
        decision, created = promote_on_evidence(world, registry, candidate, request.as_of, shown.replay)
        stage.advance(len(decision.verdicts), "targets decided")
    current = champion_as_of(registry, request.as_of)
    published = current.verdicts if current else ()
    return Receipt(
        step=request.step,
        world=world.name,
        as_of=request.as_of,
        outcome="done" if created else "unchanged",
        ids={"candidate": candidate.model_id, **learned_from(candidate), **({"model_id": current.model_id} if current else {})},
        counts={"targets": len(published), "joint": sum(v.published == JOINT for v in published)},
        notes=(decision.reason, *shown.notes),
        details={
            "decision": decision.outcome,
            "expires": decision.expires,
            "verdicts": [verdict.model_dump(mode="json", exclude={"checks"}) for verdict in decision.verdicts],
            "previous": decision.champion,
        },
    )


def learned_from(candidate: Candidate) -> dict[str, str]:
    """The snapshot of the cube that a candidate was trained and judged on, as `snapshot`."""
    return {name: str(found) for name, found in candidate.card.items() if name == "snapshot"}


def promote_on_evidence(
    world: World, registry: Registry, candidate: Candidate, as_of: datetime, replay: Replayed | None = None
) -> tuple[Decision, bool]:
    """The decision on a candidate as of an instant, entered in the logs, and whether that changed them.

    Raises:
        NotYetAvailable: The candidate was not evaluated against the champion of that instant.
        StoreError: A file of the champion is damaged.
    """
    decision = decide(world, registry, candidate, champion_before(registry, as_of, candidate.model_id), as_of, replay)
    created = registry.decisions.add(decision)
    if decision.outcome == "promoted":
        created = registry.promote(promotion_of(decision, how="evidence", as_of=as_of, reason=decision.reason)) or created
    return decision, created


def decide(
    world: World, registry: Registry, candidate: Candidate, before: Promotion | None, as_of: datetime, replay: Replayed | None = None
) -> Decision:
    """What the evidence says of a candidate against the champion before it; nothing is written.

    It is held against the champion on windows that neither has seen, and against the baselines there, or where a replay
    by models of its kind has shown enough by then, in that.

    Raises:
        NotYetAvailable: The candidate was not evaluated against that champion.
        StoreError: A file of the champion is damaged.
    """
    if before is not None and (why := _settled(before, candidate.model_id, as_of)):
        return _decision(world, candidate, before, as_of, "kept", before.verdicts, why)
    evidence = evidence_against(registry, candidate.model_id, before.model_id if before else None)
    incumbent = _incumbent(registry, before, evidence.scorecard) if before else None
    domains = frozenset(candidate.card.get("windows", {}))
    decided = verdicts(
        statistics_in(evidence, candidate.model_id),
        world.promotion,
        candidate=candidate.model_id,
        incumbent=incumbent,
        domains=domains,
        replay=Replay(name=replay.lane_id, statistics=replay.statistics) if replay else None,
    )
    taken = [v for v in decided if v.model_id == candidate.model_id]
    won = sum(v.published == JOINT for v in taken)
    if not taken:
        return _decision(world, candidate, before, as_of, "kept", decided, "the champion stays for every target; the verdicts say why")
    reason = f"on windows that no model has seen, the joint model beats every baseline for {won} of {len(decided)} targets"
    if before is not None:
        reason = f"on windows that no model has seen, it takes {len(taken)} of {len(decided)} targets from {before.model_id}, {won} of them as joint model"
    if replay is not None and any(f"in replay {replay.lane_id}" in text for v in taken for text in v.reasons):
        reason += f"; the baselines were held against it in replay {replay.lane_id}, {_period(replay)}"
    outcome: Literal["pending", "promoted"] = "pending" if world.promotion.approval == "human" else "promoted"
    return _decision(world, candidate, before, as_of, outcome, decided, reason)


def _period(replay: Replayed) -> str:
    times = sorted(set().union(*replay.issue_times.values()))
    return f"{len(times)} issue times from {format_instant(from_seconds(times[0]))} to {format_instant(from_seconds(times[-1]))}"


def _decision(
    world: World,
    candidate: Candidate,
    before: Promotion | None,
    as_of: datetime,
    outcome: Literal["kept", "pending", "promoted"],
    decided: Sequence[Verdict],
    reason: str,
) -> Decision:
    expires = format_instant(as_of + world.promotion.time_out) if outcome == "pending" else None
    return Decision(
        world=world.name,
        as_of=format_instant(as_of),
        model_id=candidate.model_id,
        champion=before.model_id if before else None,
        outcome=outcome,
        verdicts=tuple(decided),
        expires=expires,
        reason=reason + (f"; awaits approval until {expires}" if expires else ""),
    )


def _incumbent(registry: Registry, champion: Promotion, card: Scorecard) -> Incumbent:
    domains: set[str] = set()
    for model_id in makers_of(champion):
        domains |= set(_whole(registry.candidate(model_id)).card.get("windows", {}))
    prefix = f"{CHAMPION} {champion.model_id}, "
    reasons = dict(note.removeprefix(prefix).split(": ", 1) for note in card.notes if note.startswith(prefix))
    return Incumbent(
        model_id=champion.model_id,
        verdicts={(v.domain, v.variable): v for v in champion.verdicts},
        not_comparable=reasons,
        domains=frozenset(domains),
    )


def _whole(champion: Candidate) -> Candidate:
    """The same, each of its files read and found whole.

    Raises:
        StoreError: One is damaged; the mend names the ways on.
    """
    try:
        for name in champion.file_names:
            champion.read(name)
    except StoreError as error:
        raise damaged_champion(champion.model_id, error) from error
    return champion


def promotion_of(decision: Decision, *, how: Literal["evidence", "approval"], as_of: datetime, reason: str) -> Promotion:
    """The entry of the champion's log that a decision asks for, in force from `as_of` on."""
    return Promotion(
        world=decision.world,
        as_of=format_instant(as_of),
        model_id=decision.model_id,
        previous=decision.champion,
        verdicts=decision.verdicts,
        reason=reason,
        how=how,
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
            asked=f"promote model {candidate.model_id} as of {format_instant(as_of)}",
            found=f"it was trained on data until {format_instant(candidate.as_of)}",
            mend="ask with a later --as-of",
        )
    return candidate


def evidence_against(registry: Registry, model_id: str, champion: str | None) -> Evidence:
    """The newest evaluation of a candidate against a champion, or, without one, of the candidate by itself.

    Raises:
        NotYetAvailable: It was never evaluated, or never against that champion.
    """
    registry.evidence(model_id)
    fitting = [e for e in registry.evidences(model_id) if champion is None or e.scorecard.champion == champion]
    if not fitting:
        raise NotYetAvailable(
            asked=f"judge model {model_id} against champion {champion}",
            found="it was evaluated, but not against this champion",
            mend="run cubecast evaluate again with the --as-of of the promotion; the candidate itself is not scored again",
        )
    return fitting[-1]


def statistics_in(evidence: Evidence, model_id: str) -> Statistics:
    """The statistics that an evaluation left.

    Raises:
        ContractError: It left none.
    """
    content = evidence.read("statistics.json")
    if content is None:
        raise ContractError(asked=f"judge model {model_id}", found="a scorecard without statistics", mend="run cubecast evaluate again")
    return Statistics.from_json(json.loads(content))


def statistics_of(registry: Registry, model_id: str) -> Statistics:
    """The statistics that the newest evaluation of a candidate left.

    Raises:
        NotYetAvailable: It was never evaluated.
        ContractError: The evaluation left no statistics.
    """
    return statistics_in(registry.evidence(model_id), model_id)


def champion_as_of(registry: Registry, as_of: datetime) -> Promotion | None:
    """The entry of the champion's log in force at an instant, or None where nothing was promoted by then."""
    try:
        return registry.champion(as_of)
    except NotYetAvailable:
        return None


def _settled(champion: Promotion, model_id: str, as_of: datetime) -> str | None:
    """Why evidence has nothing to say any more: the champion is this very model, or a person has decided."""
    if champion.how == "rollback" and champion.previous == model_id:
        return f"a person moved back from it to {champion.model_id}: only a person undoes that"
    if champion.how in ("hand", "rollback") and parse_instant(champion.as_of) == as_of:
        return f"a person named {champion.model_id} the champion as of this instant"
    return "it is the champion already" if champion.model_id == model_id else None

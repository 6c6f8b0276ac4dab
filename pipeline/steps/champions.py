"""Changing the champion by hand: each change is one more entry in the log, with its reason; earlier instants keep theirs."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from pipeline.contracts.scores import Decision, Promotion, Verdict
from pipeline.contracts.times import format_instant, parse_instant
from pipeline.contracts.worlds import World
from pipeline.errors import ConfigError, ConflictError, NotYetAvailable
from pipeline.steps.promote import champion_as_of, promotion_of, statistics_of, trained_by
from pipeline.stores.registry import Registry
from pipeline.verification.promotion import verdicts


@dataclass(frozen=True, kw_only=True)
class Change:
    """What a hand-made change did: the entry in force at its instant, and whether it is new."""

    promotion: Promotion
    created: bool


def promote_by_hand(registry: Registry, world: World, model_id: str, *, as_of: datetime, reason: str) -> Change:
    """Name a model the champion from `as_of` on for all targets, with the verdicts of its own scorecard.

    Raises:
        NotYetAvailable: There is no such model, or it was never evaluated.
        LookaheadError: It was trained on data later than `as_of`.
        ConfigError: No reason is given.
    """
    candidate = trained_by(registry, model_id, as_of)
    decided = verdicts(statistics_of(registry, candidate.model_id), world.promotion, candidate=candidate.model_id)
    return _enter(registry, world.name, candidate.model_id, decided, as_of=as_of, reason=reason, how="hand")


def roll_back(registry: Registry, world_name: str, *, as_of: datetime, reason: str) -> Change:
    """Name the champion before the one of `as_of` again, with what was published then; once at one instant.

    Raises:
        NotYetAvailable: There is no champion as of that instant, or none before it.
        ConfigError: No reason is given.
    """
    current = registry.champion(as_of)
    if current.how == "rollback" and parse_instant(current.as_of) == as_of:
        return Change(promotion=current, created=False)
    earlier = _line(registry.promotions(), as_of)[:-1]
    while earlier and earlier[-1].model_id == current.model_id:
        earlier.pop()
    if not earlier:
        raise NotYetAvailable(
            asked=f"roll back the champion of world {world_name} as of {format_instant(as_of)}",
            found=f"no other champion before {current.model_id}",
            mend=f"name one yourself: cubecast models promote MODEL --world {world_name}; cubecast models list shows which there are",
        )
    return _enter(registry, world_name, earlier[-1].model_id, earlier[-1].verdicts, as_of=as_of, reason=reason, how="rollback")


def approve(registry: Registry, model_id: str, *, as_of: datetime, reason: str) -> Change:
    """Let a proposal that waits for a person come true from `as_of` on.

    Raises:
        NotYetAvailable: No proposal of that model waits at that instant.
        ConflictError: The champion has changed since it was proposed.
        ConfigError: No reason is given.
    """
    proposal = _proposal(registry, model_id, as_of)
    current = champion_as_of(registry, as_of)
    if (current.model_id if current else None) not in (proposal.champion, proposal.model_id):
        raise ConflictError(
            asked=f"approve model {proposal.model_id} in place of {proposal.champion or 'no champion'}",
            found=f"champion {current.model_id if current else 'none'} since then",
            mend="run cubecast evaluate and cubecast promote again: they compare it with the champion of now",
        )
    said = _reasoned(reason)
    created = registry.promote(promotion_of(proposal, how="approval", as_of=as_of, reason=said))
    registry.decisions.add(proposal.model_copy(update={"outcome": "approved", "decided": format_instant(as_of), "reason": said}))
    return Change(promotion=registry.champion(as_of), created=created)


def reject(registry: Registry, model_id: str, *, as_of: datetime, reason: str) -> Decision:
    """Let a proposal that waits for a person lapse: the champion stays.

    Raises:
        NotYetAvailable: No proposal of that model waits at that instant.
        ConfigError: No reason is given.
    """
    proposal = _proposal(registry, model_id, as_of)
    rejected = proposal.model_copy(update={"outcome": "rejected", "decided": format_instant(as_of), "reason": _reasoned(reason)})
    registry.decisions.add(rejected)
    return rejected


def _proposal(registry: Registry, model_id: str, as_of: datetime) -> Decision:
    candidate = registry.candidate(model_id)
    waiting = registry.decisions.pending(as_of)
    found = [d for d in waiting if d.model_id == candidate.model_id]
    if not found:
        known = [d for d in registry.decisions.read() if d.model_id == candidate.model_id]
        last = f"; its newest decision: {known[-1].outcome} as of {known[-1].as_of}" if known else ""
        expired = f", waited until {known[-1].expires}" if known and known[-1].expires else ""
        raise NotYetAvailable(
            asked=f"a proposal of model {candidate.model_id} that waits at {format_instant(as_of)}",
            found=f"none{last}{expired}; waiting are: {', '.join(d.model_id for d in waiting) or 'none'}",
            mend="promote it again, or name it by hand: cubecast models promote MODEL",
        )
    return found[-1]


def _reasoned(reason: str) -> str:
    if not reason.strip():
        raise ConfigError(asked="--reason", found="nothing", mend='say why, such as --reason "drift in the sensors of the harbour"')
    return reason.strip()


def _line(promotions: list[Promotion], as_of: datetime) -> list[Promotion]:
    """The champions that led to the one of an instant, each entry that a rollback undid left out."""
    line: list[Promotion] = []
    for entry in sorted((p for p in promotions if parse_instant(p.as_of) <= as_of), key=lambda p: parse_instant(p.as_of)):
        if entry.how == "rollback":
            while line and line[-1].model_id != entry.model_id:
                line.pop()
            line = line[:-1]
        line.append(entry)
    return line


def _enter(
    registry: Registry,
    world_name: str,
    model_id: str,
    decided: tuple[Verdict, ...],
    *,
    as_of: datetime,
    reason: str,
    how: Literal["hand", "rollback"],
) -> Change:
    said = _reasoned(reason)
    previous = champion_as_of(registry, as_of)
    promotion = Promotion(
        world=world_name,
        as_of=format_instant(as_of),
        model_id=model_id,
        previous=previous.model_id if previous else None,
        verdicts=decided,
        reason=said,
        how=how,
    )
    created = registry.promote(promotion)
    return Change(promotion=registry.champion(as_of), created=created)

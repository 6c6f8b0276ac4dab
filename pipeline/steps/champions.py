"""Changing the champion by hand: each change is one more entry in the log, with its reason; earlier instants keep theirs."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from pipeline.contracts.scores import Promotion, Verdict
from pipeline.contracts.times import format_instant, parse_instant
from pipeline.errors import ConfigError, NotYetAvailable
from pipeline.steps.promote import champion_as_of, statistics_of, trained_by
from pipeline.stores.registry import Registry
from pipeline.verification.promotion import verdicts


@dataclass(frozen=True, kw_only=True)
class Change:
    """What a hand-made change did: the entry in force at its instant, and whether it is new."""

    promotion: Promotion
    created: bool


def promote_by_hand(registry: Registry, world_name: str, model_id: str, *, as_of: datetime, reason: str) -> Change:
    """Name a model the champion from `as_of` on, with the verdicts of its own scorecard.

    Raises:
        NotYetAvailable: There is no such model, or it was never evaluated.
        LookaheadError: It was trained on data later than `as_of`.
        ConfigError: No reason is given.
    """
    candidate = trained_by(registry, model_id, as_of)
    decided = verdicts(statistics_of(registry, candidate.model_id))
    return _enter(registry, world_name, candidate.model_id, decided, as_of=as_of, reason=reason, how="hand")


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
    if not reason.strip():
        raise ConfigError(asked="--reason", found="nothing", mend='say why, such as --reason "drift in the sensors of the harbour"')
    previous = champion_as_of(registry, as_of)
    promotion = Promotion(
        world=world_name,
        as_of=format_instant(as_of),
        model_id=model_id,
        previous=previous.model_id if previous else None,
        verdicts=decided,
        reason=reason.strip(),
        how=how,
    )
    created = registry.promote(promotion)
    return Change(promotion=registry.champion(as_of), created=created)

"""The log of decisions of a world: what the evidence said of each candidate, and which proposals wait for a person."""

from __future__ import annotations

from datetime import datetime

from pipeline.contracts.provenance import canonical_json
from pipeline.contracts.scores import Decision
from pipeline.contracts.times import parse_instant
from pipeline.stores.objects import ObjectStore
from pipeline.stores.sealed import SealedLog


class DecisionLog:
    """Append-only; what is known of a candidate as of an instant is the newest entry of both."""

    def __init__(self, objects: ObjectStore, world_name: str) -> None:
        self._log = SealedLog(objects, f"registry/{world_name}/decisions")

    def read(self) -> list[Decision]:
        """All entries in the order in which they were made."""
        return [Decision.model_validate(record) for record in self._log.read()]

    def add(self, decision: Decision) -> bool:
        """Make an entry; False where the newest one of that candidate and instant says the same, or a person has decided it.

        Raises:
            ConflictError: Another writer came first.
        """
        known = self.read()
        same = [d for d in known if (d.model_id, d.as_of, d.champion) == (decision.model_id, decision.as_of, decision.champion)]
        if same and (_content(same[-1]) == _content(decision) or (same[-1].decided and decision.decided is None)):
            return False
        self._log.append(decision.model_dump(mode="json"), expected=len(known))
        return True

    def pending(self, as_of: datetime) -> list[Decision]:
        """The proposals that waited for a person at an instant, oldest first."""
        newest: dict[tuple[str, str], Decision] = {}
        for decision in self.read():
            if parse_instant(decision.decided or decision.as_of) <= as_of:
                newest[decision.model_id, decision.as_of] = decision
        return [d for d in newest.values() if d.outcome == "pending" and d.expires is not None and as_of < parse_instant(d.expires)]


def _content(decision: Decision) -> bytes:
    return canonical_json(decision.model_dump(mode="json"))

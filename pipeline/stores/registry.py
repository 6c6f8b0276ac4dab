"""The registry of a world: candidates, their scorecards, and the log of champions. Append-only, every file checked."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pipeline.contracts.provenance import canonical_json
from pipeline.contracts.scores import Promotion, Scorecard
from pipeline.contracts.times import format_instant, parse_instant
from pipeline.errors import ConflictError, ContractError, NotYetAvailable
from pipeline.stores.decisions import DecisionLog
from pipeline.stores.objects import ObjectStore
from pipeline.stores.sealed import SealedLog, read_blob


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A trained model at rest; `card["as_of"]` is its training cut-off."""

    model_id: str
    card: dict[str, Any]
    _objects: ObjectStore
    _files: Mapping[str, Mapping[str, str]]

    @property
    def file_names(self) -> tuple[str, ...]:
        """The names of its files, sorted."""
        return tuple(sorted(self._files))

    @property
    def as_of(self) -> datetime:
        """The training cut-off."""
        return parse_instant(self.card["as_of"])

    def read(self, name: str) -> bytes:
        """The bytes of one file, read now and checked.

        Raises:
            ContractError: The candidate has no such file.
            StoreError: The file is not what was written.
        """
        if name not in self._files:
            raise ContractError(
                asked=f"file {name} of model {self.model_id}", found=f"only {', '.join(self.file_names)}", mend="train the model again"
            )
        return read_blob(self._objects, self._files[name]["key"], self._files[name]["sha256"])


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What an evaluation found: the scorecard, and its files (`statistics.json`, `explanation.json`), checked when read."""

    scorecard: Scorecard
    _objects: ObjectStore
    _files: Mapping[str, Mapping[str, str]]

    @property
    def file_names(self) -> tuple[str, ...]:
        """The names of its files, sorted."""
        return tuple(sorted(self._files))

    def read(self, name: str) -> bytes | None:
        """The bytes of one file, or None where the evaluation left none of that name."""
        return read_blob(self._objects, self._files[name]["key"], self._files[name]["sha256"]) if name in self._files else None


class Registry:
    """Everything known about a world's models."""

    def __init__(self, objects: ObjectStore, world_name: str) -> None:
        self._objects, self._world = objects, world_name
        self._base = f"registry/{world_name}"
        self._candidates = SealedLog(objects, f"{self._base}/candidates")
        self._champions = SealedLog(objects, f"{self._base}/champions")
        self.decisions = DecisionLog(objects, world_name)

    def add_candidate(self, model_id: str, files: Mapping[str, bytes], card: Mapping[str, Any]) -> bool:
        """Register a model; False where it was there with the same content. The card must carry `as_of`.

        Raises:
            ConflictError: A model of that id is there with other content, or another writer came first.
            ContractError: The card has no training cut-off.
        """
        if "as_of" not in card:
            raise ContractError(asked=f"register model {model_id}", found="a card without as_of", mend="write the training cut-off to it")
        record = {"model_id": model_id, "card": dict(card), "files": self._put(files)}
        known = self._candidates.read()
        for other in known:
            if other["model_id"] == model_id:
                if canonical_json(other) == canonical_json(record):
                    return False
                raise ConflictError(
                    asked=f"register model {model_id}",
                    found="a model of that id with other content",
                    mend="derive the id from the content, or choose another seed",
                )
        self._candidates.append(record, expected=len(known))
        return True

    def candidate(self, model_id: str) -> Candidate:
        """A candidate by its id (or an unambiguous beginning of it).

        Raises:
            NotYetAvailable: There is none.
            ContractError: It is of another world.
        """
        records = self._candidates.read()
        found = [r for r in records if r["model_id"].startswith(model_id)]
        exact = [r for r in found if r["model_id"] == model_id] or found
        if len(exact) != 1:
            known = [str(r["model_id"]) for r in (found or records)]
            close = [] if found else difflib.get_close_matches(model_id, known, n=1, cutoff=0.4)
            raise NotYetAvailable(
                asked=f"model {model_id} of world {self._world}",
                found=f"{len(exact)} such models; there are: {_some(known)}",
                mend=(f"did you mean '{close[0]}'? " if close else "")
                + (f"cubecast models list --world {self._world}" if known else "train it first"),
            )
        return self._candidate(exact[0])

    def candidates(self) -> list[Candidate]:
        """All candidates in the order in which they were registered.

        Raises:
            ContractError: One is of another world.
        """
        return [self._candidate(record) for record in self._candidates.read()]

    def _candidate(self, record: Mapping[str, Any]) -> Candidate:
        of = record["card"].get("world", self._world)
        if of != self._world:
            raise ContractError(
                asked=f"model {record['model_id']} of world {self._world}",
                found=f"a model of world {of} in {self._objects.url(self._base)}",
                mend=f"put back the registry of {self._world}, or remove that folder and train again",
            )
        return Candidate(model_id=record["model_id"], card=record["card"], _objects=self._objects, _files=record["files"])

    def newest_candidate(self, as_of: datetime) -> str:
        """The id of the candidate with the latest cut-off at or before `as_of` (of equals, the one registered last).

        Raises:
            NotYetAvailable: There is none.
        """
        known = self._candidates.read()
        cutoffs = [(parse_instant(r["card"]["as_of"]), number) for number, r in enumerate(known)]
        due = [c for c in cutoffs if c[0] <= as_of]
        if not due:
            raise NotYetAvailable(
                asked=f"a model of world {self._world} trained by {format_instant(as_of)}",
                found=f"{len(known)} models" + (f", the earliest with cut-off {format_instant(min(cutoffs)[0])}" if known else ""),
                mend=f"cubecast train --world {self._world} --as-of {format_instant(as_of)}",
            )
        return str(known[max(due)[1]]["model_id"])

    def add_scorecard(self, scorecard: Scorecard, files: Mapping[str, bytes] | None = None) -> bool:
        """Keep the scorecard of a candidate with its files; False where the newest one says the same.

        Raises:
            ConflictError: Another writer came first.
        """
        record = {"scorecard": scorecard.model_dump(mode="json"), "files": self._put(files or {})}
        return self._scorecards(scorecard.model_id).extend(record)[1]

    def scorecards_url(self, model_id: str) -> str:
        """Where the scorecards of a candidate lie, for people."""
        return self._objects.url(f"{self._base}/scorecards/{model_id}")

    def evidence(self, model_id: str) -> Evidence:
        """The newest scorecard of a candidate, with the files of its evaluation.

        Raises:
            NotYetAvailable: The candidate was never evaluated.
        """
        record = self._scorecards(model_id).newest()
        if record is None:
            raise NotYetAvailable(
                asked=f"scorecard of model {model_id}",
                found="none",
                mend=f"cubecast evaluate --world {self._world} --model-id {model_id}",
            )
        return self._evidence(record)

    def evidences(self, model_id: str) -> list[Evidence]:
        """All scorecards of a candidate, oldest first, with the files of their evaluations."""
        return [self._evidence(record) for record in self._scorecards(model_id).read()]

    def _evidence(self, record: Mapping[str, Any]) -> Evidence:
        return Evidence(scorecard=Scorecard.model_validate(record["scorecard"]), _objects=self._objects, _files=record["files"])

    def scorecard(self, model_id: str) -> Scorecard:
        """The newest scorecard of a candidate.

        Raises:
            NotYetAvailable: The candidate was never evaluated.
        """
        return self.evidence(model_id).scorecard

    def promote(self, promotion: Promotion) -> bool:
        """Make an entry in the log of champions; False where the champion as of that instant is the same already.

        Moving back is a new entry that names the earlier model.

        Raises:
            ConflictError: Another writer came first.
        """
        known = self._champions.read()
        now = self._as_of(known, parse_instant(promotion.as_of))
        if now is not None and (now.model_id, now.verdicts) == (promotion.model_id, promotion.verdicts):
            return False
        self._champions.append(promotion.model_dump(mode="json"), expected=len(known))
        return True

    def champion(self, as_of: datetime) -> Promotion:
        """The entry with the latest `as_of` at or before this instant (of equals, the one made last).

        Raises:
            NotYetAvailable: Nothing was promoted by then.
        """
        found = self._as_of(self._champions.read(), as_of)
        if found is None:
            step, why = ("promote", "") if self._candidates.read() else ("run", ": the world was never trained")
            raise NotYetAvailable(
                asked=f"champion of world {self._world} as of {format_instant(as_of)}",
                found=f"no promotion by then{why}",
                mend=f"cubecast {step} --world {self._world} --as-of {format_instant(as_of)}",
            )
        return found

    def promotions(self) -> list[Promotion]:
        """All entries in the order in which they were made."""
        return [Promotion.model_validate(r) for r in self._champions.read()]

    @staticmethod
    def _as_of(records: list[dict[str, Any]], as_of: datetime) -> Promotion | None:
        due = [(moment, n) for n, r in enumerate(records) if (moment := parse_instant(r["as_of"])) <= as_of]
        return Promotion.model_validate(records[max(due)[1]]) if due else None

    def _scorecards(self, model_id: str) -> SealedLog:
        return SealedLog(self._objects, f"{self._base}/scorecards/{model_id}")

    def _put(self, files: Mapping[str, bytes]) -> dict[str, dict[str, str]]:
        placed = {}
        for name in sorted(files):
            key = self._objects.put_addressed(f"{self._base}/files", files[name], f"-{name}")
            placed[name] = {"key": key, "sha256": key.rsplit("/", 1)[1][:64]}
        return placed


def _some(names: list[str], most: int = 10) -> str:
    """The newest names, and how many more there are."""
    more = len(names) - most
    return (", ".join(names[-most:]) or "none") + (f" and {more} older ones" if more > 0 else "")

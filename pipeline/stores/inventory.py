"""What a store holds for one world, object by object, and what of it is referred to.

Four kinds of objects: those named by the sha256 of their content, records of logs (two copies), views (a seal each), and the objects
of Icechunk repositories. A record refers to what its strings name; whatever no record leads to is what a kill left behind.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from pipeline.errors import NotYetAvailable
from pipeline.stores.objects import SEALS, Entry, ObjectStore

_ADDRESSED = re.compile(r"[0-9a-f]{64}(?![0-9a-f])")
_RECORD = re.compile(r"\d{8}\.json")
_REPOSITORY = re.compile(r"((?:cubes|forecasts)/.+?)/(?:snapshots|manifests|chunks|transactions|refs|seals)/.+")
_NOT_KEPT = frozenset({"airflow", "fences", SEALS})


def address_of(key: str) -> str | None:
    """The sha256 that an object's name says its content has."""
    found = _ADDRESSED.match(key.rsplit("/", 1)[1])
    return None if found is None else found[0]


def is_record(key: str) -> bool:
    """Whether an object is a record of a log."""
    return _RECORD.fullmatch(key.rsplit("/", 1)[1]) is not None


@dataclass(frozen=True, kw_only=True)
class Inventory:
    """Everything below one root that belongs to a world.

    Attributes:
        entries: Key -> object, without those of repositories and without seals.
        seals: Key of what it seals -> the seal, without the ending of a view's.
        staged: What a kill left on a local disk before it had a name.
        repositories: Keys of Icechunk repositories.
    """

    objects: ObjectStore
    world: str
    entries: dict[str, Entry]
    seals: dict[str, Entry]
    staged: tuple[Entry, ...]
    repositories: tuple[str, ...]

    def follow(self) -> Followed:
        """Everything that records lead to, by way of the JSON that they name.

        Of the totals in observations only those of the last two commits count: a build may be reading the last but one.
        """
        records = sorted(key for key in self.entries if is_record(key))
        outdated = _outdated_totals(records)
        live: set[str] = set()
        lost: list[str] = []
        unreadable: list[str] = []
        todo = [(key, key) for key in records]
        while todo:
            key, named_by = todo.pop()
            if key in live:
                continue
            live.add(key)
            if key not in self.entries:
                lost.append(f"{key}: gone, though {named_by} names it")
            elif key.endswith(".json"):
                try:
                    content = json.loads(self.objects.get(key))
                except (ValueError, NotYetAvailable):
                    unreadable.append(key)
                    continue
                todo += [(found, key) for found in references(_without_totals(content) if key in outdated else content, self.world)]
        return Followed(live=live, lost=tuple(lost), unreadable=tuple(unreadable))


@dataclass(frozen=True, kw_only=True)
class Followed:
    """Where references lead.

    Attributes:
        live: Keys of records and of all that they lead to.
        lost: One line for each that is not there.
        unreadable: Those on the way that are no JSON.
    """

    live: set[str]
    lost: tuple[str, ...]
    unreadable: tuple[str, ...]


def take_inventory(objects: ObjectStore, world: str) -> Inventory:
    """List everything that belongs to a world."""
    tops = [top for top in objects.children("") if top not in _NOT_KEPT]
    listed = [entry for top in tops for entry in objects.entries(f"{top}/{world}", staged=True) if not _of_a_lane(entry.key)]
    sealed = [entry for top in objects.children(SEALS) for entry in objects.entries(f"{SEALS}/{top}/{world}")]
    within = {entry.key: found[1] for entry in listed if (found := _REPOSITORY.fullmatch(entry.key))}
    return Inventory(
        objects=objects,
        world=world,
        entries={e.key: e for e in listed if e.key not in within and not _staged(e.key) and not e.key.endswith(".lock")},
        seals={e.key.removeprefix(f"{SEALS}/").removesuffix(".sha256"): e for e in sealed},
        staged=tuple(e for e in listed if e.key not in within and _staged(e.key)),
        repositories=tuple(sorted(set(within.values()))),
    )


def references(content: Any, world: str) -> Iterable[str]:
    """The keys that JSON content names: strings of the form `<folder>/<world>/…`."""
    if isinstance(content, str):
        parts = content.split("/", 2)
        if len(parts) == 3 and parts[1] == world and address_of(content) is not None:
            yield content
    elif isinstance(content, dict):
        for value in content.values():
            yield from references(value, world)
    elif isinstance(content, list):
        for value in content:
            yield from references(value, world)


def _outdated_totals(records: list[str]) -> set[str]:
    """Records of observations but the last two of each log, of records in order."""
    logs: dict[str, list[str]] = {}
    for key in records:
        if key.startswith("observations/"):
            logs.setdefault(key.rsplit("/", 1)[0], []).append(key)
    return {key for log in logs.values() for key in log[:-2]}


def _without_totals(content: dict[str, Any]) -> dict[str, Any]:
    return {**content, "record": {k: v for k, v in content["record"].items() if k != "totals"}}


def _of_a_lane(key: str) -> bool:
    """Whether an object lies in the store of a lane of replay, or of an origin of a backtest, which has an inventory of its own."""
    parts = key.split("/")
    if parts[0] == "backtests":
        return parts[2] == "stores"
    return parts[0] == "replays" and parts[2] not in ("lanes", "scorecards") and parts[3] != "walk"


def _staged(key: str) -> bool:
    return key.rsplit("/", 1)[1].startswith(".staged-")

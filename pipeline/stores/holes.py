"""What sources still owe, kept as two views: of a source what `land` did not get, of a world which cells the build found missing.

`land` alone writes the first (and counts tries in it), `build_cube` alone the second, so neither waits for the other. Both can be
lost without harm: what is missing is found again, as seen for the first time.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from pipeline.contracts.holes import Hole
from pipeline.contracts.provenance import canonical_json
from pipeline.contracts.worlds import World
from pipeline.stores.objects import ObjectStore

_DAY = 86400


@dataclass(kw_only=True)
class Owed:
    """What `land` knows of a source's holes.

    Attributes:
        tried: When it last asked, int64 seconds UTC.
        deliveries: By name: what the provider said (`found`), `first`, `last`, `first_seen`, `tries`.
        tries: Of missing cells, by domain and day.
    """

    tried: int = 0
    deliveries: dict[str, dict[str, Any]] = field(default_factory=dict)
    tries: dict[str, int] = field(default_factory=dict)


Days = dict[str, list[int]]
"""Start of a day -> first and last step, cells, nodes, first seen."""


@dataclass(kw_only=True)
class MissingCells:
    """Which cells are missing: per domain and source, by time chunk and day; those given up on as days alone."""

    days: dict[str, dict[str, dict[str, Days]]] = field(default_factory=dict)
    given_up: dict[str, dict[str, dict[str, list[int]]]] = field(default_factory=dict)


class HoleStore:
    """The holes of a world's sources."""

    def __init__(self, objects: ObjectStore, world: World) -> None:
        self._objects, self._world = objects, world

    def owed(self, source: str) -> Owed:
        """What `land` has noted of a source."""
        return Owed(**self._load(self._place(source)))

    def keep_owed(self, source: str, owed: Owed) -> None:
        """Note it, where it changed."""
        self._keep(self._place(source), asdict(owed))

    def missing(self) -> MissingCells:
        """What the build has noted."""
        return MissingCells(**self._load(self._cells))

    def keep_missing(self, missing: MissingCells) -> None:
        """Note it, where it changed."""
        self._keep(self._cells, asdict(missing))

    def holes(self, sources: Iterable[str] | None = None) -> tuple[Hole, ...]:
        """All holes of sources (by default of the world), expired ones too, by source and time; days given up on are left out."""
        missing, found = self.missing(), []
        for source in self._world.sources if sources is None else sources:
            owed, patience = self.owed(source), int(self._world.sources[source].retry_holes.total_seconds())
            found += [_delivery(source, name, entry, patience) for name, entry in owed.deliveries.items()]
            for domain, of_source in missing.days.items():
                found += _cells(source, domain, of_source.get(source, {}), owed.tries, patience)
        return tuple(sorted(found, key=lambda hole: (hole.source, hole.first or 0, hole.kind, hole.what)))

    def days_given_up(self) -> dict[str, int]:
        """Per source the days with missing cells that are asked for no more."""
        found: dict[str, set[int]] = {}
        for of_source in self.missing().given_up.values():
            for source, chunks in of_source.items():
                found.setdefault(source, set()).update(day for days in chunks.values() for day in days)
        return {source: len(days) for source, days in found.items() if days and source in self._world.sources}

    def report(self, moment: int) -> dict[str, Any]:
        """What `cubecast status` tells: holes that are `open` at an instant, deliveries that `expired`, `days_given_up` per source."""
        found = self.holes()
        return {
            "open": [hole.to_json() for hole in found if hole.open(moment)],
            "expired": [hole.to_json() for hole in found if not hole.open(moment)],
            "days_given_up": self.days_given_up(),
        }

    @property
    def _cells(self) -> str:
        return f"holes/{self._world.name}/cells.json"

    def _place(self, source: str) -> str:
        return f"holes/{self._world.name}/landing/{source}.json"

    def _load(self, key: str) -> dict[str, Any]:
        content: dict[str, Any] = json.loads(self._objects.get(key)) if self._objects.exists(key) else {}
        return content

    def _keep(self, key: str, content: Mapping[str, Any]) -> None:
        if self._load(key) != content and (any(content.values()) or self._objects.exists(key)):
            self._objects.replace(key, canonical_json(content))


def cells_key(domain: str, day: int) -> str:
    """Under what `land` counts the tries of a day's missing cells."""
    return f"{domain}/{day}"


def _delivery(source: str, name: str, entry: Mapping[str, Any], patience: int) -> Hole:
    return Hole(source=source, kind="delivery", what=name, expires=entry["first_seen"] + patience, **entry)


def _cells(source: str, domain: str, chunks: Mapping[str, Days], tries: Mapping[str, int], patience: int) -> list[Hole]:
    """One hole per day, put together where time chunks part it."""
    days: dict[int, list[list[int]]] = {}
    for chunk in chunks.values():
        for start, entry in chunk.items():
            days.setdefault(int(start), []).append(entry)
    found = []
    for day, entries in days.items():
        first, last, cells, nodes, seen = zip(*entries, strict=True)
        hole = Hole(
            source=source,
            kind="cells",
            what=domain,
            first=min(first),
            last=max(last),
            cells=sum(cells),
            nodes=max(nodes),
            first_seen=min(seen),
            tries=tries.get(cells_key(domain, day), 0),
            expires=min(seen) + patience,
        )
        found.append(hole)
    return found

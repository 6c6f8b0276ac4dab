"""What sources owe: `land` asks for it again on each run until it comes or expires, `build_cube` sees which cells it concerns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.alignment.time_grid import DAY, step_seconds
from pipeline.contracts.deliveries import Delivery
from pipeline.contracts.holes import Hole
from pipeline.contracts.worlds import World
from pipeline.cube.gaps import Gaps
from pipeline.cube.groups import Group
from pipeline.stores.holes import Days, HoleStore, MissingCells, cells_key
from pipeline.stores.objects import ObjectStore
from pipeline.stores.observations import ObservationStore


class Debtor:
    """One source while it is landed at `moment` (seconds UTC): what it still owes, and what it now hands over."""

    def __init__(self, objects: ObjectStore, world: World, source: str, moment: int) -> None:
        self._store, self._source, self._moment = HoleStore(objects, world), source, moment
        self._owed = self._store.owed(source)
        holes = self._store.holes([source])
        self._open = [hole for hole in holes if hole.open(moment)]
        self._names = {hole.what for hole in self._open if hole.kind == "delivery"}
        self._expired = {hole.what for hole in holes if hole.kind == "delivery"} - self._names

    def asks_again(self, delivery: Delivery) -> bool:
        """Whether it, or something that it covers, is still missing."""
        return delivery.name in self._names or any(_meets(hole, delivery) for hole in self._open if hole.kind == "cells")

    def gave_up(self, delivery: Delivery) -> bool:
        """Whether it was asked for in vain until it expired."""
        return delivery.name in self._expired

    def missed(self, delivery: Delivery | None, found: str) -> None:
        """A delivery, or the list of all of them (None), did not come."""
        name, covers = ("the list of deliveries", None) if delivery is None else (delivery.name, delivery.covers)
        entry = self._owed.deliveries.get(name) or {"first_seen": self._moment, "tries": 0}
        first, last = covers or (None, None)
        tries = entry["tries"] + (entry["first_seen"] < self._moment and self._owed.tried < self._moment)
        self._owed.deliveries[name] = {**entry, "tries": tries, "found": found[:300], "first": first, "last": last}

    def came(self, delivery: Delivery, empty: int) -> None:
        """A delivery came; `empty` of its parts hold nothing."""
        if empty:
            self.missed(delivery, f"{empty} of {len(delivery.parts)} parts are empty")
        else:
            self._owed.deliveries.pop(delivery.name, None)

    def listed(self) -> None:
        """The list of deliveries came."""
        self._owed.deliveries.pop("the list of deliveries", None)

    def keep(self) -> list[Hole]:
        """Note what is owed now; returns what is still asked for."""
        if self._owed.tried < self._moment:
            asked = [hole for hole in self._open if hole.kind == "cells" and hole.first_seen < self._moment]
            cells = [cells_key(hole.what, (hole.last or 0) // DAY * DAY) for hole in asked]
            self._owed.tries = {key: self._owed.tries.get(key, 0) + 1 for key in cells}
            if self._owed.deliveries or self._owed.tries:
                self._owed.tried = self._moment
        self._store.keep_owed(self._source, self._owed)
        return [hole for hole in self._store.holes([self._source]) if hole.open(self._moment)]


def _meets(hole: Hole, delivery: Delivery) -> bool:
    if delivery.covers is None or hole.first is None or hole.last is None:
        return False
    return delivery.covers[0] <= hole.last and hole.first <= delivery.covers[1]


def due_spans(objects: ObjectStore, world: World, group: Group, as_of: int) -> dict[str, tuple[int, int]]:
    """Per source of a group from when to when its contract says that steps are there by `as_of` (seconds UTC), if it had no latency.

    It begins with the first instant that the source ever spoke of, and ends its grace ago.
    """
    step, found = step_seconds(group.clock), {}
    for name in group.sources:
        source = world.sources[name]
        grace = step if source.late_after is None else int(source.late_after.total_seconds())
        first = ObservationStore(objects, world, name).first_time()
        found[name] = (as_of if first is None else first, as_of - grace)
    return found


@dataclass(frozen=True, kw_only=True, eq=False)
class Seen:
    """What a build saw of one group: the gaps of each time chunk that it made again; all of them where it was made `anew`."""

    chunks: Mapping[int, tuple[Gaps, ...]]
    anew: bool
    node_known_time: NDArray[np.int64]


def note_missing(objects: ObjectStore, world: World, as_of: int, seen: Mapping[str, Seen]) -> None:
    """Note, per group, the missing cells of the chunks made again; a node owes nothing for days before it was first heard of."""
    store = HoleStore(objects, world)
    missing = store.missing()
    for group, made in seen.items():
        days, given_up = missing.days.setdefault(group, {}), missing.given_up.setdefault(group, {})
        since = {(s, int(day)): entry[4] for s, chunks in days.items() for entries in chunks.values() for day, entry in entries.items()}
        lost = {(s, day) for s, chunks in given_up.items() for entries in chunks.values() for day in entries}
        if made.anew:
            days.clear()
            given_up.clear()
        for chunk, found in made.chunks.items():
            for source in {*days, *given_up, *(gap.source for gap in found)}:
                entries = next((_days(gap, made.node_known_time, as_of, since) for gap in found if gap.source == source), {})
                days.setdefault(source, {})[str(chunk)] = {d: e for d, e in entries.items() if (source, int(d)) not in lost}
                given_up.setdefault(source, {})[str(chunk)] = [int(d) for d in entries if (source, int(d)) in lost]
    store.keep_missing(_expired(missing, world, as_of))


def _days(gap: Gaps, known_N: NDArray[np.int64], as_of: int, since: Mapping[tuple[str, int], int]) -> Days:
    per_node = gap.missing.shape[1] == len(known_N)
    missing_DN = np.where(known_N < gap.day[:, None] + DAY, gap.missing, 0) if per_node else gap.missing
    cells, nodes = missing_DN.sum(axis=1), np.count_nonzero(missing_DN, axis=1)
    rows = zip(gap.day.tolist(), gap.first.tolist(), gap.last.tolist(), cells.tolist(), nodes.tolist(), strict=True)
    return {str(day): [first, last, c, n, since.get((gap.source, day), as_of)] for day, first, last, c, n in rows if c}


def _expired(missing: MissingCells, world: World, as_of: int) -> MissingCells:
    """The same with the days that have expired as days alone, and without what is empty."""
    kept, given_up = MissingCells(), MissingCells().given_up
    for group in {**missing.days, **missing.given_up}:
        of_days, of_lost = missing.days.get(group, {}), missing.given_up.get(group, {})
        for source in sorted({*of_days, *of_lost} & set(world.sources)):
            patience = int(world.sources[source].retry_holes.total_seconds())
            for chunk in {**of_days.get(source, {}), **of_lost.get(source, {})}:
                entries = of_days.get(source, {}).get(chunk, {})
                still = {day: entry for day, entry in entries.items() if as_of < entry[4] + patience}
                gone = [*of_lost.get(source, {}).get(chunk, []), *(int(day) for day in entries if day not in still)]
                if still:
                    kept.days.setdefault(group, {}).setdefault(source, {})[chunk] = still
                if gone:
                    given_up.setdefault(group, {}).setdefault(source, {})[chunk] = sorted(gone)
    return MissingCells(days=kept.days, given_up=given_up)

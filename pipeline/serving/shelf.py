"""The shelf: the newest forecast of every world held in memory, renewed when another is published."""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from pipeline.contracts.forecasts import Forecast
from pipeline.contracts.times import format_instant, from_seconds, parse_instant, to_seconds
from pipeline.contracts.worlds import World
from pipeline.errors import CubecastError, NotYetAvailable
from pipeline.serving.answers import Refused, unknown
from pipeline.stores.forecasts import ForecastStore
from pipeline.stores.objects import ObjectStore
from pipeline.stores.published import PublishedStore
from pipeline.stores.registry import Registry

LATEST = "latest"
_HELD = 8
_BODIES = 4096


@dataclass(frozen=True, kw_only=True, eq=False)
class Held:
    """One published forecast in memory, with the answers that were made of it.

    Attributes:
        record: The published record that made it visible.
        at: Per domain the place of each node.
        bodies: Finished answers by path and query; the oldest are dropped.
    """

    forecast: Forecast
    record: Mapping[str, Any]
    at: Mapping[str, Mapping[str, int]]
    bodies: OrderedDict[Any, bytes] = field(default_factory=OrderedDict)

    @property
    def etag(self) -> str:
        """What changes when, and only when, this forecast changes."""
        return f"{str(self.record['forecast'])[:32]}-{self.record['revision']}"

    def body(self, key: Any, make: Callable[[], bytes]) -> bytes:
        """The answer of a key, made once."""
        found = self.bodies.get(key)
        if found is None:
            found = self.bodies[key] = make()
            if len(self.bodies) > _BODIES:
                self.bodies.popitem(last=False)
        return found


class WorldShelf:
    """What is served of one world."""

    def __init__(self, world: World, store: str) -> None:
        objects = ObjectStore(store)
        self.world, self.store = world, store
        self.published, self.registry = PublishedStore(objects, world.name), Registry(objects, world.name)
        self._forecasts = ForecastStore(objects, world.name)
        self._seen: bytes | None = None
        self._latest: Held | None = None
        self._held: OrderedDict[tuple[int, int | None], Held] = OrderedDict()
        self._lock = threading.Lock()
        self.fault: str | None = None

    def renew(self) -> bool:
        """Look whether another forecast was published, and hold it then; what is held stays where that one is damaged."""
        try:
            seen = self.published.read_view("latest.json")
        except NotYetAvailable:
            return False
        except CubecastError as error:
            self.fault = str(error)
            return False
        if seen == self._seen:
            return False
        try:
            record = json.loads(seen)
            self._latest = self._hold(to_seconds(parse_instant(record["issue_time"])), record)
        except (CubecastError, ValueError, KeyError) as error:
            self.fault = str(error)
            return False
        with self._lock:
            self._held.clear()
        self._seen, self.fault = seen, None
        return True

    def latest(self) -> Held:
        """The newest published forecast.

        Raises:
            Refused: There is none; says whether the world was ever trained.
        """
        if self._latest is None:
            raise self._nothing()
        return self._latest

    def known(self, issue_time: str, revision: int | None) -> Held | None:
        """The forecast where it is in memory already."""
        if issue_time == LATEST and revision is None:
            return self._latest
        return None

    def find(self, issue_time: str, revision: int | None) -> Held:
        """The forecast of an issue time (or `latest`), read where it must be.

        Raises:
            Refused: There is none, with what there is.
            StoreError: It is damaged.
        """
        newest = self.latest()
        seconds = newest.forecast.issue_time if issue_time == LATEST else to_seconds(instant(issue_time))
        if seconds == newest.forecast.issue_time and revision in (None, newest.record["revision"]):
            return newest
        key = (seconds, revision)
        with self._lock:
            if key in self._held:
                self._held.move_to_end(key)
                return self._held[key]
        record = self.published.record(seconds)
        if record is None:
            raise self._elsewhere(seconds)
        found = self._hold(seconds, record if revision is None else {**record, "revision": revision})
        with self._lock:
            self._held[key] = found
            while len(self._held) > _HELD:
                self._held.popitem(last=False)
        return found

    def _hold(self, issue_time: int, record: Mapping[str, Any]) -> Held:
        number = int(record["revision"])
        forecast = self._forecasts.read(issue_time, number)
        digest = self._forecasts.revisions(issue_time)[number].digest
        at = {name: {node: i for i, node in enumerate(d.node_ids)} for name, d in forecast.domains.items()}
        return Held(forecast=forecast, record={**record, "forecast": digest}, at=at)

    def _nothing(self) -> Refused:
        name = self.world.name
        if self.fault:
            return Refused(503, asked=f"forecasts of world {name}", found=self.fault, mend="the operator mends the store; then ask again")
        if not self.registry.candidates():
            found, mend = "the world was never trained", f"cubecast run --world {name}"
        elif not self.registry.promotions():
            found, mend = "a model was trained, and nothing promoted", f"cubecast promote --world {name}"
        else:
            found, mend = "no forecast was published yet", f"cubecast predict --world {name}, then cubecast publish --world {name}"
        return Refused(404, asked=f"forecasts of world {name}", found=found, mend=mend)

    def _elsewhere(self, seconds: int) -> Refused:
        times = self.published.issue_times()
        close = sorted(times, key=lambda t: abs(t - seconds))[:3]
        return Refused(
            404,
            asked=f"forecast of world {self.world.name} issued at {format_instant(from_seconds(seconds))}",
            found=self.published.around(seconds),
            mend="ask for one of these issue times, or for 'latest'",
            nearest=[format_instant(from_seconds(t)) for t in close],
        )


class Shelf:
    """All worlds that are served, and what time it is in each."""

    def __init__(self, worlds: Mapping[str, World], store: str, clock: Callable[[World], datetime]) -> None:
        self.worlds = {name: WorldShelf(world, store) for name, world in worlds.items()}
        self.clock = clock

    def renew(self) -> int:
        """Renew every world; how many changed."""
        return sum([shelf.renew() for shelf in self.worlds.values()])

    def of(self, world: str) -> WorldShelf:
        """A world's shelf.

        Raises:
            Refused: It is not served.
        """
        found = self.worlds.get(world)
        if found is None:
            raise unknown("world", world, list(self.worlds), "GET /worlds lists them")
        return found


def instant(text: str) -> datetime:
    """The instant that a text of a request names.

    Raises:
        Refused: It names none (404: there can be nothing at it).
    """
    try:
        return parse_instant(text.upper())
    except (ValueError, OverflowError) as error:
        raise Refused(404, asked=f"instant '{text[:60]}'", found=str(error)[:200], mend="write for example 2014-09-30T06:00Z") from error

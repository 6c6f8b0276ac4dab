"""Holes: what a source should have delivered and has not."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from pipeline.contracts.times import format_instant, from_seconds


@dataclass(frozen=True, kw_only=True)
class Hole:
    """One delivery that did not come, or the cells of one day that are missing. Instants are int64 seconds UTC.

    Attributes:
        what: The delivery's name, or the domain whose cells are missing (`roads.future`: its runs).
        first, last: What it is about, where that is known.
        cells, nodes: How much is missing, of `cells`.
        found: What the provider said, of `delivery`.
        tries: How often `land` has asked for it since it was first seen.
        expires: From then on it is asked for no more.
    """

    source: str
    kind: Literal["delivery", "cells"]
    what: str
    first: int | None
    last: int | None
    cells: int = 0
    nodes: int = 0
    found: str = ""
    first_seen: int
    tries: int
    expires: int

    def open(self, moment: int) -> bool:
        """Whether it is still asked for at an instant."""
        return moment < self.expires

    def to_json(self) -> dict[str, Any]:
        """The same as JSON content, instants as text."""
        times = {name: getattr(self, name) for name in ("first", "last", "first_seen", "expires")}
        return asdict(self) | {name: None if t is None else format_instant(from_seconds(t)) for name, t in times.items()}

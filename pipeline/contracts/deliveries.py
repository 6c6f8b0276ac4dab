"""Deliveries: what a provider hands over at once, under its own names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

Role = Literal["readings", "nodes"]


@dataclass(frozen=True, kw_only=True)
class Validators:
    """What a provider says identifies a content; sent back to it, they ask whether it has changed."""

    etag: str | None = None
    last_modified: str | None = None


@dataclass(frozen=True, kw_only=True)
class Fetched:
    """Bytes as they came, and what identifies them."""

    data: bytes
    validators: Validators


@dataclass(frozen=True, kw_only=True)
class Part:
    """One file of a delivery, under the name the provider gives it; `read` fetches its bytes as they are.

    Attributes:
        fetch: Where the provider can tell whether it has changed: fetches it unless it is still the one so identified, then None.
    """

    name: str
    location: str
    read: Callable[[], bytes]
    fetch: Callable[[Validators | None], Fetched | None] | None = None


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """What a provider hands over at once: mostly one file; several where only together they make readings.

    Attributes:
        name: Unique within the source; a later delivery of the same name and other content is a new vintage of it.
        role: Readings, or the places of the nodes.
        covers: (first, last) instants that it speaks about, int64 seconds UTC, where that is known before reading.
        published_time: When the provider published it, int64 seconds UTC, where it says so.
        settles: Instant (int64 seconds UTC) from which on the provider changes it no more: landed then or later, it is not asked for again.
        following: For a delivery in pages: the part after number n (from 0) with these bytes, None after the last.
    """

    name: str
    parts: tuple[Part, ...]
    role: Role = "readings"
    covers: tuple[int, int] | None = None
    published_time: int | None = None
    settles: int | None = None
    following: Callable[[int, bytes], Part | None] | None = None


class Creditor(Protocol):
    """Who keeps account of what a source owes while its deliveries are landed."""

    def asks_again(self, delivery: Delivery) -> bool:
        """Whether a delivery is asked for though it has settled: something of it is missing."""

    def gave_up(self, delivery: Delivery) -> bool:
        """Whether a delivery that never came is asked for no more."""

    def missed(self, delivery: Delivery | None, found: str) -> None:
        """A delivery, or the list of all of them (None), did not come."""

    def came(self, delivery: Delivery, empty: int) -> None:
        """A delivery came; `empty` of its parts hold nothing."""

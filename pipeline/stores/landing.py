"""Landing: what providers handed over, byte for byte, each file once, and a manifest of when it came."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import PurePosixPath
from typing import Any

from pipeline.contracts.deliveries import Delivery, Part, Role
from pipeline.contracts.provenance import digest_bytes, digest_json
from pipeline.errors import NotYetAvailable, StoreError
from pipeline.stores.objects import ObjectStore
from pipeline.stores.sealed import SealedLog


@dataclass(frozen=True, kw_only=True)
class LandedPart:
    """One landed file: the provider's name, where it came from, and where its bytes are kept."""

    name: str
    location: str
    sha256: str
    bytes: int
    key: str


@dataclass(frozen=True, kw_only=True)
class Landed:
    """One line of the manifest.

    Attributes:
        number: Place in the source's history, from 0.
        id: sha256 of the bytes (of the list of parts where there are several).
        received_time: int64 seconds UTC; `published_time` too, and `covers` (first, last), where the provider says so.
    """

    number: int
    id: str
    source: str
    name: str
    role: Role
    parts: tuple[LandedPart, ...]
    received_time: int
    published_time: int | None
    covers: tuple[int, int] | None

    @property
    def bytes(self) -> int:
        """Size as received."""
        return sum(part.bytes for part in self.parts)


class LandingStore:
    """The landed deliveries of one source of one world."""

    def __init__(self, objects: ObjectStore, world: str, source: str) -> None:
        self._objects, self._source = objects, source
        self.prefix = f"landing/{world}/{source}"
        self._log = SealedLog(objects, f"{self.prefix}/manifest")

    def manifest(self) -> list[Landed]:
        """All deliveries in the order in which they came."""
        lines = [line for record in self._log.read() for line in record["deliveries"]]
        return [_landed(number, line) for number, line in enumerate(lines)]

    def land(self, offered: Iterable[Delivery], received_time: int) -> list[Landed]:
        """Keep what is new among the deliveries offered; returns that. One atomic commit; nothing new, no commit.

        A delivery is known where the newest one of its name and role has the same content.

        Raises:
            ConflictError: Another process landed this source at the same moment; nothing is lost, repeat.
            StoreError: Storage refused.
        """
        records = self._log.read()
        newest: dict[tuple[str, str], str] = {}
        count = 0
        for record in records:
            for line in record["deliveries"]:
                newest[line["name"], line["role"]] = line["id"]
                count += 1
        fresh: list[Landed] = []
        for delivery in offered:
            parts = tuple(self._keep(part) for part in delivery.parts)
            identity = parts[0].sha256 if len(parts) == 1 else digest_json([[p.name, p.sha256] for p in parts])
            if newest.get((delivery.name, delivery.role)) == identity:
                continue
            newest[delivery.name, delivery.role] = identity
            fresh.append(
                Landed(
                    number=count + len(fresh),
                    id=identity,
                    source=self._source,
                    name=delivery.name,
                    role=delivery.role,
                    parts=parts,
                    received_time=received_time,
                    published_time=delivery.published_time,
                    covers=delivery.covers,
                )
            )
        if fresh:
            self._log.append({"deliveries": [_line(f) for f in fresh]}, expected=len(records))
        return fresh

    def read(self, landed: Landed) -> dict[str, bytes]:
        """File name -> bytes of a delivery, proved to be those received.

        Raises:
            StoreError: A file is gone or its content changed.
        """
        return {part.name: self._proved(part) for part in landed.parts}

    def _keep(self, part: Part) -> LandedPart:
        data = part.read()
        suffix = "".join(s for s in PurePosixPath(part.name).suffixes[-2:] if re.fullmatch(r"\.[A-Za-z0-9]{1,8}", s))
        sha = digest_bytes(data)
        key = f"{self.prefix}/files/{sha[:2]}/{sha}{suffix}"
        if not self._objects.exists(key):
            self._objects.put_if_absent(key, data)
        return LandedPart(name=part.name, location=part.location, sha256=sha, bytes=len(data), key=key)

    def _proved(self, part: LandedPart) -> bytes:
        asked = f"read landed file {self._objects.url(part.key)} ('{part.name}')"
        mend = "restore it from a backup, or delete it and land the provider's file again"
        try:
            data = self._objects.get(part.key)
        except NotYetAvailable as error:
            raise StoreError(asked=asked, found="it is gone", mend=mend) from error
        if digest_bytes(data) != part.sha256:
            raise StoreError(asked=asked, found=f"{len(data)} bytes that are not those received (sha256 differs)", mend=mend)
        return data


def _line(landed: Landed) -> dict[str, Any]:
    content = asdict(landed)
    del content["number"]
    return content


def _landed(number: int, line: dict[str, Any]) -> Landed:
    content = dict(line)
    content["parts"] = tuple(LandedPart(**part) for part in line["parts"])
    content["covers"] = None if line["covers"] is None else (int(line["covers"][0]), int(line["covers"][1]))
    return Landed(number=number, **content)

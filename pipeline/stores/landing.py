"""Landing: what providers handed over, byte for byte, each file once, and a manifest of when it came."""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import PurePosixPath
from typing import Any

from pipeline.contracts.deliveries import Creditor, Delivery, Fetched, Part, Role, Validators
from pipeline.contracts.provenance import canonical_json, digest_bytes, digest_json
from pipeline.errors import AbsentError, NotYetAvailable, StoreError
from pipeline.stores.objects import ObjectStore
from pipeline.stores.sealed import SealedLog

_PAGES_KEEP = 86400
_LATE = 86400
_WRITERS, _UNDER_WAY = 8, 64 * 2**20
"""Files written at once, and their bytes: each waits for the disk twice, and all of them together no longer than one."""


@dataclass(frozen=True, kw_only=True)
class LandedPart:
    """One landed file: the provider's name, where it came from, and where its bytes are kept."""

    name: str
    location: str
    sha256: str
    bytes: int
    key: str
    etag: str | None = None
    last_modified: str | None = None

    @property
    def validators(self) -> Validators | None:
        """What identifies it to its provider, where that said so."""
        if self.etag is None and self.last_modified is None:
            return None
        return Validators(etag=self.etag, last_modified=self.last_modified)


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
        self._log = SealedLog(objects, f"{self.prefix}/manifest", blocks=True)

    def manifest(self) -> list[Landed]:
        """All deliveries in the order in which they came."""
        return _manifest(self._log.read())

    def land(self, offered: Iterable[Delivery], received_time: int, creditor: Creditor | None = None) -> list[Landed]:
        """Keep what is new among the deliveries offered; returns that. One atomic commit; nothing new, no commit.

        A delivery is known where the newest one of its name and role has the same content. Where a provider asks to come
        back later, what it handed over before that is kept. With a creditor what is absent does not keep what follows from being
        landed, and fails in the end only where it may just be late, or where nothing came at all.

        Raises:
            ConflictError: Another process landed this source at the same moment; nothing is lost, repeat.
            NotYetAvailable: A provider hands over no more for now.
            StoreError: Storage refused.
        """
        records = self._log.read()
        manifest, expected = _manifest(records), len(records)
        newest = {(landed.name, landed.role): landed for landed in manifest}
        fresh: list[Landed] = []
        absent: list[tuple[Delivery, AbsentError]] = []
        current: Delivery | None = None
        with closing(_Writes(self._objects)) as writes:
            try:
                for delivery in offered:
                    current = delivery
                    known = newest.get((delivery.name, delivery.role))
                    if not _is_settled(delivery, known, creditor, anything=bool(newest)):
                        landed = self._asked(delivery, known, len(manifest) + len(fresh), received_time, creditor, writes)
                        if isinstance(landed, AbsentError):
                            absent.append((delivery, landed))
                        elif known is None or known.id != landed.id:
                            newest[landed.name, landed.role] = landed
                            fresh.append(landed)
                    current = None
            except NotYetAvailable as error:
                if creditor is not None:
                    creditor.missed(current, error.found)
                self._commit(fresh, expected, writes)
                raise
            self._commit(fresh, expected, writes)
        for delivery, reason in absent:
            if not newest or ((delivery.name, delivery.role) not in newest and received_time - _expected(delivery, received_time) <= _LATE):
                raise reason
        return fresh

    def _asked(
        self, delivery: Delivery, known: Landed | None, number: int, received_time: int, creditor: Creditor | None, writes: _Writes
    ) -> Landed | AbsentError:
        """A delivery as it came, or why it is absent, where a creditor keeps account of that."""
        try:
            landed = self._landed(delivery, known, number, received_time, writes)
        except AbsentError as error:
            if creditor is None or delivery.role == "nodes":
                raise
            creditor.missed(delivery, error.found)
            return error
        if creditor is not None:
            creditor.came(delivery, sum(part.bytes == 0 for part in landed.parts))
        return landed

    def _commit(self, fresh: list[Landed], expected: int, writes: _Writes) -> None:
        writes.finish()
        if fresh:
            self._log.append({"deliveries": [_line(f) for f in fresh]}, expected=expected)

    def _landed(self, delivery: Delivery, known: Landed | None, number: int, received_time: int, writes: _Writes) -> Landed:
        if delivery.following is None:
            before = {part.name: part for part in known.parts} if known is not None else {}
            parts = tuple(self._keep(part, before.get(part.name), writes) for part in delivery.parts)
        else:
            parts = self._keep_pages(delivery, delivery.following, received_time, writes)
        return Landed(
            number=number,
            id=parts[0].sha256 if len(parts) == 1 else digest_json([[p.name, p.sha256] for p in parts]),
            source=self._source,
            name=delivery.name,
            role=delivery.role,
            parts=parts,
            received_time=received_time,
            published_time=delivery.published_time,
            covers=delivery.covers,
        )

    def _keep_pages(
        self, delivery: Delivery, following: Callable[[int, bytes], Part | None], received_time: int, writes: _Writes
    ) -> tuple[LandedPart, ...]:
        """All pages of a delivery; after an interruption it goes on with the page that was missing, within a day."""
        progress = f"{self.prefix}/pages/{digest_json([delivery.name, [p.location for p in delivery.parts]])[:16]}.json"
        kept = self._pages(progress, received_time)
        if not kept:
            kept = [self._keep(part, None, writes) for part in delivery.parts]
            writes.finish()
        while (part := following(len(kept) - 1, self._proved(kept[-1]))) is not None:
            self._objects.replace(progress, canonical_json({"received_time": received_time, "parts": [_slim(asdict(p)) for p in kept]}))
            kept.append(self._keep(part, None, writes))
            writes.finish()
        if len(kept) > len(delivery.parts):
            self._objects.replace(progress, canonical_json({"received_time": received_time, "parts": []}))
        return tuple(kept)

    def _pages(self, progress: str, received_time: int) -> list[LandedPart]:
        if not self._objects.exists(progress):
            return []
        record = json.loads(self._objects.get(progress))
        fresh = 0 <= received_time - record["received_time"] < _PAGES_KEEP
        return [LandedPart(**part) for part in record["parts"]] if fresh else []

    def read(self, landed: Landed) -> dict[str, bytes]:
        """File name -> bytes of a delivery, proved to be those received.

        Raises:
            StoreError: A file is gone or its content changed.
        """
        return {part.name: self._proved(part) for part in landed.parts}

    def _keep(self, part: Part, known: LandedPart | None, writes: _Writes) -> LandedPart:
        fetched = self._fetched(part, known)
        if fetched is None and known is not None:
            return known
        data = part.read() if fetched is None else fetched.data
        found = Validators() if fetched is None else fetched.validators
        suffix = "".join(s for s in PurePosixPath(part.name).suffixes[-2:] if re.fullmatch(r"\.[A-Za-z0-9]{1,8}", s))
        sha = digest_bytes(data)
        key = f"{self.prefix}/files/{sha[:2]}/{sha}{suffix}"
        writes.put(key, data)
        return LandedPart(
            name=part.name,
            location=part.location,
            sha256=sha,
            bytes=len(data),
            key=key,
            etag=found.etag,
            last_modified=found.last_modified,
        )

    def _fetched(self, part: Part, known: LandedPart | None) -> Fetched | None:
        """What a part that can say so holds now; None where it is what is known, or where it cannot say so."""
        if part.fetch is None:
            return Fetched(data=part.read(), validators=Validators())
        held = known is not None and known.location == part.location and self._objects.exists(known.key)
        return part.fetch(known.validators if known is not None and held else None)

    def _proved(self, part: LandedPart) -> bytes:
        try:
            data = self._objects.get(part.key)
        except NotYetAvailable as error:
            raise self._lost(part, "it is gone") from error
        if digest_bytes(data) != part.sha256:
            raise self._lost(part, f"{len(data)} bytes that are not those received (sha256 differs)")
        return data

    def _lost(self, part: LandedPart, found: str) -> StoreError:
        return StoreError(
            asked=f"read landed file {self._objects.url(part.key)} ('{part.name}')",
            found=found,
            mend="restore it from a backup, or delete it and land the provider's file again",
        )


def _is_settled(delivery: Delivery, known: Landed | None, creditor: Creditor | None, *, anything: bool) -> bool:
    """Whether a delivery is known as the provider will leave it with nothing missing, or was given up; never before `anything` came."""
    if known is None:
        return anything and creditor is not None and creditor.gave_up(delivery)
    if delivery.settles is None or known.received_time < delivery.settles:
        return False
    return creditor is None or not creditor.asks_again(delivery)


def _expected(delivery: Delivery, received_time: int) -> int:
    """When a delivery should have come, by its own account."""
    if delivery.published_time is not None:
        return delivery.published_time
    return received_time if delivery.covers is None else delivery.covers[1]


class _Writes:
    """Objects on their way to the store, several at once; they are there after `finish`."""

    def __init__(self, objects: ObjectStore) -> None:
        self._objects, self._pool = objects, ThreadPoolExecutor(_WRITERS)
        self._pending: deque[tuple[Future[None], int]] = deque()
        self._bytes = 0

    def put(self, key: str, data: bytes) -> None:
        """Begin to write an object, or to make the one that is there as good as new."""
        self._pending.append((self._pool.submit(self._put, key, data), len(data)))
        self._bytes += len(data)
        while self._bytes > _UNDER_WAY:
            self._await_one()

    def finish(self) -> None:
        """Wait until all are written.

        Raises:
            StoreError: Storage refused one.
        """
        while self._pending:
            self._await_one()

    def close(self) -> None:
        """Begin no more; those that are being written come to their end."""
        self._pool.shutdown(cancel_futures=True)

    def _await_one(self) -> None:
        done, size = self._pending.popleft()
        self._bytes -= size
        done.result()

    def _put(self, key: str, data: bytes) -> None:
        if not self._objects.refresh(key):
            self._objects.put_if_absent(key, data)


def _manifest(records: list[dict[str, Any]]) -> list[Landed]:
    lines = [line for record in records for line in record["deliveries"]]
    return [_landed(number, line) for number, line in enumerate(lines)]


def _line(landed: Landed) -> dict[str, Any]:
    content = {key: value for key, value in vars(landed).items() if key != "number"}
    return content | {"parts": [_slim(vars(part)) for part in landed.parts]}


def _slim(part: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in part.items() if value is not None}


def _landed(number: int, line: dict[str, Any]) -> Landed:
    content = dict(line)
    content["parts"] = tuple(LandedPart(**part) for part in line["parts"])
    content["covers"] = None if line["covers"] is None else (int(line["covers"][0]), int(line["covers"][1]))
    return Landed(number=number, **content)

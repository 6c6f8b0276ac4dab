"""Sealed records: JSON that carries its own sha256, so that a flipped bit is found where it lies, each in two copies.

The copy in `seals/` is written first and decides who takes a number; the record itself makes it visible. A copy without its record
is a commit that a kill cut off, or a record that was lost: the next writer puts it in its place.
"""

from __future__ import annotations

import json
from typing import Any

from pipeline.contracts.provenance import canonical_json, digest_bytes, digest_json
from pipeline.errors import ConflictError, NotYetAvailable, StoreError
from pipeline.stores.fences import check as check_fence
from pipeline.stores.objects import SEALS, ObjectStore


def read_blob(objects: ObjectStore, key: str, sha256: str) -> bytes:
    """The bytes of an object whose digest is known.

    Raises:
        StoreError: It is gone, or its bytes are not those that were written.
    """
    try:
        data = objects.get(key)
    except NotYetAvailable as error:
        raise _damaged(objects.url(key), "nothing there, though a record names it") from error
    if (found := digest_bytes(data)) != sha256:
        raise _damaged(objects.url(key), f"sha256 {found[:12]}… instead of {sha256[:12]}…")
    return data


_FOLD = 64


class SealedLog:
    """A numbered, append-only log of JSON records; a record appears whole, under the next number, once, and is checked when read.

    A log that is read as a whole again and again is `folded`: a view beside it holds its records in one object, renewed every 64.
    """

    def __init__(self, objects: ObjectStore, prefix: str, *, folded: bool = False) -> None:
        self._objects, self._prefix, self._folded = objects, prefix, folded

    def read(self, since: int = 0) -> list[dict[str, Any]]:
        """The records from number `since` on, in order.

        Raises:
            StoreError: A record is damaged, or one is missing in between.
        """
        keys = self._keys()
        known = self._fold(len(keys)) if self._folded else []
        return [*known[since:], *(self._open(key) for key in keys[max(since, len(known)) :])]

    def record(self, number: int) -> dict[str, Any]:
        """One record by its number, without a look at the others.

        Raises:
            StoreError: It is damaged or missing.
        """
        return self._open(self._key(number))

    def newest(self) -> dict[str, Any] | None:
        """The last record, or None where there is none.

        Raises:
            StoreError: The record is damaged.
        """
        keys = self._keys()
        return self._open(keys[-1]) if keys else None

    def append(self, record: dict[str, Any], *, expected: int) -> None:
        """Append a record as number `expected`.

        Raises:
            ConflictError: Another writer took that number, or a later attempt took ours.
        """
        check_fence()
        key, data = self._key(expected), canonical_json({"record": record, "sha256": digest_json(record)})
        try:
            self._objects.put_if_absent(f"{SEALS}/{key}", data)
        except ConflictError:
            self._objects.put_if_absent(key, self._objects.get(f"{SEALS}/{key}"))
            raise
        self._objects.put_if_absent(key, data)
        if self._folded and (expected + 1) % _FOLD == 0:
            records = self.read()
            self._objects.replace(self._folds, canonical_json({"records": records, "sha256": digest_json(records)}))

    def extend(self, record: dict[str, Any]) -> tuple[int, bool]:
        """Append a record unless the newest equals it; its number, and whether it was appended.

        Raises:
            ConflictError: Another writer appended meanwhile.
        """
        keys = self._keys()
        if keys and canonical_json(self._open(keys[-1])) == canonical_json(record):
            return len(keys) - 1, False
        self.append(record, expected=len(keys))
        return len(keys), True

    @property
    def _folds(self) -> str:
        return f"{self._prefix}-folded/records.json"

    def _fold(self, most: int) -> list[dict[str, Any]]:
        """The records in the view, none where it is absent, damaged or ahead of the log: each is then read for itself."""
        if most < _FOLD or not self._objects.exists(self._folds):
            return []
        try:
            content = json.loads(self._objects.get(self._folds))
            records: list[dict[str, Any]] = content["records"]
            whole = digest_json(records) == content["sha256"] and len(records) <= most
        except (ValueError, KeyError, TypeError):
            return []
        return records if whole else []

    def _key(self, number: int) -> str:
        return f"{self._prefix}/{number:08d}.json"

    def _keys(self) -> list[str]:
        keys = self._objects.list(self._prefix)
        for number, key in enumerate(keys):
            if not key.endswith(f"/{number:08d}.json"):
                raise _damaged(self._objects.url(key), f"record {number} is missing before it")
        return keys

    def _open(self, key: str) -> dict[str, Any]:
        try:
            content = json.loads(self._objects.get(key))
            record: dict[str, Any] = content["record"]
            whole = digest_json(record) == content["sha256"]
        except NotYetAvailable as error:
            raise _damaged(self._objects.url(key), "nothing there, though another record counts on it") from error
        except (ValueError, KeyError, TypeError) as error:
            raise _damaged(self._objects.url(key), f"no readable record ({type(error).__name__})") from error
        if not whole:
            raise _damaged(self._objects.url(key), "content that does not fit its sha256")
        return record


def _damaged(place: str, found: str) -> StoreError:
    return StoreError(asked=f"read {place}", found=found, mend="restore that file from a backup; nothing was changed")

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


_BLOCK = 64
"""Records of a block."""


class SealedLog:
    """A numbered, append-only log of JSON records; a record appears whole, under the next number, once, and is checked when read.

    With `blocks` there is a view beside it, `<prefix>.blocks/`, of so many records each, so that a long log is read from few objects.
    """

    def __init__(self, objects: ObjectStore, prefix: str, *, blocks: bool = False) -> None:
        self._objects, self._prefix, self._blocks = objects, prefix, blocks

    def read(self, since: int = 0) -> list[dict[str, Any]]:
        """The records from number `since` on, in order.

        Raises:
            StoreError: A record is damaged, or one is missing in between.
        """
        keys, found = self._keys(), list[dict[str, Any]]()
        for first in range(since // _BLOCK * _BLOCK, len(keys), _BLOCK):
            whole = self._block(first) if self._blocks and first + _BLOCK <= len(keys) else None
            found += (
                [self._open(key) for key in keys[max(first, since) : first + _BLOCK]] if whole is None else whole[max(since - first, 0) :]
            )
        return found

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
        if self._blocks:
            self._renew_blocks(expected + 1)

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

    def _key(self, number: int) -> str:
        return f"{self._prefix}/{number:08d}.json"

    def _renew_blocks(self, count: int) -> None:
        """Write the last full block of so many records, where it is not there."""
        first = count // _BLOCK * _BLOCK - _BLOCK
        key = self._block_key(first)
        if first >= 0 and not self._objects.exists(key):
            records = [self.record(number) for number in range(first, first + _BLOCK)]
            self._objects.replace(key, canonical_json({"records": records, "sha256": digest_json(records)}))

    def _block_key(self, first: int) -> str:
        return f"{self._prefix}.blocks/b{first // _BLOCK:06d}.json"

    def _block(self, first: int) -> list[dict[str, Any]] | None:
        """The records of a block; None where it was not written."""
        key = self._block_key(first)
        try:
            content = json.loads(self._objects.get(key))
            records: list[dict[str, Any]] = content["records"]
            whole = digest_json(records) == content["sha256"]
        except NotYetAvailable:
            return None
        except (ValueError, KeyError, TypeError) as error:
            raise _damaged(self._objects.url(key), f"no readable view ({type(error).__name__})", _DELETE) from error
        if not whole:
            raise _damaged(self._objects.url(key), "content that does not fit its sha256", _DELETE)
        return records

    def _keys(self) -> list[str]:
        keys = [f"{self._prefix}/{name}" for name in self._objects.children(self._prefix)]
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


_DELETE = "delete that file and its seal: it is a view, and the records beside it are read instead"


def _damaged(place: str, found: str, mend: str = "restore that file from a backup; nothing was changed") -> StoreError:
    return StoreError(asked=f"read {place}", found=found, mend=mend)

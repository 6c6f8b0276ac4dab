"""Verification of everything a store holds for a world but its arrays: every object there, and what was written."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from pipeline.contracts.provenance import digest_bytes, digest_json
from pipeline.errors import CubecastError
from pipeline.stores.inventory import Inventory, address_of, is_record
from pipeline.stores.objects import SEALS
from pipeline.stores.seals import fits, is_whole
from pipeline.telemetry import Progress

_READERS = 8


@dataclass(frozen=True, kw_only=True)
class ObjectsCheck:
    """What a look at every object found.

    Attributes:
        objects: How many were read, with their `bytes`.
        faults: One line for each that is damaged or gone.
        unreferenced: Objects that no record leads to: what a kill left behind, or a candidate for collection.
    """

    objects: int
    bytes: int
    faults: tuple[str, ...]
    unreferenced: int


def check_objects(inventory: Inventory, progress: Progress) -> ObjectsCheck:
    """Read every object, hold it against its name, its seal or its second copy, and follow what records refer to."""
    faults: list[str] = []
    with progress.stage("verify objects", len(inventory.entries), "objects") as stage, ThreadPoolExecutor(_READERS) as pool:
        for found in pool.map(lambda key: list(_faults_of(inventory, key)), inventory.entries):
            faults += found
            stage.advance(1, f"{len(faults)} damaged")
    faults += [f"{key}: gone, though its {'second copy' if is_record(key) else 'seal'} is there" for key in _gone(inventory)]
    faults += _breaks(inventory)
    followed = inventory.follow()
    faults += followed.lost
    return ObjectsCheck(
        objects=len(inventory.entries),
        bytes=sum(entry.bytes for entry in inventory.entries.values()),
        faults=tuple(dict.fromkeys(faults)),
        unreferenced=sum(1 for key in inventory.entries if address_of(key) is not None and key not in followed.live),
    )


def _faults_of(inventory: Inventory, key: str) -> Iterator[str]:
    """What is wrong with one object."""
    try:
        data = inventory.objects.get(key)
        seal = inventory.objects.get(inventory.seals[key].key) if key in inventory.seals else None
    except CubecastError as error:
        yield f"{key}: {error.found}"
        return
    if (address := address_of(key)) is not None:
        if digest_bytes(data) != address:
            yield f"{key}: {len(data)} bytes that are not those written (sha256 differs)"
    elif is_record(key):
        if not _is_sealed_record(data):
            yield f"{key}: no readable record, or content that does not fit its sha256"
        if seal is None:
            yield f"{key}: its second copy in {SEALS}/ is gone"
        elif seal != data:
            yield f"{key if _is_sealed_record(seal) else f'{SEALS}/{key}'}: differs from its second copy"
    elif seal is None:
        yield f"{key}: its seal is gone"
    elif not is_whole(seal):
        yield f"{SEALS}/{key}.sha256: a seal that does not fit its own sha256"
    elif not fits(seal, data):
        yield f"{key}: content that does not fit its seal"


def _is_sealed_record(data: bytes) -> bool:
    try:
        content = json.loads(data)
        return bool(digest_json(content["record"]) == content["sha256"])
    except (ValueError, KeyError, TypeError):
        return False


def _gone(inventory: Inventory) -> list[str]:
    return sorted(key for key in inventory.seals if key not in inventory.entries)


def _breaks(inventory: Inventory) -> Iterator[str]:
    """Logs with a number left out."""
    numbers: dict[str, list[int]] = {}
    for key in inventory.entries:
        if is_record(key):
            prefix, _, name = key.rpartition("/")
            numbers.setdefault(prefix, []).append(int(name[:8]))
    for prefix, found in sorted(numbers.items()):
        if lacking := sorted(set(range(max(found) + 1)) - set(found)):
            yield f"{prefix}: record {lacking[0]} is missing"

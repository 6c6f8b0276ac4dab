"""Verification of an Icechunk repository at rest: seals, branch and tags, and every chunk that any snapshot reaches."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from pipeline.contracts.provenance import digest_bytes
from pipeline.errors import CubecastError, NotYetAvailable, StoreError
from pipeline.stores.objects import ObjectStore
from pipeline.stores.repositories import BRANCH, REWRITING, Seal, open_repository, reachable_snapshots, read_seal, seals
from pipeline.telemetry import QUIET, Progress, Stage

_ROWS = 32
_READERS = 8
Coordinates = set[tuple[int, ...]]


@dataclass(frozen=True, kw_only=True)
class RepositoryCheck:
    """What a look at a repository found.

    Attributes:
        snapshots: How many its branch and tags lead to.
        metadata: Objects of metadata that were proved.
        chunks: Chunks of snapshots that were read.
        faults: One line for each object that is damaged or gone.
        unfinished: Snapshots with a seal that nothing leads to: what a kill left.
    """

    snapshots: int
    metadata: int
    chunks: int
    faults: tuple[str, ...]
    unfinished: tuple[str, ...]


def check_repository(url: str, progress: Progress, *, newest: bool = True) -> RepositoryCheck:
    """Check all snapshots of a repository; without `newest` the chunks of the newest are left to others."""
    try:
        repository = open_repository(url, create=False)
        if repository is None:
            raise StoreError(asked=f"open {url}", found="no repository, though objects of one are there", mend="")
        reachable = reachable_snapshots(repository)
    except CubecastError as error:
        return _nothing(f"{url}: {error.found}")
    except Exception as error:  # whatever a damaged object makes the library raise is the finding
        return _nothing(f"{url}: {_said(error)}")
    sealed, tags = seals(url), set(repository.list_tags())
    known, faults = _read_seals(url, list(reachable), sealed)
    lost = {name for seal in known.values() for name in seal.tags} - tags
    faults += [f"{url}/refs/tag.{name}: gone, though a snapshot was given that name" for name in sorted(lost)]
    faults += _bent_references(repository, url, tags)
    digests = {path: found for seal in known.values() for path, found in seal.objects.items()}
    known = {snapshot: seal for snapshot, seal in known.items() if snapshot in reachable}
    used = _used(known)
    faults += [f"{url}/{path}: no seal covers it" for path in sorted(used - set(digests))]
    proved, broken = _prove(url, {path: digests[path] for path in sorted(used & set(digests))}, progress)
    faults += broken
    chunks, unread = (0, []) if broken else _read_chunks(repository, reachable, known, progress, newest=newest)
    unfinished = tuple(sorted(set(sealed) - set(reachable)))
    faults += [f"{url}/{fault}" for fault in unread]
    return RepositoryCheck(
        snapshots=len(reachable), metadata=proved, chunks=chunks, faults=tuple(dict.fromkeys(faults)), unfinished=unfinished
    )


def damaged_metadata(url: str, snapshot: str | None) -> list[str]:
    """Which objects that a snapshot (None: the newest) is read by are not what was written; for an error that came of them.

    Raises:
        StoreError: The storage is out of reach.
    """
    head = f"refs/branch.{BRANCH}/ref.json"
    try:
        newest = snapshot or str(json.loads(ObjectStore(url).get(head))["snapshot"])
    except (ValueError, KeyError, TypeError, NotYetAvailable) as error:
        return [f"{url}/{head}: {_said(error)}"]
    sealed = seals(url)
    if newest not in sealed:
        return [f"{url}/{head if snapshot is None else f'seals/{newest}.json'}: no snapshot {newest} is sealed"]
    known, faults = _read_seals(url, [newest], sealed)
    digests = {path: found for seal in known.values() for path, found in seal.objects.items()}
    used = [f"snapshots/{newest}", *(f"manifests/{m}" for m in (known[newest].manifests if newest in known else ()))]
    return [*faults, *_prove(url, {path: digests[path] for path in used if path in digests}, QUIET)[1]]


def _nothing(fault: str) -> RepositoryCheck:
    return RepositoryCheck(snapshots=0, metadata=0, chunks=0, faults=(fault,), unfinished=())


def _read_seals(url: str, reachable: list[str], sealed: list[str]) -> tuple[dict[str, Seal], list[str]]:
    found: dict[str, Seal] = {}
    faults: list[str] = []
    for snapshot in dict.fromkeys([*reachable, *sealed]):
        try:
            found[snapshot] = read_seal(url, snapshot)
        except StoreError as error:
            faults.append(f"{url}/seals/{snapshot}.json: {error.found}")
    return found, faults


def _used(known: Mapping[str, Seal]) -> set[str]:
    """Metadata that snapshots use."""
    return {path for seal in known.values() for path in seal.objects} | {
        f"manifests/{m}" for seal in known.values() for m in seal.manifests
    }


def _bent_references(repository: Any, url: str, tags: set[str]) -> list[str]:
    """References that say something else than what the library reads in them; it takes several letters for one."""
    objects, faults = ObjectStore(url), []
    meant = {f"branch.{BRANCH}": repository.lookup_branch(BRANCH)} | {f"tag.{tag}": repository.lookup_tag(tag) for tag in sorted(tags)}
    for name, snapshot in meant.items():
        key = f"refs/{name}/ref.json"
        if json.loads(objects.get(key)) != {"snapshot": snapshot}:
            faults.append(f"{url}/{key}: not what was written")
    return faults


def _prove(url: str, sealed: Mapping[str, tuple[str, ...]], progress: Progress) -> tuple[int, list[str]]:
    """Every sealed object against its digest."""
    objects, faults = ObjectStore(url), list[str]()

    def fault(path: str) -> str | None:
        try:
            whole = REWRITING in sealed[path] or digest_bytes(objects.get(path)) in sealed[path]
        except NotYetAvailable:
            return "gone"
        except StoreError as error:
            return error.found
        return None if whole else "bytes that are not those written (sha256 differs)"

    with progress.stage("verify snapshots", len(sealed), "objects") as stage, ThreadPoolExecutor(_READERS) as pool:
        for path, found in zip(sealed, pool.map(fault, sealed), strict=True):
            faults += [] if found is None else [f"{url}/{path}: {found}"]
            stage.advance(1, f"{len(faults)} damaged")
    return len(sealed), faults


def _read_chunks(
    repository: Any, reachable: Mapping[str, Any], known: Mapping[str, Seal], progress: Progress, *, newest: bool
) -> tuple[int, list[str]]:
    """Read every chunk once, in the newest snapshot that has it; the checksum in each finds damage."""
    faults: list[str] = []
    count = 0
    with progress.stage("verify chunks", None, "chunks") as stage:
        for snapshot, wanted in _wanted(repository, list(reachable), reachable, known, newest=newest):
            session = repository.readonly_session(snapshot_id=snapshot)
            for path, coordinates in sorted(wanted.items()):
                count += _read_array(session, snapshot, path, coordinates, faults, stage)
    return count, faults


def _wanted(
    repository: Any, order: list[str], reachable: Mapping[str, Any], known: Mapping[str, Seal], *, newest: bool
) -> Iterator[tuple[str, dict[str, Coordinates | None]]]:
    """Per snapshot the arrays, and of each the chunks (None: all), that no newer snapshot has."""
    seen: set[str] = set()
    if order and newest:
        yield order[0], dict.fromkeys(_indices(repository, order[0]))
    for newer, older in pairwise(order):
        seen |= {m for ids in _indices(repository, newer).values() for m in ids}
        differing = {path for path, ids in _indices(repository, older).items() if not ids <= seen}
        # After a retention a snapshot's record of changes speaks about a parent that is gone.
        told = reachable[newer].parent_id == older and newer in known and known[newer].parent == older
        yield older, _replaced(repository, older, newer, differing) if told else dict.fromkeys(differing)


def _replaced(repository: Any, older: str, newer: str, differing: set[str]) -> dict[str, Coordinates | None]:
    """The chunks of an older snapshot that the next one put others in the place of."""
    change = repository.diff(from_snapshot_id=older, to_snapshot_id=newer)
    anew = {*change.new_arrays, *change.deleted_arrays}
    gone = tuple(f"{group.rstrip('/')}/" for group in change.deleted_groups)
    updated = {path: {tuple(c) for c in coordinates} for path, coordinates in change.updated_chunks.items()}
    return {path: None if path in anew or path.startswith(gone) else updated.get(path, set()) for path in differing}


def _indices(repository: Any, snapshot: str) -> dict[str, set[str]]:
    nodes = json.loads(repository.inspect_snapshot(snapshot))["nodes"]
    return {n["path"]: {m["id"] for m in n.get("manifest_refs", [])} for n in nodes if n["node_type"] == "array"}


def _read_array(session: Any, snapshot: str, path: str, wanted: Coordinates | None, faults: list[str], stage: Stage) -> int:
    import zarr

    place = f"snapshots/{snapshot}{path}"
    try:
        array: Any = zarr.open_array(session.store, path=path.strip("/"), mode="r")
        held = asyncio.run(_coordinates(session, path))
    except Exception as error:  # as above
        faults.append(f"{place}: {_said(error)}")
        return 0
    due = held if wanted is None else held & wanted
    rows = sorted({c[0] for c in due}) if array.ndim else []
    for start in range(0, len(rows), _ROWS):
        for low, high in _runs(rows[start : start + _ROWS]):
            _read_rows(array, place, low, high, faults)
        stage.advance(len(rows[start : start + _ROWS]), f"{len(faults)} damaged")
    return len(due)


def _runs(rows: list[int]) -> Iterator[tuple[int, int]]:
    """Neighbours among ascending numbers, together: first and last + 1."""
    begin = 0
    for k in range(1, len(rows) + 1):
        if k == len(rows) or rows[k] != rows[k - 1] + 1:
            yield rows[begin], rows[k - 1] + 1
            begin = k


def _read_rows(array: Any, place: str, low: int, high: int, faults: list[str]) -> None:
    """Read chunks low .. high - 1 along the first axis; where that fails, each alone, to name it."""
    size = array.chunks[0]
    try:
        array[low * size : high * size]
    except Exception as error:  # as above
        if high - low == 1:
            faults.append(f"{place}: chunk {low}: {_said(error)}")
            return
        for row in range(low, high):
            _read_rows(array, place, row, row + 1, faults)


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"


async def _coordinates(session: Any, path: str) -> Coordinates:
    return {tuple(int(n) for n in place) async for place in session.chunk_coordinates(path)}

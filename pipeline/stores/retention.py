"""What goes: snapshots that no one can ask for any more, and objects that nothing refers to.

A snapshot stays until `keep` after it was superseded, and for ever while a champion or a forecast names it (a tag holds it). Garbage
goes when it is older than a grace period, for what is younger may belong to a writer at work.
"""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from pipeline.errors import StoreError
from pipeline.stores.inventory import Inventory, address_of
from pipeline.stores.objects import Entry, ObjectStore
from pipeline.stores.repositories import (
    BRANCH,
    REWRITING,
    Seal,
    drop_tag,
    keep_tag,
    manifests_of,
    object_digests,
    open_repository,
    reachable_snapshots,
    read_seal,
    replace_seal,
    seals,
)
from pipeline.stores.turns import taking_turns

_PIN = "pin-"
_READERS = 8


@dataclass(frozen=True, kw_only=True)
class Gone:
    """What went, or would go.

    Attributes:
        objects: Kind -> how many.
        bytes: Kind -> their size.
        snapshots: Identities of those that can no longer be read.
    """

    objects: Mapping[str, int]
    bytes: Mapping[str, int]
    snapshots: tuple[str, ...] = ()

    @property
    def total_bytes(self) -> int:
        """All kinds together."""
        return sum(self.bytes.values())


def retain_snapshots(url: str, *, keep_since: datetime | None, garbage_before: datetime, pins: Collection[str], dry_run: bool) -> Gone:
    """Let go the snapshots of a repository that were superseded before `keep_since` and are not pinned, and what only they used.

    A dry run does the same to a copy of the metadata with empty stand-ins for chunks, so that it tells what would go to the byte.

    Args:
        url: The repository.
        keep_since: None: no snapshot goes, garbage only.
        garbage_before: What nothing leads to goes where it was written before this instant.
        pins: Snapshots that stay.
        dry_run: Leave everything as it is.

    Raises:
        StoreError: The storage refused, or a seal is damaged; what had gone by then stays gone, and the same call goes on.
    """
    before = {entry.key: entry.bytes for entry in ObjectStore(url).entries("")}
    if dry_run:
        with tempfile.TemporaryDirectory() as folder:
            copy = f"{folder}/copy"
            _rehearse(url, copy)
            snapshots = _retain(copy, keep_since, garbage_before, pins)
            left = {entry.key for entry in ObjectStore(copy).entries("")}
    else:
        snapshots = _retain(url, keep_since, garbage_before, pins)
        left = {entry.key for entry in ObjectStore(url).entries("")}
    gone = {key: size for key, size in before.items() if key not in left}
    sizes: Counter[str] = Counter()
    for key, size in gone.items():
        sizes[key.split("/")[0]] += size
    return Gone(objects=Counter(key.split("/")[0] for key in gone), bytes=sizes, snapshots=snapshots)


def collect_garbage(inventory: Inventory, *, garbage_before: datetime, dry_run: bool) -> Gone:
    """Let go the objects named by their content that no record leads to, and what was never given a name.

    Raises:
        StoreError: Something that a record leads to is damaged or gone: nothing is taken from a store that is not whole.
    """
    followed = inventory.follow()
    if faults := [*followed.lost, *(f"{key}: no readable JSON" for key in followed.unreadable)]:
        raise StoreError(
            asked=f"collect garbage of world {inventory.world} in {inventory.objects.root}",
            found=f"{len(faults)} damaged: {'; '.join(faults[:5])}",
            mend="cubecast store verify names all of it; mend that first, nothing was deleted",
        )
    limit = garbage_before.timestamp()
    unnamed = [entry for entry in inventory.staged if entry.written < limit]
    loose = [e for e in inventory.entries.values() if address_of(e.key) is not None and e.key not in followed.live and e.written < limit]
    objects, sizes = Counter[str](), Counter[str]()
    for entry in [*unnamed, *loose]:
        if not dry_run:
            newest = inventory.objects.written(entry.key)
            if newest is None or newest >= limit:
                continue  # a writer took it up meanwhile
            inventory.objects.delete(entry.key)
        kind = entry.key.split("/")[0]
        objects[kind] += 1
        sizes[kind] += entry.bytes
    return Gone(objects=objects, bytes=sizes)


def _retain(url: str, keep_since: datetime | None, garbage_before: datetime, pins: Collection[str]) -> tuple[str, ...]:
    with taking_turns(url):
        repository = open_repository(url, create=False)
        if repository is None:
            return ()
        before = reachable_snapshots(repository)
        if keep_since is not None:
            _expire(repository, url, keep_since, pins)
        repository.garbage_collect(garbage_before)
        after = reachable_snapshots(repository)
        _seal_anew(repository, url, after, garbage_before.timestamp())
        return tuple(sorted(set(before) - set(after)))


def _expire(repository: Any, url: str, keep_since: datetime, pins: Collection[str]) -> None:
    history = [s for s in repository.ancestry(branch=BRANCH) if s.parent_id is not None]
    # The newest one written by then was what readers saw at that instant; those before it had been superseded.
    first = next((k for k, s in enumerate(history) if s.written_at <= keep_since), len(history))
    tagged = {name: repository.lookup_tag(name) for name in sorted(repository.list_tags())}
    for snapshot in (s.id for s in history[first + 1 :]):
        if snapshot in pins and snapshot not in tagged.values():
            name = f"{_PIN}{snapshot}-{len(history)}"
            keep_tag(repository, url, name, snapshot)
            tagged[name] = snapshot
    for name, snapshot in tagged.items():
        if name.startswith(_PIN) and snapshot not in pins:
            drop_tag(repository, url, name, snapshot)
    if not history[first + 1 :]:
        return
    # The library gives the oldest that a branch keeps, and whatever has a name, another parent, in place.
    for snapshot in {history[first].id, *tagged.values()}:
        seal = read_seal(url, snapshot)
        path = f"snapshots/{snapshot}"
        replace_seal(url, replace(seal, objects={**seal.objects, path: (*seal.objects.get(path, ()), REWRITING)}))
    repository.expire_snapshots(history[first].written_at)


def _seal_anew(repository: Any, url: str, reachable: Mapping[str, Any], before: float) -> None:
    """Let the seals of the snapshots that are left cover all that these use; no digest is taken anew but of what was rewritten."""
    known = {snapshot: read_seal(url, snapshot) for snapshot in seals(url)}
    digests = {path: found for seal in known.values() for path, found in seal.objects.items() if REWRITING not in found}
    root = next((s.id for s in repository.ancestry(branch=BRANCH) if s.parent_id is None), None)
    claimed: set[str] = set()
    for number, snapshot in enumerate(reversed(list(reachable))):
        seal, manifests = known[snapshot], manifests_of(repository, snapshot)
        wanted = [f"snapshots/{snapshot}", f"transactions/{snapshot}", *(f"manifests/{m}" for m in manifests)]
        wanted += [f"snapshots/{root}"] if number == 0 else []
        mine = {path: digests[path] for path in wanted if path not in claimed and path in digests}
        if f"snapshots/{snapshot}" not in digests:
            mine |= {path: (digest,) for path, digest in object_digests(url, [f"snapshots/{snapshot}"]).items()}
        claimed |= set(mine)
        fresh = Seal(snapshot=snapshot, parent=seal.parent, manifests=manifests, objects=mine, tags=seal.tags)
        if fresh != seal:
            replace_seal(url, fresh)
    objects = ObjectStore(url)
    for entry in objects.entries("seals"):
        if entry.written < before and entry.key.split("/")[1].removesuffix(".json") not in reachable:
            objects.delete(entry.key)


def _rehearse(url: str, copy: str) -> None:
    """A repository like another, with files of the same sizes and ages for its chunks that hold nothing."""
    objects = ObjectStore(url)

    def stand_in(entry: Entry) -> None:
        path = Path(copy) / entry.key
        path.parent.mkdir(parents=True, exist_ok=True)
        if entry.key.startswith("chunks/"):
            with path.open("wb") as file:
                file.truncate(entry.bytes)
        else:
            path.write_bytes(objects.get(entry.key))
        os.utime(path, (entry.written, entry.written))

    with ThreadPoolExecutor(_READERS) as pool:
        list(pool.map(stand_in, objects.entries("")))

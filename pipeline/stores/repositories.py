"""Icechunk repositories: opened alike everywhere, committed with a seal, so that damage to any object of theirs can be found.

A commit writes the new snapshot, then its seal (`seals/<snapshot>.json`: the sha256 of every object of metadata that is new with it),
then moves the branch. So every snapshot that a branch leads to has a seal, and a seal that none leads to is what a kill left behind.
"""

from __future__ import annotations

import contextlib
import json
import math
import re
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from pipeline.contracts.provenance import canonical_json, digest_bytes, digest_json
from pipeline.errors import ConfigError, ConflictError, NotYetAvailable, StoreError
from pipeline.stores import objects
from pipeline.stores.fences import check as check_fence
from pipeline.stores.objects import ObjectStore

BRANCH = "main"
_MEND_WRITING = "mend the storage (space, access, a damaged object); then run the same command again, the last snapshot is whole"
_MANIFEST_CHUNKS = 256
"""Chunks along the first axis whose index is one object: what an append to a long array writes anew."""

_NO_ROOM = re.compile(r"os error (27|28|122)\b")
"""File too large, no space left, quota exceeded."""

_SILENCE, _SILENCE_OF_ARRAYS = 30, 180
"""How many times the patience with one request a whole call of Icechunk may take, which makes many, and a reading or writing of arrays through it."""

REWRITING = "*"
"""In place of a digest while a retention gives a snapshot another parent."""


@dataclass(frozen=True, kw_only=True)
class Seal:
    """What proves a snapshot's metadata.

    Attributes:
        parent: The snapshot that it was made from.
        manifests: Identities of all indices that it uses.
        objects: Path -> sha256 of what is new with it; with REWRITING where a retention was about to rewrite it.
        tags: The names that the snapshot was given.
    """

    snapshot: str
    parent: str
    manifests: tuple[str, ...]
    objects: Mapping[str, tuple[str, ...]]
    tags: tuple[str, ...] = ()


def open_repository(url: str, *, create: bool) -> Any:
    """The Icechunk repository at a folder or an s3:// address; None where there is none and `create` is False.

    Raises:
        StoreError: There was one, and its branch is gone.
    """
    import icechunk

    icechunk.set_logs_filter("error")
    storage = _s3(url) if "://" in url else icechunk.local_filesystem_storage(url)
    if not create and "://" not in url and not Path(url).is_dir():
        return None
    if not _answered(url, lambda: icechunk.Repository.exists(storage)):
        if seals(url):
            raise StoreError(
                asked=f"open {url}",
                found=f"no branch '{BRANCH}', though snapshots of it are sealed",
                mend=f"restore {url}/refs from a backup, or remove {url}: it is made anew",
            )
        if not create:
            return None
        _create(url)
    return _answered(url, lambda: icechunk.Repository.open(storage, _configuration()))


def _create(url: str) -> None:
    """An empty repository: its first snapshot, then its branch, each put once; so a kill may cut it off, and others may do the same."""
    import icechunk

    with tempfile.TemporaryDirectory() as folder:
        icechunk.Repository.create(icechunk.local_filesystem_storage(folder))
        model, made = ObjectStore(folder), ObjectStore(url)
        for key in sorted(model.list(""), key=lambda key: key.startswith("refs/")):
            with contextlib.suppress(ConflictError):
                made.put_if_absent(key, model.get(key))


def _configuration() -> Any:
    import icechunk
    from icechunk import ManifestConfig, ManifestPreloadConfig, ManifestSplitCondition, ManifestSplitDimCondition, ManifestSplittingConfig

    along_first: Any = {ManifestSplitCondition.AnyArray(): {ManifestSplitDimCondition.Axis(0): _MANIFEST_CHUNKS}}
    manifest = ManifestConfig(splitting=ManifestSplittingConfig.from_dict(along_first), preload=ManifestPreloadConfig(max_total_refs=0))
    return icechunk.RepositoryConfig(manifest=manifest)


def commit(repository: Any, session: Any, url: str, message: str, metadata: Mapping[str, Any]) -> str:
    """Make a session's changes the newest snapshot, sealed; returns it. Call it while taking turns.

    Raises:
        ConflictError: Another commit was made since the session began, or a later attempt took our place.
    """
    import icechunk

    check_fence()
    base = str(session.snapshot_id)
    if (head := _answered(url, lambda: repository.lookup_branch(BRANCH))) != base:
        raise _overtaken(url, head)
    snapshot = str(_answered(url, lambda: session.flush(message, dict(metadata))))
    _put_seal(url, _new_seal(repository, url, snapshot, base))
    check_fence()
    try:
        _answered(url, lambda: repository.reset_branch(BRANCH, snapshot, from_snapshot_id=base))
    except icechunk.IcechunkError as error:
        if (head := _answered(url, lambda: repository.lookup_branch(BRANCH))) == snapshot:  # the answer was lost, not the request
            return snapshot
        if head != base:
            raise _overtaken(url, head) from error
        raise
    return snapshot


def seals(url: str) -> list[str]:
    """The snapshots of a repository that have a seal, reached by its branch or not."""
    return [key.split("/")[1].removesuffix(".json") for key in ObjectStore(url).list("seals")]


def keep_tag(repository: Any, url: str, name: str, snapshot: str) -> None:
    """Name a sealed snapshot, so that no retention takes it; its seal tells that the name is there."""
    repository.create_tag(name, snapshot)
    seal = read_seal(url, snapshot)
    replace_seal(url, replace(seal, tags=(*seal.tags, name)))


def drop_tag(repository: Any, url: str, name: str, snapshot: str) -> None:
    """Take a name away from a snapshot."""
    seal = read_seal(url, snapshot)
    replace_seal(url, replace(seal, tags=tuple(tag for tag in seal.tags if tag != name)))
    repository.delete_tag(name)


def read_seal(url: str, snapshot: str) -> Seal:
    """The seal of a snapshot.

    Raises:
        StoreError: It is absent or damaged.
    """
    objects, key = ObjectStore(url), f"seals/{snapshot}.json"
    try:
        content = json.loads(objects.get(key))
        if digest_json(content["seal"]) != content["sha256"]:
            raise ValueError("its sha256 differs")
        known = content["seal"]
        return Seal(
            snapshot=known["snapshot"],
            parent=known["parent"],
            manifests=tuple(known["manifests"]),
            objects={path: tuple(digests) for path, digests in known["objects"].items()},
            tags=tuple(known["tags"]),
        )
    except (NotYetAvailable, ValueError, KeyError, TypeError) as error:
        found = "nothing there, though its snapshot is" if isinstance(error, NotYetAvailable) else f"no readable seal ({error})"
        raise StoreError(asked=f"read {objects.url(key)}", found=found, mend="restore that file from a backup") from error


def prove_snapshot(repository: Any, url: str, snapshot: str) -> None:
    """Hold a snapshot, which says what arrays there are, how they are cut and what their attributes are, against its seal.

    Raises:
        StoreError: It is damaged, or its seal is.
    """
    path, found = f"snapshots/{snapshot}", "bytes that are not those written (sha256 differs)"
    for _ in range(2):  # a retention may rewrite the snapshot after its seal was read
        try:
            known = read_seal(url, snapshot).objects.get(path, ())
        except StoreError:
            if repository.lookup_snapshot(snapshot).parent_id is None:
                return  # nothing was ever committed
            raise
        try:
            if REWRITING in known or object_digests(url, [path])[path] in known:
                return
        except NotYetAvailable:
            found = "nothing there, though its seal is"
    raise StoreError(asked=f"read {url}/{path}", found=found, mend="restore that file from a backup")


def replace_seal(url: str, seal: Seal) -> None:
    """Put another seal in the place of a snapshot's."""
    ObjectStore(url).overwrite(f"seals/{seal.snapshot}.json", _sealed(seal))


def object_digests(url: str, paths: list[str]) -> dict[str, str]:
    """sha256 of objects below a repository."""
    objects = ObjectStore(url)
    with ThreadPoolExecutor(8) as pool:
        return dict(zip(paths, pool.map(lambda path: digest_bytes(objects.get(path)), paths), strict=True))


def reachable_snapshots(repository: Any) -> dict[str, Any]:
    """Snapshots that the branch and the tags lead to, newest first, without the empty one at the beginning."""
    found = {s.id: s for s in repository.ancestry(branch=BRANCH)}
    for tag in sorted(repository.list_tags()):
        found |= {s.id: s for s in repository.ancestry(tag=tag)}
    return {s.id: s for s in sorted(found.values(), key=lambda s: s.written_at, reverse=True) if s.parent_id is not None}


def manifests_of(repository: Any, snapshot: str) -> tuple[str, ...]:
    """Identities of the indices that a snapshot uses, sorted."""
    return tuple(sorted(m["id"] for m in json.loads(repository.inspect_snapshot(snapshot))["manifests"]))


def _answered(url: str, call: Callable[[], Any]) -> Any:
    """What a call of Icechunk gives, or an error where S3 is silent: Icechunk 1.1 itself waits as long as a connection stands."""
    if "://" not in url:
        return call()
    given: Future[Any] = Future()

    def work() -> None:
        try:
            given.set_result(call())
        except BaseException as error:  # whoever waits for it raises it
            given.set_exception(error)

    threading.Thread(target=work, daemon=True).start()
    seconds = _SILENCE * objects.S3_PATIENCE
    try:
        return given.result(seconds)
    except TimeoutError as error:
        if given.done():
            raise
        raise StoreError(asked=f"reach {url}", found=f"no answer within {seconds:.0f} s", mend=_MEND_WRITING) from error


def _new_seal(repository: Any, url: str, snapshot: str, parent: str) -> Seal:
    manifests, known = manifests_of(repository, snapshot), ObjectStore(url).exists(f"seals/{parent}.json")
    before = set(read_seal(url, parent).manifests) if known else set()
    fresh = [f"snapshots/{snapshot}", f"transactions/{snapshot}", *(f"manifests/{m}" for m in manifests if m not in before)]
    fresh += [] if known else [f"snapshots/{parent}"]
    digests = object_digests(url, fresh)
    return Seal(snapshot=snapshot, parent=parent, manifests=manifests, objects={path: (digest,) for path, digest in digests.items()})


def _put_seal(url: str, seal: Seal) -> None:
    ObjectStore(url).put_if_absent(f"seals/{seal.snapshot}.json", _sealed(seal))


def _sealed(seal: Seal) -> bytes:
    content = json.loads(canonical_json(asdict(seal)))
    return canonical_json({"seal": content, "sha256": digest_json(content)})


def _overtaken(url: str, head: str) -> ConflictError:
    return ConflictError(
        asked=f"commit to {url}",
        found=f"another writer committed first (snapshot {head})",
        mend="run the same command again; nothing was written",
    )


def _s3(url: str) -> Any:
    import icechunk

    if not url.startswith("s3://"):
        raise ConfigError(asked=f"store '{url}'", found="neither a folder nor s3://", mend="set CUBECAST_STORE to s3://bucket/prefix")
    import s3fs
    import zarr

    zarr.config.set({"async.timeout": _SILENCE_OF_ARRAYS * objects.S3_PATIENCE})
    # The same configuration as every other object of the store is reached by.
    client = s3fs.S3FileSystem().s3.meta
    endpoint, region = str(client.endpoint_url), str(client.region_name or "us-east-1")
    bucket, _, prefix = url.removeprefix("s3://").partition("/")
    custom = None if "amazonaws.com" in endpoint else endpoint
    return icechunk.s3_storage(
        bucket=bucket,
        prefix=prefix,
        from_env=True,
        region=region,
        endpoint_url=custom,
        allow_http=endpoint.startswith("http://"),
        force_path_style=custom is not None,
        network_stream_timeout_seconds=math.ceil(objects.S3_PATIENCE),
    )


@contextlib.contextmanager
def storage_errors(asked: str, mend: str = _MEND_WRITING) -> Iterator[None]:
    """Turn what the storage libraries raise into StoreError and ConflictError; `asked` ends with the place."""
    import icechunk

    try:
        yield
    except (icechunk.ConflictError, icechunk.RebaseFailedError) as error:
        raise ConflictError(
            asked=asked, found=f"another writer committed first ({error})", mend="run the same command again; nothing was written"
        ) from error
    except (icechunk.IcechunkError, OSError, ValueError, RuntimeError) as error:
        raise StoreError(
            asked=asked,
            found=f"{_room(asked.rsplit(' ', 1)[-1], str(error))}{type(error).__name__}: {' '.join(str(error).split())}",
            mend=mend,
        ) from error


def _room(place: str, said: str) -> str:
    """How many bytes are free where an error is about room on a disk; else nothing."""
    if not _NO_ROOM.search(said) or "://" in place:
        return ""
    folder = next(p for p in (Path(place), *Path(place).parents) if p.exists())
    return f"no room for it, {shutil.disk_usage(folder).free} bytes are free on that disk; "

"""Objects: named bytes on a local folder or on S3, created once, never half there."""

from __future__ import annotations

import contextlib
import os
import posixpath
import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from pipeline.contracts.provenance import digest_bytes
from pipeline.errors import ConfigError, ConflictError, NotYetAvailable, StoreError
from pipeline.stores.seals import make_seal

SEALS = "seals"
"""Where the seals of views and the second copies of records lie, under the keys of those."""

S3_PATIENCE = 20.0
"""Seconds that S3 may be silent before a request is made again."""

_ASKED_AGAIN = ("ConditionalRequestConflict", "BadDigest")
"""Refusals of S3 after which the same request may go well: another writer was about to create it; a bit flipped on the way."""

_KEY = re.compile(r"[A-Za-z0-9_=.:+-]+(/[A-Za-z0-9_=.:+-]+)*")


def _check(key: str) -> str:
    if not _KEY.fullmatch(key) or ".." in key.split("/"):
        raise ConfigError(asked=f"object key '{key}'", found="characters outside A-Z a-z 0-9 _ = . : + -", mend="use such names only")
    return key


@dataclass(frozen=True, kw_only=True)
class Entry:
    """An object as a listing shows it; `written` in seconds since 1970."""

    key: str
    bytes: int
    written: float


class ObjectStore:
    """Objects under one root, addressed by keys such as `landing/aarhus/traffic/ab12.csv.gz`.

    An object is created whole or not at all, and never changes. `replace` is for views that can be derived again; their digest is
    kept apart, in `seals/`, so that damage to them is found too.
    """

    def __init__(self, root: str) -> None:
        self.root = root.rstrip("/")
        self.local = "://" not in self.root

    def url(self, key: str) -> str:
        """The path or URL of an object, for people and for other libraries."""
        return posixpath.join(self.root, _check(key))

    def put_if_absent(self, key: str, data: bytes) -> bool:
        """Create an object; False where it was there with the same bytes.

        Raises:
            ConflictError: The object is there with other bytes.
            StoreError: The storage refused (full, unreachable, not allowed).
        """
        created = self._create_local(key, data) if self.local else self._create_s3(key, data)
        if not created and self.get(key) != data:
            raise ConflictError(
                asked=f"create {self.url(key)}",
                found="an object of that name with other content",
                mend="read it, then try again with the next name",
            )
        return created

    def put_once(self, key: str, data: bytes) -> bool:
        """As `put_if_absent`, with a seal written first: for an object that neither is named by its content nor belongs to a log."""
        seal = f"{SEALS}/{key}.sha256"
        if not self.exists(key):
            self.overwrite(seal, make_seal(digest_bytes(data)))
        try:
            return self.put_if_absent(key, data)
        except ConflictError:  # another came between: the seal is to be of what is there
            self.overwrite(seal, make_seal(digest_bytes(self.get(key))))
            raise

    def put_addressed(self, prefix: str, data: bytes, suffix: str) -> str:
        """Create an object named by the sha256 of its content, or make the one that is there as good as new; returns its key."""
        key = f"{prefix}/{digest_bytes(data)}{suffix}"
        if not self.refresh(key):
            self.put_if_absent(key, data)
        return key

    def refresh(self, key: str) -> bool:
        """Let an object count as written now, so that what is collected as garbage by age is not taken from under us; False: none there."""
        with self._storage_errors(key, 0):
            try:
                if self.local:
                    os.utime(self.url(key))
                else:
                    bucket, _, name = self.url(key).removeprefix("s3://").partition("/")
                    source = {"Bucket": bucket, "Key": name}
                    self._fs.call_s3("copy_object", Bucket=bucket, Key=name, CopySource=source, MetadataDirective="REPLACE")
            except FileNotFoundError:
                return False
            return True

    def replace(self, key: str, data: bytes) -> None:
        """Create a view, or change all of it at once; its seal, written first, holds the digests of what was there and of what comes."""
        try:
            digests = [digest_bytes(self.get(key)), digest_bytes(data)]
        except NotYetAvailable:
            digests = [digest_bytes(data)]
        self.overwrite(f"{SEALS}/{key}.sha256", make_seal(*digests))
        self.overwrite(key, data)

    def overwrite(self, key: str, data: bytes) -> None:
        """Create an object or change all of it at once, without a seal."""
        with self._storage_errors(key, len(data)):
            if self.local:
                path = Path(self.url(key))
                path.parent.mkdir(parents=True, exist_ok=True)
                os.replace(self._staged(path, data), path)
                _sync_folder(path.parent)
            else:
                self._fs.pipe_file(self.url(key), data)

    def delete(self, key: str) -> None:
        """Take an object away for good; nothing where there is none. Only what nothing refers to may go."""
        with self._storage_errors(key, 0):
            if self.local:
                Path(self.url(key)).unlink(missing_ok=True)
            else:
                bucket, _, name = self.url(key).removeprefix("s3://").partition("/")
                self._fs.call_s3("delete_object", Bucket=bucket, Key=name)

    def get(self, key: str) -> bytes:
        """All bytes of an object.

        Raises:
            NotYetAvailable: There is no such object.
        """
        with self._storage_errors(key, 0):
            try:
                return Path(self.url(key)).read_bytes() if self.local else bytes(self._fs.cat_file(self.url(key)))
            except FileNotFoundError as error:
                raise NotYetAvailable(asked=f"object {self.url(key)}", found="nothing there", mend="run the step that makes it") from error

    def exists(self, key: str) -> bool:
        """Whether an object is there."""
        with self._storage_errors(key, 0):
            return Path(self.url(key)).is_file() if self.local else bool(self._fs.isfile(self.url(key)))

    def written(self, key: str) -> float | None:
        """When an object was last written (seconds since 1970), None where there is none."""
        with self._storage_errors(key, 0):
            try:
                if self.local:
                    return Path(self.url(key)).stat().st_mtime
                return float(self._fs.info(self.url(key), refresh=True)["LastModified"].timestamp())
            except FileNotFoundError:
                return None

    def children(self, prefix: str) -> list[str]:
        """Names of what lies directly below a prefix (a folder; empty: the root), sorted; a local folder may be empty."""
        base = self.url(prefix) if prefix else self.root
        with self._storage_errors(prefix, 0):
            if self.local:
                found = [p.name for p in Path(base).iterdir()] if Path(base).is_dir() else []
                return sorted(name for name in found if not name.startswith(".staged-"))
            self._fs.invalidate_cache()
            return sorted(posixpath.basename(path) for path in self._fs.ls(base, detail=False)) if self._fs.exists(base) else []

    def list(self, prefix: str) -> list[str]:
        """Keys of all objects below a prefix (a folder; empty: everything), sorted."""
        return [entry.key for entry in self.entries(prefix)]

    def entries(self, prefix: str, *, staged: bool = False) -> tuple[Entry, ...]:
        """All objects below a prefix (a folder; empty: everything), sorted by key; files left by a kill only with `staged`."""
        base = self.url(prefix) if prefix else self.root
        with self._storage_errors(prefix, 0):
            found = _local_entries(base, len(self.root) + 1) if self.local else self._s3_entries(base)
        kept = (entry for entry in found if staged or not posixpath.basename(entry.key).startswith(".staged-"))
        return tuple(sorted(kept, key=lambda entry: entry.key))

    def _s3_entries(self, base: str) -> Iterator[Entry]:
        self._fs.invalidate_cache()
        start = len(self.root.split("://", 1)[1]) + 1
        for path, state in self._fs.find(base, detail=True).items():
            if state["type"] == "file":  # what appears between two requests of `find` is told as a directory
                yield Entry(key=path[start:], bytes=int(state["size"]), written=float(state["LastModified"].timestamp()))

    def bytes_below(self, prefix: str) -> int:
        """Bytes of all objects below a prefix (a folder)."""
        return sum(entry.bytes for entry in self.entries(prefix, staged=True))

    @cached_property
    def _fs(self) -> Any:
        if not self.root.startswith("s3://"):
            raise ConfigError(
                asked=f"store '{self.root}'",
                found="a scheme that is neither a local folder nor s3://",
                mend="set CUBECAST_STORE to a folder or to s3://bucket/prefix",
            )
        return _file_system()

    def _staged(self, path: Path, data: bytes) -> str:
        handle, name = tempfile.mkstemp(prefix=".staged-", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        except BaseException:
            os.unlink(name)
            raise
        return name

    def _create_local(self, key: str, data: bytes) -> bool:
        path = Path(self.url(key))
        with self._storage_errors(key, len(data)):
            if path.exists():
                return False
            path.parent.mkdir(parents=True, exist_ok=True)
            staged = self._staged(path, data)
            try:
                os.link(staged, path)
            except FileExistsError:
                return False
            finally:
                os.unlink(staged)
            _sync_folder(path.parent)
            return True

    def _create_s3(self, key: str, data: bytes) -> bool:
        with self._storage_errors(key, len(data)):
            bucket, _, name = self.url(key).removeprefix("s3://").partition("/")
            try:
                self._fs.call_s3("put_object", Bucket=bucket, Key=name, Body=data, IfNoneMatch="*")
            except FileExistsError:
                return False
            except OSError as error:
                if "PreconditionFailed" in repr(error) or "PreconditionFailed" in repr(error.__cause__):
                    return False
                raise
            return True

    @contextlib.contextmanager
    def _storage_errors(self, key: str, size: int) -> Iterator[None]:
        try:
            yield
        except _failures(local=self.local) as error:
            raise StoreError(
                asked=f"{'write ' + str(size) + ' bytes to' if size else 'read'} {self.root}/{key}",
                found=f"{type(error).__name__}: {getattr(error, 'strerror', None) or error}",
                mend="free space or mend access to the store, then run the same command again; nothing was half-written",
            ) from error


@cache
def _failures(*, local: bool) -> tuple[type[Exception], ...]:
    """What a request to the storage may raise; the libraries below s3fs have errors that are no OSError."""
    if local:
        return (OSError,)
    import aiohttp
    import botocore.exceptions

    return OSError, botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError, aiohttp.ClientError


def _file_system() -> Any:
    """S3, with requests made again that broke off, were refused for now, met silence, or brought bytes that do not fit their checksum."""
    import botocore.exceptions
    import s3fs
    from s3fs import core

    if botocore.exceptions.FlexibleChecksumError not in core.S3_RETRYABLE_ERRORS:
        core.add_retryable_error(botocore.exceptions.FlexibleChecksumError)
        core.set_custom_error_handler(lambda error: any(code in str(error) for code in _ASKED_AGAIN))
    patience = {"connect_timeout": S3_PATIENCE, "read_timeout": S3_PATIENCE, "retries": {"mode": "standard", "max_attempts": 3}}
    return s3fs.S3FileSystem(use_listings_cache=False, config_kwargs=patience)


def _local_entries(folder: str, start: int) -> Iterator[Entry]:
    try:
        with os.scandir(folder) as listing:
            for item in listing:
                if item.is_dir(follow_symlinks=False):
                    yield from _local_entries(item.path, start)
                else:
                    with contextlib.suppress(FileNotFoundError):
                        state = item.stat()
                        yield Entry(key=item.path[start:], bytes=state.st_size, written=state.st_mtime)
    except FileNotFoundError:
        return


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

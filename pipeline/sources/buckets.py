"""Objects on S3 as parts: `s3://bucket/folder/*.grib2` with the credentials at hand, `s3://anonymous@bucket/…` with none."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from pipeline.contracts.deliveries import Fetched, Part, Validators
from pipeline.errors import AbsentError, ConfigError, ContractError, NotYetAvailable

MAX_BYTES = 2**31
_WILD = frozenset("*?[")
_ANONYMOUS = "anonymous@"


def bucket_parts(location: str) -> list[Part]:
    """The objects that a location names, sorted; `*`, `?` and `[…]` match within one folder level.

    Raises:
        ConfigError: No bucket is named, `..` or `**`, or access is refused.
        NotYetAvailable: No such object is there, or the service is out of reach.
    """
    fs, path = _service(location)
    key = path.partition("/")[2]
    with _service_errors(location):
        found = sorted(fs.glob(path)) if _WILD & set(key) else [path] if fs.exists(path) else []
    names = [p for p in found if not p.endswith("/") and not p.rpartition("/")[2].startswith(".")]
    if not names:
        raise NotYetAvailable(asked=f"location '{location}'", found="no such object", mend="wait for the delivery, or correct the location")
    return [_part(fs, name) for name in names]


def bucket_folder(location: str) -> Callable[[str], Part]:
    """The object of each key below a location, whether it is there or not; raises as `bucket_parts` does."""
    fs, path = _service(location, folder=True)
    return lambda key: dataclasses.replace(_part(fs, f"{path.rstrip('/')}/{key}"), name=key)


def bucket_range(location: str) -> Callable[[str, int, int | None], bytes]:
    """Bytes of the object at a key below a location, from an offset to another (None: its end); raises as `bucket_parts` does."""
    fs, path = _service(location, folder=True)

    def read(key: str, start: int, stop: int | None) -> bytes:
        where = f"{path.rstrip('/')}/{key}"
        with _service_errors(f"s3://{where}"):
            return bytes(fs.cat_file(where, start=start, end=stop))

    return read


def _service(location: str, *, folder: bool = False) -> tuple[Any, str]:
    """The service that a location names, with or without credentials, and bucket and key."""
    rest = location.removeprefix("s3://")
    path = rest.removeprefix(_ANONYMOUS)
    bucket, _, key = path.partition("/")
    if not bucket or not (key or folder) or "@" in bucket or _WILD & set(bucket) or "**" in key or ".." in key.split("/"):
        raise ConfigError(asked=f"location '{location}'", found="no bucket and key", mend="write s3://bucket/folder/*.csv")
    import s3fs

    return s3fs.S3FileSystem(anon=rest != path, use_listings_cache=False), path


def _part(fs: Any, path: str) -> Part:
    def fetch(known: Validators | None) -> Fetched | None:
        with _service_errors(f"s3://{path}"):
            state = fs.info(path)
            if known is not None and known.etag is not None and known.etag == state.get("ETag"):
                return None
            if state["size"] > MAX_BYTES:
                raise ContractError(asked=f"s3://{path}", found=f"{state['size']} bytes, more than {MAX_BYTES}", mend="split the object")
            data = bytes(fs.cat_file(path))
        if len(data) != state["size"]:
            raise NotYetAvailable(asked=f"s3://{path}", found=f"{len(data)} of {state['size']} bytes", mend="come back: it is changing")
        return Fetched(data=data, validators=Validators(etag=state.get("ETag")))

    def read() -> bytes:
        fetched = fetch(None)
        return b"" if fetched is None else fetched.data

    return Part(name=path.rpartition("/")[2], location=f"s3://{path}", read=read, fetch=fetch)


@contextmanager
def _service_errors(location: str) -> Iterator[None]:
    from botocore.exceptions import BotoCoreError, NoCredentialsError

    try:
        yield
    except FileNotFoundError as error:
        raise AbsentError(asked=location, found="no such object or bucket", mend="wait for it, or correct the location") from error
    except (PermissionError, NoCredentialsError) as error:
        mend = "give credentials (AWS_…), or write s3://anonymous@bucket/… for a public bucket"
        raise ConfigError(asked=location, found=f"access refused: {error}", mend=mend) from error
    except (OSError, BotoCoreError) as error:
        mend = "come back later, or see whether the service is up and the network reaches it"
        raise NotYetAvailable(asked=location, found=f"{type(error).__name__}: {error}", mend=mend) from error

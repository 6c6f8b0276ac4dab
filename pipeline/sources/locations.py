"""Locations of world files. Nothing else is opened.

`data://folder/*.csv.gz` lies below the data folder, a plain relative path below the current one; `s3://bucket/*.nc` is a bucket,
`https://host/file.csv` a host that the source's `allowed_hosts` lists.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from pipeline.contracts.deliveries import Fetched, Part, Validators
from pipeline.contracts.worlds import Source
from pipeline.errors import AbsentError, ConfigError, NotYetAvailable
from pipeline.settings import Settings

_WILD = frozenset("*?[")


def parts_at(location: str, source: Source, settings: Settings) -> list[Part]:
    """The files that a location of a source names, sorted, under their providers' names.

    Raises:
        ConfigError: The location can never be read.
        NotYetAvailable: No such file is there, or its provider is out of reach.
    """
    if location.startswith(("http://", "https://")):
        from pipeline.sources.web import Web

        return [Web(source.allowed_hosts).part(location)]
    if location.startswith("s3://"):
        from pipeline.sources.buckets import bucket_parts

        return bucket_parts(location)
    return [Part(name=path.name, location=str(path), read=path.read_bytes) for path in find_files(location, settings)]


def folder_at(location: str, source: Source, settings: Settings) -> Callable[[str], Part]:
    """The file of each key below a location, whether it is there or not.

    Reading one that is not raises AbsentError.

    Raises:
        ConfigError: The location can never be read.
    """
    if location.startswith(("http://", "https://")):
        from pipeline.sources.web import Web

        web = Web(source.allowed_hosts)
        return lambda key: web.part(f"{location.rstrip('/')}/{key}", key)
    if location.startswith("s3://"):
        from pipeline.sources.buckets import bucket_folder

        return bucket_folder(location)
    root, rest = _root(location, settings)
    _check_path(location, rest)
    return lambda key: Part(name=key, location=str(root / rest / key), read=lambda: _bytes_at(root / rest / key))


def ranges_at(location: str, source: Source, settings: Settings) -> Callable[[str, int, int | None], bytes]:
    """Bytes of the file of each key below a location, from an offset to another (None: its end); raises as `folder_at` does."""
    if location.startswith(("http://", "https://")):
        from pipeline.sources.web import Web

        web = Web(source.allowed_hosts)
        return lambda key, start, stop: web.window(f"{location.rstrip('/')}/{key}", start, stop)
    if location.startswith("s3://"):
        from pipeline.sources.buckets import bucket_range

        return bucket_range(location)
    whole = folder_at(location, source, settings)
    return lambda key, start, stop: whole(key).read()[start:stop]


def _bytes_at(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise AbsentError(asked=f"file {path}", found="no such file", mend="wait for the delivery, or correct the location") from error


def if_there(part: Part) -> Part:
    """The part, empty where it is not there."""

    def fetch(known: Validators | None) -> Fetched | None:
        try:
            return Fetched(data=part.read(), validators=Validators()) if part.fetch is None else part.fetch(known)
        except AbsentError:
            return Fetched(data=b"", validators=Validators())

    def read() -> bytes:
        found = fetch(None)
        return b"" if found is None else found.data

    return Part(name=part.name, location=part.location, read=read, fetch=fetch)


def _check_path(location: str, rest: str) -> None:
    path = PurePosixPath(rest)
    if not rest or path.is_absolute() or ".." in path.parts:
        raise _refuse(location, "an absolute path, '..', or nothing", "name a path below the data folder")


def _refuse(location: str, found: str, mend: str) -> ConfigError:
    return ConfigError(asked=f"location '{location}'", found=found, mend=mend)


def _root(location: str, settings: Settings) -> tuple[Path, str]:
    scheme, found, rest = location.partition("://")
    if not found:
        if ":" in location.split("/")[0]:
            raise _refuse(location, "a scheme that is not allowed", "use data://…, s3://…, https://… or a relative path")
        return Path(), location
    if scheme != "data":
        raise _refuse(location, f"scheme '{scheme}://', which is not allowed", "use data://…, s3://…, https://… or a relative path")
    if settings.data is None:
        raise _refuse(location, "no data folder", "set CUBECAST_DATA to the folder that holds it")
    return settings.data, rest


def find_files(location: str, settings: Settings) -> list[Path]:
    """The files that a location names, sorted; `*`, `?` and `[…]` match within one folder level.

    Raises:
        ConfigError: A scheme other than `data://`, an absolute path, `..`, or no data folder.
        NotYetAvailable: No such file is there.
    """
    root, rest = _root(location, settings)
    _check_path(location, rest)
    path = PurePosixPath(rest)
    folders = [root]
    for word in path.parts[:-1]:
        folders = [f for folder in folders for f in _matches(folder, word) if f.is_dir()]
    files = sorted(f for folder in folders for f in _matches(folder, path.name) if f.is_file())
    if not files:
        raise NotYetAvailable(
            asked=f"location '{location}'",
            found=f"no file {root / rest}",
            mend="wait for the delivery, or correct the location in the world file",
        )
    return files


def find_folder(location: str, settings: Settings) -> Path:
    """The one folder that a location names.

    Raises:
        ConfigError: A scheme other than `data://`, an absolute path, `..`, or no data folder.
        NotYetAvailable: No such folder is there.
    """
    root, rest = _root(location, settings)
    _check_path(location, rest)
    if not (root / rest).is_dir():
        raise NotYetAvailable(
            asked=f"location '{location}'", found=f"no folder {root / rest}", mend="put it there, or correct the location in the world file"
        )
    return root / rest


def _matches(folder: Path, word: str) -> list[Path]:
    if not _WILD & set(word):
        return [folder / word]
    return sorted(p for p in folder.iterdir() if fnmatch.fnmatchcase(p.name, word) and not p.name.startswith("."))

"""Locations of world files. Nothing else is opened.

`data://folder/*.csv.gz` lies below the data folder, a plain relative path below the current one; `s3://bucket/*.nc` is a bucket,
`https://host/file.csv` a host that the source's `allowed_hosts` lists.
"""

from __future__ import annotations

import fnmatch
from pathlib import Path, PurePosixPath

from pipeline.contracts.deliveries import Part
from pipeline.contracts.worlds import Source
from pipeline.errors import ConfigError, NotYetAvailable
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
    path = PurePosixPath(rest)
    if not rest or path.is_absolute() or ".." in path.parts:
        raise _refuse(location, "an absolute path, '..', or nothing", "name a path below the data folder")
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


def _matches(folder: Path, word: str) -> list[Path]:
    if not _WILD & set(word):
        return [folder / word]
    return sorted(p for p in folder.iterdir() if fnmatch.fnmatchcase(p.name, word) and not p.name.startswith("."))

"""Locations of world files: `data://folder/*.csv.gz` below the data folder, or a plain relative path. Nothing else is opened."""

from __future__ import annotations

import fnmatch
from pathlib import Path, PurePosixPath

from pipeline.errors import ConfigError, NotYetAvailable
from pipeline.settings import Settings

_WILD = frozenset("*?[")


def _refuse(location: str, found: str, mend: str) -> ConfigError:
    return ConfigError(asked=f"location '{location}'", found=found, mend=mend)


def _root(location: str, settings: Settings) -> tuple[Path, str]:
    scheme, found, rest = location.partition("://")
    if not found:
        if ":" in location.split("/")[0]:
            raise _refuse(location, "a scheme that is not allowed", "use data://… or a relative path")
        return Path(), location
    if scheme != "data":
        raise _refuse(location, f"scheme '{scheme}://', which is not allowed", "use data://… or a relative path")
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

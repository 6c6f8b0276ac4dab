"""World files: a world read from TOML, and every fault of it named with its key. Light: stdlib and pydantic only."""

from __future__ import annotations

import difflib
import re
import tomllib
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from pipeline.contracts.world_types import hint
from pipeline.contracts.worlds import BETWEEN, World
from pipeline.errors import ConfigError


def _nearest(location: tuple[int | str, ...]) -> str:
    """The known key nearest to an unknown one, as a half-sentence."""
    model: type[BaseModel] = World
    for key in location[:-1]:
        field = model.model_fields.get(str(key))
        if field is not None:
            found = list(_inner_models(field.annotation))
            model = found[0] if found else model
    return hint(str(location[-1]), model.model_fields)


def _inner_models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [m for inner in getattr(annotation, "__args__", ()) for m in _inner_models(inner)]


def parse_world(text: str, file: str) -> World:
    """The world that a TOML text describes.

    Raises:
        ConfigError: The text is no TOML, or a key or value is not allowed; every fault is named with its key.
    """
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(asked=f"world file {file}", found=f"no valid TOML: {error}", mend="correct that line") from error
    try:
        return World.model_validate(content)
    except ValidationError as error:
        faults = BETWEEN.join(_fault(fault) for fault in error.errors())
        raise ConfigError(
            asked=f"world file {file}", found=f"{faults.count(BETWEEN) + 1} fault(s){BETWEEN}{faults}", mend="correct these keys"
        ) from error


def _fault(fault: Any) -> str:
    """One fault of a world file: key = value: what is wrong, what is allowed."""
    location, kind = fault["loc"], fault["type"]
    said: str = {"extra_forbidden": "no such key", "missing": "this key is missing"}.get(kind, fault["msg"].removeprefix("Value error, "))
    if not location:
        return said
    key = ".".join(str(k) for k in location)
    value = "" if isinstance(fault["input"], dict) or kind == "missing" else f" = {fault['input']!r}"
    return f"{key}{value}: {said}{_nearest(location) if kind == 'extra_forbidden' else ''}"


def worlds_folder() -> Path:
    """The folder of the world files that come with the project."""
    return Path(__file__).resolve().parents[2] / "worlds"


def world_names() -> tuple[str, ...]:
    """The names of the worlds at hand, sorted."""
    return tuple(sorted(p.stem for p in worlds_folder().glob("*.toml")))


def load_world(name_or_file: str) -> World:
    """A world by its name (`aarhus`) or by its file (`./my.toml`).

    Raises:
        ConfigError: There is no such world, or its file is wrong.
    """
    path = Path(name_or_file)
    if path.suffix != ".toml":
        if not re.fullmatch(r"[a-z][a-z0-9_]{0,39}", name_or_file):
            raise ConfigError(
                asked=f"world '{name_or_file}'",
                found="no valid name",
                mend=f"there are {', '.join(world_names())}; or give the path of a .toml file",
            )
        path = worlds_folder() / f"{name_or_file}.toml"
    if not path.is_file():
        close = difflib.get_close_matches(path.stem, world_names(), n=1)
        raise ConfigError(
            asked=f"world '{name_or_file}'",
            found=f"no file {path}",
            mend=(f"did you mean '{close[0]}'? " if close else "")
            + f"there are {', '.join(world_names())}; or give the path of a .toml file",
        )
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(
            asked=f"world file {path}", found=f"no UTF-8 text: {error.reason} at byte {error.start}", mend="save it as UTF-8"
        ) from error
    world = parse_world(text, path.name)
    if world.name != path.stem:
        raise ConfigError(asked=f"world file {path.name}", found=f"name = '{world.name}'", mend=f"name it '{path.stem}', as the file")
    return world

"""Options that several commands share, and how their texts are read."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any

import typer

from pipeline import api
from pipeline.contracts.times import parse_instant
from pipeline.errors import ConfigError
from pipeline.score_lines import WAYS


def _complete_world(incomplete: str) -> list[str]:
    return [name for name in api.world_names() if name.startswith(incomplete)]


WorldName = Annotated[
    str,
    typer.Option("--world", "-w", help="A world's name, or the path of its TOML file.", autocompletion=_complete_world, metavar="WORLD"),
]
WorldOrNone = Annotated[
    str | None,
    typer.Option("--world", "-w", help="A world's name, or the path of its TOML file.", autocompletion=_complete_world, metavar="WORLD"),
]
_AS_OF_HELP = (
    "Only what is known at this instant counts: ISO 8601 with a UTC offset, such as 2014-09-30T06:00Z; "
    "by default now, and in a world of ended feeds the instant that its file names."
)
AsOf = Annotated[str | None, typer.Option(help=_AS_OF_HELP, metavar="TIME")]
Source = Annotated[str | None, typer.Option(help="The name of one source of the world, instead of all.")]
ModelId = Annotated[str | None, typer.Option(help="A candidate; by default the newest as of that instant.")]
Options = Annotated[list[str] | None, typer.Option("--set", help="One value of the recipe, such as epochs=3.", metavar="KEY=VALUE")]
Seed = Annotated[int, typer.Option(help="The seed of everything drawn at random.")]
Json = Annotated[
    bool, typer.Option("--json", help="One JSON line per step on stdout, its receipt; progress and errors as JSON lines on stderr.")
]
JsonObject = Annotated[bool, typer.Option("--json", help="One JSON object on stdout; progress and errors as JSON lines on stderr.")]
Parent = Annotated[int | None, typer.Option("--die-with-parent", hidden=True, help="End when the process of this id, our parent, ends.")]


def read_instant(text: str | None, option: str, default: datetime) -> datetime:
    """The instant that an option names.

    Raises:
        ConfigError: The text is no ISO 8601 instant with a UTC offset.
    """
    if text is None:
        return default
    try:
        return parse_instant(text)
    except ValueError as error:
        raise ConfigError(
            asked=f"{option} {text}", found=str(error), mend="write an ISO 8601 instant, such as 2014-09-30T06:00Z"
        ) from error


def one_of(what: str, asked: str | None, known: Sequence[str]) -> str:
    """The one that an option names, or the first.

    Raises:
        ConfigError: There is no such one; with the nearest.
    """
    if asked is None:
        return known[0]
    if asked not in known:
        close = difflib.get_close_matches(asked, known[:2000], n=1, cutoff=0.4)
        listed = ", ".join(known[:8]) + (" …" if len(known) > 8 else "")
        raise ConfigError(
            asked=f"--{what} {asked}",
            found=f"{len(known):,} other{'s' if len(known) > 1 else ''}: {listed}",
            mend=f"did you mean '{close[0]}'?" if close else "choose one of these",
        )
    return asked


def settings_of(pairs: list[str]) -> dict[str, Any]:
    """Options of a recipe from texts such as `epochs=3`.

    Raises:
        ConfigError: A text is no such pair.
    """
    found: dict[str, Any] = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not equals or not key:
            raise ConfigError(asked=f"--set {pair}", found="no key=value", mend="write for example --set epochs=3")
        try:
            found[key] = json.loads(text)
        except ValueError:
            found[key] = text
    return found


def say(found: Mapping[str, Any], lines: Iterable[str], *, as_json: bool) -> None:
    """Print what a command found: one JSON object for programs, or lines for people."""
    print(json.dumps(found, ensure_ascii=False) if as_json else "\n".join(lines), flush=True)


def example(text: str) -> str:
    """The line below a command's help."""
    return f"Example: [bold]{text}[/bold]"


By = Annotated[str, typer.Option(help=f"How scores are told apart: {', '.join(WAYS)}.", metavar="WAY")]


def read_way(by: str) -> str:
    """The way of telling scores apart that was asked for.

    Raises:
        ConfigError: There is no such way.
    """
    if by not in WAYS:
        raise ConfigError(asked=f"--by {by}", found="no such way of telling scores apart", mend=f"one of {', '.join(WAYS)}")
    return by

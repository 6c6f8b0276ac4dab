"""What the commands share: the options that mean the same everywhere, and the reading of their values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

import typer
from pydantic import ValidationError

from pipeline import api
from pipeline.contracts.times import parse_instant
from pipeline.errors import ConfigError


def _complete_world(incomplete: str) -> list[str]:
    return [name for name in api.world_names() if name.startswith(incomplete)]


WorldName = Annotated[
    str,
    typer.Option("--world", "-w", help="A world's name, or the path of its TOML file.", autocompletion=_complete_world, metavar="WORLD"),
]
_AS_OF_HELP = (
    "Only what is known at this instant counts: ISO 8601 with a UTC offset, such as 2014-09-30T06:00Z; "
    "by default now, and in a world of ended feeds the instant that its file names."
)
AsOf = Annotated[str | None, typer.Option(help=_AS_OF_HELP, metavar="TIME")]
Source = Annotated[str | None, typer.Option(help="The name of one source of the world, instead of all.")]
ModelId = Annotated[str | None, typer.Option(help="A candidate; by default the newest as of that instant.")]
Json = Annotated[
    bool, typer.Option("--json", help="One JSON line per step on stdout, its receipt; progress and errors as JSON lines on stderr.")
]
JsonObject = Annotated[bool, typer.Option("--json", help="One JSON object on stdout; errors as JSON lines on stderr.")]


@dataclass(frozen=True, kw_only=True)
class Instants:
    """What time it is in a world, and the issue time meant where none is given; handed to the commands as the context's object."""

    clock: Callable[[api.World], datetime]
    issue_time: Callable[[api.World], datetime]


def instant(text: str | None, option: str, default: datetime) -> datetime:
    """The instant that an option names.

    Raises:
        ConfigError: It is no ISO 8601 instant with a UTC offset.
    """
    if text is None:
        return default
    try:
        return parse_instant(text)
    except ValueError as error:
        raise ConfigError(
            asked=f"{option} {text}", found=str(error), mend="write an ISO 8601 instant, such as 2014-09-30T06:00Z"
        ) from error


def ask(kind: Callable[..., api.Request], **fields: Any) -> api.Request:
    """A request for a step from the values of options.

    Raises:
        ConfigError: Naming every value that does not fit.
    """
    try:
        return kind(**fields)
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())
        raise ConfigError(asked="a request for a step", found=faults, mend="correct these options") from error


def example(text: str) -> str:
    """The line below a command's help that shows how to use it."""
    return f"Example: [bold]{text}[/bold]"

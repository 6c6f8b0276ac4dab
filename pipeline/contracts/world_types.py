"""The words that world files are made of: names, durations, instants, zones, tables. Light: stdlib and pydantic only."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from datetime import timedelta
from functools import cache
from typing import Annotated
from zoneinfo import available_timezones

from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, PlainSerializer, StringConstraints

from pipeline.contracts.times import format_duration, parse_duration, parse_instant

Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,39}$")]
Host = Annotated[str, StringConstraints(pattern=r"^([a-z0-9-]+(\.[a-z0-9-]+)*|\[[0-9a-f:]+\])(:\d{1,5})?$")]
Duration = Annotated[timedelta, BeforeValidator(parse_duration), PlainSerializer(format_duration, when_used="json")]
Instant = Annotated[AwareDatetime, BeforeValidator(parse_instant)]


@cache
def _zones() -> frozenset[str]:
    """All zones of this machine; a look at every file of its database, 30 ms."""
    return frozenset(available_timezones())


def _known_zone(name: str) -> str:
    if name not in _zones():
        close = difflib.get_close_matches(name, _zones(), n=1)
        raise ValueError(
            f"'{name}' is no IANA time zone" + (f"; did you mean '{close[0]}'?" if close else "; for example Europe/Copenhagen")
        )
    return name


Zone = Annotated[str, AfterValidator(_known_zone)]
_CRON_FIELD = re.compile(r"(\*|\d+(-\d+)?)(/\d+)?(,(\*|\d+(-\d+)?)(/\d+)?)*")


def _five_fields(text: str) -> str:
    fields = text.split()
    if len(fields) != 5 or not all(_CRON_FIELD.fullmatch(field) for field in fields):
        raise ValueError("no cron expression of five fields, in UTC; for example '0 */6 * * *'")
    return " ".join(fields)


Cron = Annotated[str, AfterValidator(_five_fields)]
"""Minute, hour, day of the month, month, day of the week: `0 */6 * * *`."""


class Table(BaseModel):
    """A table of a world file: every key is known, nothing changes."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def hint(given: str, allowed: Iterable[str]) -> str:
    """What is allowed, and the nearest of it to what was given, as a half-sentence."""
    names = list(allowed)
    close = difflib.get_close_matches(given, names, n=1)
    return (f"; did you mean '{close[0]}'?" if close else ";") + f" allowed: {', '.join(names)}"

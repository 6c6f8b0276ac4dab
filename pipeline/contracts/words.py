"""Words of a world file: names, durations, instants, zones. Light: stdlib and pydantic only."""

from __future__ import annotations

import difflib
from datetime import timedelta
from typing import Annotated
from zoneinfo import available_timezones

from pydantic import AfterValidator, AwareDatetime, BeforeValidator, PlainSerializer, StringConstraints

from pipeline.contracts.times import format_duration, parse_duration, parse_instant

Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,39}$")]
Host = Annotated[str, StringConstraints(pattern=r"^([a-z0-9-]+(\.[a-z0-9-]+)*|\[[0-9a-f:]+\])(:\d{1,5})?$")]
Duration = Annotated[timedelta, BeforeValidator(parse_duration), PlainSerializer(format_duration, when_used="json")]
Instant = Annotated[AwareDatetime, BeforeValidator(parse_instant)]


def _known_zone(name: str) -> str:
    if name not in available_timezones():
        close = difflib.get_close_matches(name, available_timezones(), n=1)
        raise ValueError(
            f"'{name}' is no IANA time zone" + (f"; did you mean '{close[0]}'?" if close else "; for example Europe/Copenhagen")
        )
    return name


Zone = Annotated[str, AfterValidator(_known_zone)]

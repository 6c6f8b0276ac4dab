"""Public holidays of a country, or of a part of it, by the calendar of the library holidays."""

from __future__ import annotations

import difflib
from datetime import date
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.contracts.times import from_seconds
from pipeline.errors import ConfigError

_DAY = 86400


def public_holidays(region: str, first: int, last: int) -> NDArray[np.int64]:
    """The holidays between two days, both included, all as days since 1970-01-01.

    Args:
        region: ISO 3166 code of a country, such as DK, or of a part of one, such as GB-ENG.
        first: The first day.
        last: The last day.
    """
    return _days_of_years(region, from_seconds(first * _DAY).year, from_seconds(last * _DAY).year)


def check_region(region: str, where: str) -> None:
    """Refuse a region of which no holidays are known.

    Raises:
        ConfigError: With the nearest region.
    """
    import holidays

    known: dict[str, list[str]] = holidays.list_supported_countries(include_aliases=False)
    country, _, part = region.partition("-")
    if country not in known:
        close = difflib.get_close_matches(country, known, n=1)
        mend = (f"did you mean '{close[0]}'? " if close else "") + "an ISO 3166 code, for example DK or GB-ENG"
        raise ConfigError(asked=f"{where} = '{region}'", found="no such country", mend=mend)
    if part and part not in known[country]:
        several = ", ".join([country, *(f"{country}-{name}" for name in known[country])])
        raise ConfigError(asked=f"{where} = '{region}'", found=f"no such part of {country}", mend=f"one of {several}")


@lru_cache(maxsize=32)
def _days_of_years(region: str, first: int, last: int) -> NDArray[np.int64]:
    import holidays

    check_region(region, "holidays")
    country, _, part = region.partition("-")
    found: Any = holidays.country_holidays(country, subdiv=part or None, years=range(first, last + 1), expand=False)
    return np.array(sorted(day.toordinal() - date(1970, 1, 1).toordinal() for day in found), np.int64)

"""Words: units, durations, instants and model names as people read them."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from zoneinfo import ZoneInfo

from pipeline.contracts.times import from_seconds

MODEL_NAMES = {
    "joint": "Joint model",
    "persistence": "Persistence",
    "seasonal_persistence": "Seasonal persistence",
    "historical_average": "Historical average",
    "ridge": "Ridge on lags",
    "boosted_trees": "Boosted trees on lags",
    "champion": "Champion before",
    "published": "As published",
}
_UNITS = {"degC": "°C", "degF": "°F", "percent": "%", "count": "", "1": "", "degree": "°"}
_FACTOR = re.compile(r"(?P<name>[A-Za-z%°µ/]+)(?:(?P<under>-)?(?P<power>[123]))?")
_POWERS = {None: "", "1": "", "2": "²", "3": "³"}


def unit_text(unit: str) -> str:
    """A unit as people write it, `W m-2` as W/m²; empty for plain counts."""
    if unit in _UNITS:
        return _UNITS[unit]
    factors = [_FACTOR.fullmatch(factor) for factor in unit.split(" ")]
    known = [factor for factor in factors if factor is not None]
    if len(known) < len(factors) or not any(factor["power"] for factor in known):
        return unit
    above, below = ([_UNITS.get(f["name"], f["name"]) + _POWERS[f["power"]] for f in known if f["under"] is under] for under in (None, "-"))
    divisor = "·".join(below)
    return (" ".join(above) or "1") + (f"/({divisor})" if len(below) > 1 else f"/{divisor}" if below else "")


def reason_text(reason: str, units: Iterable[str]) -> str:
    """A reason of a verdict with units and signs as people write them."""
    for unit in units:
        reason = re.sub(rf"(?<=\d) {re.escape(unit)}(?![\w/])", f" {unit_text(unit)}".rstrip(), reason)
    return re.sub(r"(?<![\w.-])-(?=\d)", "\N{MINUS SIGN}", reason)


def model_text(model: str) -> str:
    """A model's name in words."""
    return MODEL_NAMES.get(model, model.replace("_", " ").capitalize())


def label_text(name: str, long_name: str = "") -> str:
    """A variable's name in words, with a capital."""
    words = long_name or name.replace("_", " ")
    return words[:1].upper() + words[1:]


def instant_text(seconds: int, zone: ZoneInfo) -> str:
    """`Tue 30 Sep 2014, 18:00` in a zone."""
    moment = from_seconds(seconds).astimezone(zone)
    return f"{moment:%a} {moment.day} {moment:%b %Y, %H:%M}"


def span_text(first: int, last: int, zone: ZoneInfo) -> str:
    """`Tue 30 Sep 2014, 18:05 to 19:00` in a zone; the day again only where it is another."""
    begin, end = (instant_text(seconds, zone) for seconds in (first, last))
    day, _, clock = end.partition(", ")
    return begin if first == last else f"{begin} to {clock if begin.startswith(day) else end}"


def utc_text(seconds: int) -> str:
    """`16:00 UTC`, with the date where the zone may have another."""
    return f"{from_seconds(seconds):%Y-%m-%d %H:%M} UTC"


def duration_text(seconds: int | None) -> str:
    """`5 min`, `1 h 20 min`, `3 d 4 h`: the two largest units."""
    if seconds is None:
        return "–"
    days, rest = divmod(max(0, seconds), 86400)
    hours, minutes = rest // 3600, rest % 3600 // 60
    if days:
        return f"{days} d {hours} h" if hours else f"{days} d"
    if hours:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    return f"{minutes} min" if minutes or not rest else f"{rest} s"


def places_for(spread: float, significant: int = 2) -> int:
    """Decimal places that show a spread with about `significant` digits after its first."""
    if not math.isfinite(spread) or spread <= 0:
        return 2
    return max(0, min(5, significant - math.floor(math.log10(spread))))


def percent_text(probability: float) -> str:
    """A probability in whole per cent; never 0 or 100 of what is neither."""
    return "under 1 %" if 0 < probability < 0.005 else "over 99 %" if 0.995 <= probability < 1 else f"{100 * probability:.0f} %"

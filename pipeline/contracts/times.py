"""Instants and durations: aware UTC datetimes outside, int64 seconds since 1970 (UTC) inside arrays."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

_UNITS = {"s": 1, "min": 60, "h": 3600, "d": 86400, "w": 604800}
_DURATION = re.compile(r"(\d+)\s*(s|min|h|d|w)")


def parse_instant(text: str | datetime) -> datetime:
    """The aware UTC instant that an ISO 8601 text names.

    Raises:
        ValueError: The text is no ISO 8601 instant, or it has no UTC offset.
    """
    moment = text if isinstance(text, datetime) else datetime.fromisoformat(text.strip())
    if moment.tzinfo is None:
        raise ValueError(f"'{text}' has no UTC offset; write for example {moment:%Y-%m-%dT%H:%M}Z")
    return moment.astimezone(UTC)


def format_instant(moment: datetime) -> str:
    """The instant as `2014-09-30T06:00:00Z`, whole seconds."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def compact_instant(moment: datetime) -> str:
    """The instant as `20140930T160000Z`, fit for a key or a file name."""
    return moment.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")


def parse_compact(text: str) -> datetime:
    """The instant that `compact_instant` wrote."""
    return datetime.strptime(text, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)


def to_seconds(moment: datetime) -> int:
    """Whole seconds since 1970-01-01T00:00Z."""
    return int(moment.timestamp())


def from_seconds(seconds: int) -> datetime:
    """The aware UTC instant of whole seconds since 1970-01-01T00:00Z."""
    return datetime.fromtimestamp(int(seconds), UTC)


def parse_duration(text: str | timedelta) -> timedelta:
    """The duration that a text such as `5min`, `1h`, `7d` or `1h 30min` names.

    Raises:
        ValueError: The text is no such duration.
    """
    if isinstance(text, timedelta):
        return text
    parts = _DURATION.findall(text)
    if not parts or _DURATION.sub("", text).strip():
        raise ValueError(f"'{text}' is no duration; write for example 5min, 1h, 7d (units: {', '.join(_UNITS)})")
    return timedelta(seconds=sum(int(n) * _UNITS[u] for n, u in parts))


def format_duration(duration: timedelta) -> str:
    """The duration in the largest units that fit, as `parse_duration` reads it."""
    seconds = int(duration.total_seconds())
    words = []
    for unit in ("w", "d", "h", "min", "s"):
        count, seconds = divmod(seconds, _UNITS[unit])
        if count:
            words.append(f"{count}{unit}")
    return " ".join(words) or "0s"

"""As of when a scheduler's task is asked, by the times that its run or the events that triggered it carry."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any

from pipeline.contracts.times import parse_instant

BY_NOW = frozenset({"land", "observe", "build_cube", "verify", "monitor", "retain"})
"""The steps whose receipts lie at what time it is in the world; those of all others lie at the issue time."""


def asked_at(carried: Iterable[Mapping[str, Any]], step: str = "") -> datetime | None:
    """The instant of a step, without one the issue time, of the newest that carries times; None where none does."""
    timed = [(issued, times) for times in carried if (issued := _instant(times.get("issue_time"))) is not None]
    if not timed:
        return None
    issued, newest = max(timed, key=lambda found: found[0])
    return (_instant(newest.get("now")) if step in BY_NOW else None) or issued


def _instant(text: Any) -> datetime | None:
    """What is no instant is no time: events can be made by hand, and one of them must not hide all others."""
    with suppress(ValueError):
        return parse_instant(text) if isinstance(text, str) else None
    return None

"""Cards and provenance as names and short texts: nested content flat, sizes and instants as people write them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from pipeline.contracts.times import parse_instant, to_seconds
from pipeline.publishing.words import label_text, utc_text

_LONGEST = 300
_INSTANT = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z")
_OF_BYTES = ("memory",)
"""Keys whose whole numbers are bytes, as are those of keys that end so."""


def pairs(content: Mapping[str, Any], skip: tuple[str, ...] = ()) -> list[tuple[str, str]]:
    """Names and values as short texts; what is empty is left out."""
    found = {name: _value(name, value) for name, value in content.items() if name not in skip}
    return [(label_text(name), text if len(text) <= _LONGEST else text[:_LONGEST] + " …") for name, text in found.items() if text]


def _value(name: str, value: Any) -> str:
    if isinstance(value, dict):
        return _nested(name, value)
    if value is None:
        return ""
    if isinstance(value, list | tuple):
        return ", ".join(_value("", inner) for inner in value)
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, int) and not isinstance(value, bool):
        return utc_text(value) if name == "issue_time" else _bytes_text(value) if name.endswith("bytes") else f"{value:,}"
    return utc_text(to_seconds(parse_instant(value))) if isinstance(value, str) and _INSTANT.fullmatch(value) else str(value)


def _nested(name: str, content: Mapping[str, Any]) -> str:
    texts = {key: _value("bytes" if name in _OF_BYTES else key, inner) for key, inner in content.items()}
    between = "; " if any(isinstance(inner, dict) for inner in content.values()) else ", "
    told = ((key, text, ": " if isinstance(content[key], dict) else " ") for key, text in texts.items() if text)
    return between.join(f"{key.removesuffix('_bytes').replace('_', ' ')}{colon}{text}" for key, text, colon in told)


def _bytes_text(count: int) -> str:
    size, unit = next(((count / n, unit) for n, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")) if count >= n), (count, "bytes"))
    return f"{size:.3g} {unit}"

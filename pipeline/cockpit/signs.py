"""Figures of the cockpit as a few signs, for a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_BARS = "▁▂▃▄▅▆▇█"
_LONGEST = 14


def sparkline(values: Sequence[float], most: int = _LONGEST) -> str:
    """The newest values as bars between their lowest and their highest."""
    newest = values[-most:]
    low, high = min(newest, default=0.0), max(newest, default=0.0)
    span = (high - low) or 1.0
    return "".join(_BARS[min(int((value - low) / span * len(_BARS)), len(_BARS) - 1)] for value in newest)


def curves(history: Sequence[Mapping[str, Any]]) -> str:
    """The validation error of each domain by epoch, relative to the anchor's, with the newest figure."""
    domains = (history[0].get("validation") or {}) if history else {}
    shown = []
    for domain in domains:
        found = [(epoch["validation"].get(domain) or {}).get("relative_to_anchor") for epoch in history]
        values = [value for value in found if value is not None]
        if values:
            shown.append(f"{domain}\N{NO-BREAK SPACE}{sparkline(values)}\N{NO-BREAK SPACE}{values[-1]:.3g}")
    return "  ".join(shown) or "-"


def best_baseline(baselines: Mapping[str, float | None]) -> tuple[str, float | None]:
    """The baseline with the lowest error, and that error; `-` where none was scored."""
    scored = {name: mae for name, mae in baselines.items() if mae}
    best = min(scored, key=lambda name: scored[name], default="-")
    return best, scored.get(best)

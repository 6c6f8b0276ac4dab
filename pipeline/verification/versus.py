"""Two evaluations compared on the windows that both scored, never on days that merely have the same date."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from pipeline.verification.compare import Difference, mae_difference
from pipeline.verification.statistics import BLOCKS, Statistics, Table

_COUNTS = [BLOCKS.index(name) for name in ("expected", "n")]


@dataclass(frozen=True, kw_only=True, eq=False)
class Scored:
    """What an evaluation left: its statistics, and per domain the first and the last issue time scored (seconds)."""

    statistics: Statistics
    periods: Mapping[str, tuple[int, int]]


@dataclass(frozen=True, kw_only=True)
class Versus:
    """Two evaluations of one target on the windows that both scored.

    `first` and `second` are their MAE there, `difference` is first minus second (negative: the first is better); all
    are None, with the `reason`, where they share nothing. `left_out` counts the days that only one scored, or that
    they scored on different windows or observations.
    """

    domain: str
    variable: str
    unit: str
    days: int
    left_out: int
    n: int
    first: float | None = None
    second: float | None = None
    difference: Difference | None = None
    reason: str | None = None


def versus(first: Scored, second: Scored, model: str) -> tuple[Versus, ...]:
    """The forecasts called `model` of two evaluations, per target of either, on the days that both scored alike."""
    axes = {**second.statistics.axes, **first.statistics.axes}
    return tuple(_versus(first, second, model, domain, variable) for domain in sorted(axes) for variable in axes[domain].variables)


def _versus(first: Scored, second: Scored, model: str, domain: str, variable: str) -> Versus:
    ours, theirs = first.statistics, second.statistics
    axis = ours.axes.get(domain) or theirs.axes[domain]
    unit = axis.units[axis.variables.index(variable)]
    either = set(ours.days(domain, model)) | set(theirs.days(domain, model))
    absent = Versus(domain=domain, variable=variable, unit=unit, days=0, left_out=len(either), n=0)
    if domain not in ours.axes or domain not in theirs.axes:
        return replace(absent, reason="only one of them was scored on this domain")
    if ours.axes[domain] != theirs.axes[domain]:
        return replace(absent, reason="they were scored on other variables, units or leads")
    days = _alike(first, second, model, domain, axis.variables.index(variable))
    sides = {"first": ours, "second": theirs}
    sums = {
        (domain, name, table): side.sums[domain, model, table]
        for name, side in sides.items()
        for table in _tables(side, domain, model, days)
    }
    found = mae_difference(Statistics(axes={domain: axis}, sums=sums), domain, variable, "first", "second") if days else None
    if found is None:
        return replace(absent, reason="no observation on a day that both were scored on alike")
    left_out = len(either) - len(days)
    return replace(absent, days=len(days), left_out=left_out, n=found.n, first=found.first, second=found.second, difference=found)


def _tables(statistics: Statistics, domain: str, model: str, days: list[int]) -> list[Table]:
    return [table for table in statistics.tables(domain, model, "day") if table.day in days]


def _alike(first: Scored, second: Scored, model: str, domain: str, v: int) -> list[int]:
    """The days of which both scored the same windows and the same observations of a variable."""
    if domain not in first.periods or domain not in second.periods:
        return []
    days = sorted(set(first.statistics.days(domain, model)) & set(second.statistics.days(domain, model)))
    counts = [dict(zip(s.statistics.days(domain, model), s.statistics.daily(domain, model)[:, v], strict=True)) for s in (first, second)]
    return [
        day
        for day in days
        if _nested(first.periods[domain], second.periods[domain], day) and np.array_equal(*(count[day][:, _COUNTS] for count in counts))
    ]


def _nested(first: tuple[int, int], second: tuple[int, int], day: int) -> bool:
    """Whether one's part of a day lies within the other's: with as many windows in both, they are then the same ones."""
    (a, b), (c, d) = ((max(start, 86400 * day), min(end, 86400 * day + 86399)) for start, end in (first, second))
    return (a <= c and d <= b) or (c <= a and b <= d)

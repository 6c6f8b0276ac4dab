"""Comparing two models on the same windows: skill, and how sure the difference is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from pipeline.errors import ContractError
from pipeline.verification.statistics import STATISTICS, Statistics

_EXPECTED, _N, _ABSOLUTE = (STATISTICS.index(name) for name in ("expected", "n", "absolute"))
_RESAMPLES = 2000
_SEED = 20140930


@dataclass(frozen=True, kw_only=True)
class Difference:
    """MAE of a model minus MAE of its rival (negative: the model is better) with a 95 % interval over days.

    `low` and `high` are None where fewer than three days were scored: too few to say.
    """

    value: float
    low: float | None
    high: float | None
    days: int


def skill(model: float, rival: float) -> float | None:
    """Share of the rival's error that the model saves: 1 - model / rival; None where the rival makes none."""
    return 1 - model / rival if rival > 0 else None


def mae_difference(statistics: Statistics, domain: str, variable: str, model: str, rival: str) -> Difference | None:
    """The difference of MAE over all leads with a paired bootstrap interval over daily blocks (fixed seed).

    Both models are drawn on the same days, so that a hard day counts for both. None where nothing was observed.
    Source: Künsch (1989), blocks of one day; percentile interval.

    Raises:
        ContractError: The two were not scored on the same days and observations.
    """
    v = statistics.axes[domain].variables.index(variable)
    ours, theirs = (statistics.daily(domain, name)[:, v].sum(axis=1) for name in (model, rival))
    if statistics.days(domain, model) != statistics.days(domain, rival) or not np.array_equal(ours[:, _N], theirs[:, _N]):
        raise ContractError(
            asked=f"compare {model} with {rival} on {domain}.{variable}",
            found="they were scored on different observations",
            mend="score both on the same windows",
        )
    count, loss = ours[:, _N], ours[:, _ABSOLUTE] - theirs[:, _ABSOLUTE]
    if count.sum() == 0:
        return None
    value, days = float(loss.sum() / count.sum()), int((count > 0).sum())
    if days < 3:
        return Difference(value=value, low=None, high=None, days=days)
    loss, count = loss[count > 0], count[count > 0]
    draws = np.random.default_rng(_SEED).multinomial(days, np.full(days, 1 / days), size=_RESAMPLES)
    low, high = np.quantile((draws * loss).sum(axis=1) / (draws * count).sum(axis=1), [0.025, 0.975])
    return Difference(value=value, low=float(low), high=float(high), days=days)


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
    pair = {("first", day): ours.sums[domain, model, day] for day in days}
    pair |= {("second", day): theirs.sums[domain, model, day] for day in days}
    both = Statistics(axes={domain: axis}, sums={(domain, name, day): sums for (name, day), sums in pair.items()})
    found = mae_difference(both, domain, variable, "first", "second") if days else None
    if found is None:
        return replace(absent, reason="no observation on a day that both were scored on alike")
    totals = [both.total(domain, name, over_leads=True)[axis.variables.index(variable)] for name in ("first", "second")]
    mae = [float(total[_ABSOLUTE] / total[_N]) for total in totals]
    left_out = len(either) - len(days)
    return replace(absent, days=len(days), left_out=left_out, n=int(totals[0][_N]), first=mae[0], second=mae[1], difference=found)


def _alike(first: Scored, second: Scored, model: str, domain: str, v: int) -> list[int]:
    """The days of which both scored the same windows and the same observations of a variable."""
    if domain not in first.periods or domain not in second.periods:
        return []
    days = sorted(set(first.statistics.days(domain, model)) & set(second.statistics.days(domain, model)))
    counts = [dict(zip(s.statistics.days(domain, model), s.statistics.daily(domain, model)[:, v], strict=True)) for s in (first, second)]
    return [
        day
        for day in days
        if _nested(first.periods[domain], second.periods[domain], day)
        and np.array_equal(*(count[day][:, [_EXPECTED, _N]] for count in counts))
    ]


def _nested(first: tuple[int, int], second: tuple[int, int], day: int) -> bool:
    """Whether one's part of a day lies within the other's: with as many windows in both, they are then the same ones."""
    (a, b), (c, d) = ((max(start, 86400 * day), min(end, 86400 * day + 86399)) for start, end in (first, second))
    return (a <= c and d <= b) or (c <= a and b <= d)

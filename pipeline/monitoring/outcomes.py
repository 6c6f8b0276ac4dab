"""How published forecasts fare day by day against what their champion was promoted on. Shape suffix: D days."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.contracts.alerts import Finding, MonitoringRules
from pipeline.contracts.times import format_instant, from_seconds
from pipeline.monitoring.cusum import cusum, limit_for, standardised, usual_spread

DAY = 86400
_LEAST_SPREAD = 0.1
"""Of a daily error, as a share of the expected one: days are never more alike."""

_LEAST_DAYS = 6
_WORSE = 1.25

_SURE = 0.9995
"""Of the newest days being off by more than chance, as they differ from each other: five days of one station are hardly more than five outcomes."""

_LONGER = (1, 2, 4)
"""Times the days of a judgement: what five days that differ widely cannot tell, twenty may."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Daily:
    """What came of a target's published forecasts in one region (empty: everywhere), per day of issue.

    Attributes:
        day_D: UTC days since 1970, ascending.
        n_D: Cells with an outcome.
        error_D, absolute_D: Sums of forecast - outcome and of its size, in `unit`.
        inside_D: Per interval ("80", "90") how many outcomes lay within.
        rivals_D: Per baseline the sum of its absolute errors on the same cells.
    """

    domain: str
    variable: str
    region: str
    unit: str
    day_D: NDArray[np.int64]
    n_D: NDArray[np.float64]
    error_D: NDArray[np.float64]
    absolute_D: NDArray[np.float64]
    inside_D: Mapping[str, NDArray[np.float64]]
    rivals_D: Mapping[str, NDArray[np.float64]]


@dataclass(frozen=True, kw_only=True, eq=False)
class Promised:
    """What the scorecard of a promotion says of a target in one region: mean error, bias, shares inside, and the error day by day."""

    mae: float
    bias: float
    inside: Mapping[str, float]
    mae_D: NDArray[np.float64]


Target = tuple[str, str, str]
"""Domain, variable, region."""


def residual_findings(daily: Mapping[Target, Daily], promised: Mapping[Target, Promised], rules: MonitoringRules) -> list[Finding]:
    """Targets and regions whose residuals have drifted: grown, or to one side; spreads that few days tell of are taken wider."""
    judged = {key: row for key, row in daily.items() if key in promised and (row.n_D > 0).sum() >= max(_LEAST_DAYS, rules.days)}
    limit = limit_for(2 * len(judged), steps_a_year=365.25, false_alarms=rules.false_alarms) if judged else 0.0
    return [finding for key, row in judged.items() for finding in _residuals(row, promised[key], limit)]


def _residuals(row: Daily, promise: Promised, limit: float) -> Iterator[Finding]:
    with np.errstate(divide="ignore", invalid="ignore"):
        size_D, bias_D = row.absolute_D / row.n_D, row.error_D / row.n_D
    half = max(3, len(size_D) // 2)
    early = slice(0, half)
    least = _LEAST_SPREAD * promise.mae
    unsure = 1 + 2 / np.sqrt(len(size_D))
    grown = standardised(
        size_D,
        expected=max(promise.mae, float(np.nanmedian(size_D[early]))),
        spread=unsure * max(usual_spread(size_D), usual_spread(promise.mae_D), least),
        early=half,
    )
    usual_bias = float(np.nanmedian(bias_D[early]))
    aside = standardised(bias_D, expected=usual_bias, spread=unsure * max(usual_spread(bias_D), least), early=half)
    for z, what in ((np.maximum(grown, -0.5), "grown"), (aside, "aside")):
        found = cusum(z)
        if found.height > limit and len(row.day_D) > found.begin:
            since = int(row.day_D[found.begin]) * DAY
            later = slice(found.begin, None)
            if what == "grown":
                now = f"mean error {np.nanmean(size_D[later]):.4g} {row.unit}, {promise.mae:.4g} at the promotion"
            else:
                now = f"forecasts lie {np.nanmean(bias_D[later]):+.4g} {row.unit} off, {usual_bias:+.4g} before"
            yield Finding(
                rule="drifted_residuals",
                level="warn",
                domain=row.domain,
                variable=row.variable,
                subject=row.region,
                number=found.height,
                limit=limit,
                unit="deviations added up",
                text=f"residuals have {'grown' if what == 'grown' else 'moved to one side'} since {format_instant(from_seconds(since))}: {now}",
                since=since,
            )
            return


def skill_findings(row: Daily, promise: Promised, rules: MonitoringRules) -> Iterator[Finding]:
    """What the newest days say of a target against its scorecard: error, skill and coverage; each over the fewest days that can tell."""
    known = np.flatnonzero(row.n_D > 0)
    spans = [known[-times * rules.days :] for times in _LONGER if len(known) >= times * rules.days]
    yield from _first(_error(row, promise, rules, newest) for newest in spans)
    yield from _first(_skill(row, rules, newest) for newest in spans if len(newest) >= 2 * rules.days)
    for interval in (name for name in row.inside_D if name in promise.inside):
        yield from _first(_coverage(row, promise, rules, interval, newest) for newest in spans)


def _first(found: Iterable[Finding | None]) -> Iterator[Finding]:
    one = next((finding for finding in found if finding is not None), None)
    if one is not None:
        yield one


def _coverage(row: Daily, promise: Promised, rules: MonitoringRules, interval: str, newest: NDArray[np.int64]) -> Finding | None:
    """An interval that holds otherwise than at the promotion, and not because it now holds what it says."""
    inside_D, n_D, wanted = row.inside_D[interval][newest], row.n_D[newest], promise.inside[interval]
    share = float(inside_D.sum() / n_D.sum())
    off = min(abs(share - wanted), abs(share - float(interval) / 100))
    if off <= max(rules.coverage[0], _by_chance(inside_D, n_D)):
        return None
    level = "block" if off > rules.coverage[1] else "warn"
    text = f"the {interval} % interval held {share:.0%} of the outcomes of {len(newest)} days, {wanted:.0%} at the promotion"
    return _finding(row, "coverage_off", level, f"{interval} % interval", share, wanted, text, newest)


def _by_chance(sum_D: NDArray[np.float64], n_D: NDArray[np.float64]) -> float:
    """How far the mean over days, each weighing its cells, may lie off by chance, from how much the days differ: Student's t."""
    from scipy.special import stdtrit

    mean, days = sum_D.sum() / n_D.sum(), len(n_D)
    error = np.sqrt(np.square(sum_D - mean * n_D).sum() * days / max(days - 1, 1)) / n_D.sum()
    return float(stdtrit(max(days - 1, 1), _SURE) * error)


def _error(row: Daily, promise: Promised, rules: MonitoringRules, newest: NDArray[np.int64]) -> Finding | None:
    mae, days = float(row.absolute_D[newest].sum() / row.n_D[newest].sum()), len(newest)
    known = promise.mae_D[np.isfinite(promise.mae_D)]
    windows = np.lib.stride_tricks.sliding_window_view(known, days).mean(axis=1) if len(known) >= days else np.array([promise.mae])
    unsure = promise.mae + _by_chance(row.absolute_D[newest], row.n_D[newest])
    limits = [max(factor * promise.mae, _WORSE * float(windows.max()), unsure) for factor in rules.error]
    if mae <= limits[0]:
        return None
    text = f"mean error {mae:.4g} {row.unit} over {days} days, {promise.mae:.4g} at the promotion"
    level = mae > limits[1]
    return _finding(row, "error_grown", "block" if level else "warn", "", mae, limits[int(level)], text, newest, unit=row.unit)


def _skill(row: Daily, rules: MonitoringRules, days: NDArray[np.int64]) -> Finding | None:
    ours = float(row.absolute_D[days].sum())
    rivals = {name: float(total_D[days].sum()) for name, total_D in row.rivals_D.items() if np.isfinite(total_D[days]).all()}
    if not rivals:
        return None
    name, best = min(rivals.items(), key=lambda item: item[1])
    skill = 1 - ours / best if best > 0 else 0.0
    lost_D, n_D = row.absolute_D[days] - row.rivals_D[name][days], row.n_D[days]
    if skill >= rules.skill or lost_D.sum() / n_D.sum() <= _by_chance(lost_D, n_D):
        return None
    text = f"{name} would have been {-skill:.0%} better over the same forecasts of {len(days)} days"
    return _finding(row, "skill_lost", "warn", "", skill, rules.skill, text, days)


def _finding(
    row: Daily, rule: str, level: str, subject: str, number: float, limit: float, text: str, days: NDArray[np.int64], unit: str = ""
) -> Finding:
    return Finding(
        rule=rule,
        level="block" if level == "block" else "warn",
        domain=row.domain,
        variable=row.variable,
        subject=subject,
        number=number,
        limit=limit,
        unit=unit,
        text=text,
        since=int(row.day_D[days[0]]) * DAY,
    )

"""How published forecasts fare day by day against what their champion was promoted on. Shape suffix: D days."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
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

_SURE = 3.0
"""Standard errors, as days differ from each other, that newest days must lie off: five days of one station are hardly more than five outcomes."""


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
    """What the newest days say of a target against its scorecard: error, skill and coverage."""
    known = np.flatnonzero(row.n_D > 0)
    newest = known[-rules.days :]
    if len(newest) < rules.days:
        return
    n = float(row.n_D[newest].sum())
    yield from _error(row, promise, rules, newest, n)
    longer = known[-2 * rules.days :]
    if len(longer) == 2 * rules.days:
        yield from _skill(row, rules, longer)
    yield from _coverage(row, promise, rules, newest, n)


def _coverage(row: Daily, promise: Promised, rules: MonitoringRules, newest: NDArray[np.int64], n: float) -> Iterator[Finding]:
    """Intervals that hold otherwise than at the promotion, and not because they now hold what they say."""
    for interval, inside_D in row.inside_D.items():
        share, wanted = float(inside_D[newest].sum()) / n, promise.inside.get(interval)
        if wanted is None:
            continue
        off = min(abs(share - wanted), abs(share - float(interval) / 100))
        if off > max(rules.coverage[0], _SURE * _error_of_mean(inside_D[newest], row.n_D[newest])):
            level = "block" if off > rules.coverage[1] else "warn"
            text = f"the {interval} % interval held {share:.0%} of the outcomes of {rules.days} days, {wanted:.0%} at the promotion"
            yield _finding(row, "coverage_off", level, f"{interval} % interval", share, wanted, text, newest)


def _error_of_mean(sum_D: NDArray[np.float64], n_D: NDArray[np.float64]) -> float:
    """Standard error of the mean over days, each weighing its cells, from how much the days differ."""
    mean = sum_D.sum() / n_D.sum()
    days = len(n_D)
    return float(np.sqrt(np.square(sum_D - mean * n_D).sum() * days / max(days - 1, 1)) / n_D.sum())


def _error(row: Daily, promise: Promised, rules: MonitoringRules, newest: NDArray[np.int64], n: float) -> Iterator[Finding]:
    mae, days = float(row.absolute_D[newest].sum()) / n, rules.days
    known = promise.mae_D[np.isfinite(promise.mae_D)]
    windows = np.lib.stride_tricks.sliding_window_view(known, days).mean(axis=1) if len(known) >= days else np.array([promise.mae])
    unsure = promise.mae + _SURE * _error_of_mean(row.absolute_D[newest], row.n_D[newest])
    limits = [max(factor * promise.mae, _WORSE * float(windows.max()), unsure) for factor in rules.error]
    if mae > limits[0]:
        text = f"mean error {mae:.4g} {row.unit} over {days} days, {promise.mae:.4g} at the promotion"
        level = mae > limits[1]
        yield _finding(row, "error_grown", "block" if level else "warn", "", mae, limits[int(level)], text, newest, unit=row.unit)


def _skill(row: Daily, rules: MonitoringRules, days: NDArray[np.int64]) -> Iterator[Finding]:
    ours = float(row.absolute_D[days].sum())
    rivals = {name: float(total_D[days].sum()) for name, total_D in row.rivals_D.items() if np.isfinite(total_D[days]).all()}
    if not rivals:
        return
    name, best = min(rivals.items(), key=lambda item: item[1])
    skill = 1 - ours / best if best > 0 else 0.0
    saved_D, n_D = row.rivals_D[name][days] - row.absolute_D[days], row.n_D[days]
    if skill < rules.skill and -saved_D.sum() / n_D.sum() > _SURE * _error_of_mean(saved_D, n_D):
        text = f"{name} would have been {-skill:.0%} better over the same forecasts of {len(days)} days"
        yield _finding(row, "skill_lost", "warn", "", skill, rules.skill, text, days)


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

"""What came of published forecasts, day by day, against what the champion was promoted on."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.contracts.alerts import Finding
from pipeline.contracts.scores import Promotion, Scorecard
from pipeline.contracts.times import to_seconds
from pipeline.contracts.worlds import World
from pipeline.errors import ContractError, NotYetAvailable
from pipeline.monitoring.outcomes import DAY, Daily, Promised, Target, residual_findings, skill_findings
from pipeline.stores.objects import ObjectStore
from pipeline.stores.registry import Evidence, Registry
from pipeline.stores.scores import ScoreStore
from pipeline.telemetry import Progress
from pipeline.verification.outcomes import PUBLISHED
from pipeline.verification.statistics import BLOCKS, STATISTICS, Statistics

_INSIDE = {"80": ("upto_90", "below_10"), "90": ("upto_95", "below_05")}
Sums = dict[str, float]


def look_at_outcomes(
    world: World, objects: ObjectStore, registry: Registry, champion: Promotion | None, *, as_of: datetime, progress: Progress
) -> tuple[list[Finding], list[dict[str, Any]]]:
    """Findings on residuals, error, skill and coverage, and one row per target with its figures by day."""
    now, span = to_seconds(as_of), int(world.monitoring.history.total_seconds())
    days = daily_of(ScoreStore(objects, world.name), first=now - span, last=now, progress=progress)
    promised = promised_of(registry, champion) if champion is not None and days else {}
    found = residual_findings(days, promised, world.monitoring)
    rows = []
    for key, row in sorted(days.items()):
        if row.region:
            continue
        promise = promised.get(key)
        found += list(skill_findings(row, promise, world.monitoring)) if promise is not None else []
        rows.append(_row(row, promise, slice(-2 * world.monitoring.days, None)))
    return found, rows


def _row(row: Daily, promise: Promised | None, newest: slice) -> dict[str, Any]:
    """A target's newest days; earlier reports hold the days before."""
    known_D = row.n_D[newest]
    n_D = np.maximum(known_D, 1)
    return {
        "domain": row.domain,
        "variable": row.variable,
        "unit": row.unit,
        "days": [int(day) for day in row.day_D[newest]],
        "n": [int(n) for n in known_D],
        "mae": _listed(row.absolute_D[newest] / n_D, known_D),
        "bias": _listed(row.error_D[newest] / n_D, known_D),
        "coverage": {name: _listed(inside_D[newest] / n_D, known_D) for name, inside_D in row.inside_D.items()},
        "promised": None if promise is None else {"mae": promise.mae, "bias": promise.bias, "coverage": dict(promise.inside)},
    }


def _listed(values: NDArray[np.float64], n_D: NDArray[np.float64]) -> list[float | None]:
    return [round(float(value), 6) if n > 0 else None for value, n in zip(values, n_D, strict=True)]


def daily_of(scores: ScoreStore, *, first: int, last: int, progress: Progress) -> dict[Target, Daily]:
    """Per target and region what came of the forecasts issued between two instants (seconds UTC), day by day."""
    known = sorted({t // DAY for t in scores.issue_times() if first <= t <= last})
    units: dict[tuple[str, str], str] = {}
    found: dict[Target, dict[int, dict[str, Sums]]] = {}
    with progress.stage("outcomes", len(known), "days") as stage:
        for day in known:
            statistics = scores.period(max(first, day * DAY), min(last, day * DAY + DAY - 1)).statistics
            units |= {(d, v): unit for d, axis in statistics.axes.items() for v, unit in zip(axis.variables, axis.units, strict=True)}
            for target, model, sums in _sums(statistics):
                found.setdefault(target, {}).setdefault(day, {})[model] = sums
            stage.advance()
    return {target: _daily(target, units[target[0], target[1]], days) for target, days in found.items()}


def _sums(statistics: Statistics) -> Iterator[tuple[Target, str, Sums]]:
    """Per target, region (empty: everywhere) and model its sums over all leads."""
    for domain, axis in statistics.axes.items():
        for model in statistics.models(domain):
            tables = [("", statistics.total(domain, model, over_leads=True))]
            tables += [
                (table.label, statistics.table(domain, model, table).sum(axis=1))
                for table in statistics.tables(domain, model, "part")
                if table.kind == "region"
            ]
            for region, numbers_VS in tables:
                for v, variable in enumerate(axis.variables):
                    yield (domain, variable, region), model, dict(zip(STATISTICS, map(float, numbers_VS[v]), strict=True))


def _daily(target: Target, unit: str, days: Mapping[int, Mapping[str, Sums]]) -> Daily:
    ours = [sums.get(PUBLISHED, {}) for sums in days.values()]

    def column(name: str) -> NDArray[np.float64]:
        return np.array([sums.get(name, 0.0) for sums in ours])

    rivals = sorted({model for sums in days.values() for model in sums} - {PUBLISHED})
    return Daily(
        domain=target[0],
        variable=target[1],
        region=target[2],
        unit=unit,
        day_D=np.array(list(days), np.int64),
        n_D=column("n"),
        error_D=column("error"),
        absolute_D=column("absolute"),
        inside_D={name: column(upto) - column(below) for name, (upto, below) in _INSIDE.items()},
        rivals_D={name: np.array([sums.get(name, {}).get("absolute", np.nan) for sums in days.values()]) for name in rivals},
    )


def promised_of(registry: Registry, champion: Promotion) -> dict[Target, Promised]:
    """Per target and region what the scorecards say of what the champion publishes for it."""
    found: dict[Target, Promised] = {}
    for verdict in champion.verdicts:
        try:
            evidence = registry.evidence(verdict.model_id or champion.model_id)
        except NotYetAvailable:
            continue
        found |= _promised(evidence.scorecard, _statistics(evidence), verdict.domain, verdict.variable, verdict.published)
    return found


def _statistics(evidence: Evidence) -> Statistics:
    """What an evaluation scored day by day; nothing where an earlier version left it in another format: its figures are in the scorecard."""
    data = evidence.read("statistics.json")
    try:
        return Statistics.from_json(json.loads(data)) if data is not None else Statistics.zero()
    except ContractError:
        return Statistics.zero()


def _promised(card: Scorecard, statistics: Statistics, domain: str, variable: str, model: str) -> dict[Target, Promised]:
    about = [r for r in (*card.rows, *card.slices) if (r.domain, r.variable, r.model, r.lead) == (domain, variable, model, 0)]
    found = {}
    for row in about:
        if row.kind not in ("", "region") or row.mae is None:
            continue
        mae_D = np.zeros(0)
        if domain in statistics.axes and variable in statistics.axes[domain].variables:
            sums_DKS = statistics.daily(domain, model, row.label or None)[:, statistics.axes[domain].variables.index(variable)].sum(axis=1)
            n_D = sums_DKS[:, BLOCKS.index("n")]
            mae_D = sums_DKS[n_D > 0, BLOCKS.index("absolute")] / n_D[n_D > 0]
        inside = {name: share for name, share in (("80", row.coverage_80), ("90", row.coverage_90)) if share is not None}
        found[domain, variable, row.label] = Promised(mae=row.mae, bias=row.bias or 0.0, inside=inside, mae_D=mae_D)
    return found

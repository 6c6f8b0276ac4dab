"""One model against each rival, target by target, with control for how many comparisons are made at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.contracts.forecasts import BASELINES, JOINT
from pipeline.contracts.scores import DifferenceRow
from pipeline.verification.compare import Difference, mae_difference
from pipeline.verification.outcomes import PUBLISHED
from pipeline.verification.significance import benjamini_hochberg, holm, student_interval
from pipeline.verification.statistics import Statistics


@dataclass(frozen=True, kw_only=True)
class Adjusted:
    """What is left of a comparison's certainty among all that are made together; None where it is too short to say.

    `p_holm`: no error anywhere; `p_bh`: the share of errors; `all_low`, `all_high`: 95 % intervals that hold all at once.
    """

    p_holm: float | None = None
    p_bh: float | None = None
    all_low: float | None = None
    all_high: float | None = None


def difference_rows(statistics: Statistics) -> tuple[DifferenceRow, ...]:
    """The joint model against everything else that was scored, but not against what was published, which may be itself."""
    found = {model for domain in statistics.axes for model in statistics.models(domain)}
    return against_all(statistics, JOINT, [*BASELINES, *sorted(found - {JOINT, PUBLISHED, *BASELINES})])


def against_all(statistics: Statistics, model: str, rivals: Sequence[str]) -> tuple[DifferenceRow, ...]:
    """Every target against every rival, in this order, on the days that both were scored on alike; with none it is left out."""
    plain: list[tuple[dict[str, Any], Difference]] = [
        ({"domain": d, "variable": variable, "unit": unit, "model": model, "rival": rival}, found)
        for d, axis in sorted(statistics.axes.items())
        for variable, unit in zip(axis.variables, axis.units, strict=True)
        for rival in rivals
        if {model, rival} <= set(statistics.models(d))
        and (found := mae_difference(statistics, d, variable, model, rival, alike=True)) is not None
    ]
    sure = adjusted([found for _, found in plain])
    return tuple(DifferenceRow(**about, **vars(found), **vars(s)) for (about, found), s in zip(plain, sure, strict=True))


def adjusted(differences: Sequence[Difference | None]) -> list[Adjusted]:
    """Each difference as it is sure among all of them; those that are None, or too short to say, are no comparison."""
    known = [found for found in differences if found is not None and found.p is not None]
    p_values = [found.p or 0.0 for found in known]
    sure = iter(
        Adjusted(p_holm=by_holm, p_bh=by_bh, all_low=low, all_high=high)
        for by_holm, by_bh, (low, high) in zip(
            holm(p_values), benjamini_hochberg(p_values), (_together(each, len(known)) for each in known), strict=True
        )
    )
    return [Adjusted() if found is None or found.p is None else next(sure) for found in differences]


def _together(found: Difference, comparisons: int) -> tuple[float, float]:
    return student_interval(found.value, found.error or 0.0, found.days, comparisons=comparisons)

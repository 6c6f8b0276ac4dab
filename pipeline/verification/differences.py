"""One model against each rival, target by target, with control for how many comparisons are made at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from pipeline.verification.compare import Difference, mae_difference
from pipeline.verification.significance import benjamini_hochberg, holm
from pipeline.verification.statistics import Statistics


@dataclass(frozen=True, kw_only=True)
class Against:
    """The difference of the MAE of one target, model minus rival, on the days that both were scored on.

    `p_holm` and `p_bh` are its p-value adjusted over all comparisons made together (Holm: no error anywhere;
    Benjamini-Hochberg: the share of errors); None where too few days say nothing.
    """

    domain: str
    variable: str
    unit: str
    model: str
    rival: str
    difference: Difference
    p_holm: float | None = None
    p_bh: float | None = None


def against_all(statistics: Statistics, model: str, rivals: Sequence[str]) -> tuple[Against, ...]:
    """Every target against every rival that was scored on it, in this order; targets without an observation are left out.

    Raises:
        ContractError: Model and rival were scored on different observations.
    """
    plain = [
        Against(domain=d, variable=variable, unit=unit, model=model, rival=rival, difference=found)
        for d, axis in sorted(statistics.axes.items())
        for variable, unit in zip(axis.variables, axis.units, strict=True)
        for rival in rivals
        if {model, rival} <= set(statistics.models(d)) and (found := mae_difference(statistics, d, variable, model, rival)) is not None
    ]
    adjustments = adjusted([row.difference.p for row in plain])
    return tuple(replace(row, p_holm=by_holm, p_bh=by_bh) for row, (by_holm, by_bh) in zip(plain, adjustments, strict=True))


def adjusted(p_values: Sequence[float | None]) -> list[tuple[float | None, float | None]]:
    """Each p-value as Holm and as Benjamini-Hochberg adjust it among all of them; None, which is no comparison, stays None."""
    known = [p for p in p_values if p is not None]
    found = iter(zip(holm(known), benjamini_hochberg(known), strict=True))
    return [(None, None) if p is None else next(found) for p in p_values]

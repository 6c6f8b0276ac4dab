"""One model against each rival, target by target, with control for how many comparisons are made at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

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
    known = [n for n, row in enumerate(plain) if row.difference.p is not None]
    p_values = [float(plain[n].difference.p or 0.0) for n in known]
    adjusted = dict(zip(known, zip(holm(p_values), benjamini_hochberg(p_values), strict=True), strict=True))
    return tuple(
        row if n not in adjusted else Against(**{**vars(row), "p_holm": adjusted[n][0], "p_bh": adjusted[n][1]})
        for n, row in enumerate(plain)
    )

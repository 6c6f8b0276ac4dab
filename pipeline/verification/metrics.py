"""Metrics: what additive statistics say, as rows of a scorecard."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.contracts.scores import ScoreRow
from pipeline.verification.statistics import PINBALLS, STATISTICS, Statistics

_AT = {name: i for i, name in enumerate(STATISTICS)}


def score_rows(statistics: Statistics) -> tuple[ScoreRow, ...]:
    """One row per domain, variable, model and lead, and lead 0 for all leads together, in that order.

    `pinball` is the mean over the quantile levels (twice it approximates the CRPS); bias is forecast - observation.
    Figures are None where nothing was observed.
    """
    rows = []
    for domain in sorted(statistics.axes):
        axis = statistics.axes[domain]
        for model in statistics.models(domain):
            by_lead_VLS = statistics.total(domain, model)
            together_VS = statistics.total(domain, model, over_leads=True)
            for v, variable in enumerate(axis.variables):
                rows.append(_row(domain, variable, model, 0, 0, together_VS[v]))
                rows += [_row(domain, variable, model, i + 1, lead, by_lead_VLS[v, i]) for i, lead in enumerate(axis.lead_times)]
    return tuple(sorted(rows, key=lambda r: (r.domain, r.variable, r.model, r.lead)))


def mean_pinball(sums_S: NDArray[np.float64]) -> float:
    """Mean loss over quantile levels and observations."""
    return float(sums_S[_AT[PINBALLS[0]] :].mean() / sums_S[_AT["n"]])


def mean_absolute(sums_S: NDArray[np.float64]) -> float:
    """MAE of the median."""
    return float(sums_S[_AT["absolute"]] / sums_S[_AT["n"]])


def _row(domain: str, variable: str, model: str, lead: int, lead_time: int, sums_S: NDArray[np.float64]) -> ScoreRow:
    expected, n = int(sums_S[_AT["expected"]]), int(sums_S[_AT["n"]])
    mean = {name: float(sums_S[_AT[name]] / n) for name in ("error", "squared", "covered_80", "covered_90")} if n else {}
    return ScoreRow(
        domain=domain,
        variable=variable,
        model=model,
        lead=lead,
        lead_time=lead_time,
        expected=expected,
        n=n,
        missing=expected - n,
        mae=mean_absolute(sums_S) if n else None,
        rmse=float(np.sqrt(mean["squared"])) if n else None,
        bias=mean["error"] if n else None,
        pinball=mean_pinball(sums_S) if n else None,
        coverage_80=mean["covered_80"] if n else None,
        coverage_90=mean["covered_90"] if n else None,
    )

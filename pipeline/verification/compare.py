"""Comparing two models on the same windows: skill, and how sure the difference is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.errors import ContractError
from pipeline.verification.statistics import STATISTICS, Statistics

_N, _ABSOLUTE = STATISTICS.index("n"), STATISTICS.index("absolute")
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

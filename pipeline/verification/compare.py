"""Comparing two models on the same windows: skill, and how sure the difference is.

Shape suffixes: D days, V target variable, K group of leads, S statistic.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import ContractError
from pipeline.verification.cells import PINBALLS
from pipeline.verification.significance import (
    LEAST_STRETCHES,
    bootstrap_interval,
    diebold_mariano,
    mean_error,
    periods_ahead,
    student_interval,
)
from pipeline.verification.statistics import BLOCKS, Statistics

_EXPECTED, _N = BLOCKS.index("expected"), BLOCKS.index("n")
_DAY = 86400


@dataclass(frozen=True, kw_only=True)
class Difference:
    """Mean loss of a model minus that of its rival (negative: the model is better), on days that both were scored on.

    `low` and `high` are its 95 % interval over resampled blocks of days, `dm_low` and `dm_high` that of Diebold and Mariano,
    from its standard `error`, `p` the two-sided p-value of no difference; None where fewer than three times as many days
    were scored as the horizon reaches over: too few to say. `first` and `second` are the two mean losses, `n` the cells.
    """

    value: float
    low: float | None
    high: float | None
    days: int
    p: float | None = None
    error: float | None = None
    dm_low: float | None = None
    dm_high: float | None = None
    first: float = math.nan
    second: float = math.nan
    n: int = 0


def skill(model: float, rival: float) -> float | None:
    """Share of the rival's error that the model saves: 1 - model / rival; None where the rival makes none."""
    return 1 - model / rival if rival > 0 else None


def mae_difference(
    statistics: Statistics,
    domain: str,
    variable: str,
    model: str,
    rival: str,
    *,
    region: str | None = None,
    group: int | None = None,
    loss: str = "absolute",
    alike: bool = False,
) -> Difference | None:
    """The difference of the MAE (or of another of `BLOCKS`) over all nodes and leads, or of one region and group of leads.

    Only days that both were scored on count, with `alike` only those on the same observations; None where nothing was
    observed on them. One interval is a paired block bootstrap; the other and the p-value are a Diebold-Mariano test; all
    treat as many days as dependent as the horizon reaches over.

    Raises:
        ContractError: On a day that both were scored on they were scored on different observations.
    """
    days = sorted(set(statistics.days(domain, model)) & set(statistics.days(domain, rival)))
    ours_DS, theirs_DS = (_daily(statistics, domain, variable, name, days, region, group) for name in (model, rival))
    same_D = (ours_DS[:, [_EXPECTED, _N]] == theirs_DS[:, [_EXPECTED, _N]]).all(axis=1)
    if not alike and not same_D.all():
        raise ContractError(
            asked=f"compare {model} with {rival} on {domain}.{variable}",
            found="they were scored on different observations",
            mend="score both on the same windows",
        )
    scored = same_D & (ours_DS[:, _N] > 0)
    count, at = ours_DS[scored, _N], BLOCKS.index(loss)
    size = count.sum() * (len(PINBALLS) if loss == "pinball" else 1)
    if not scored.any():
        return None
    first, second = (float(each[scored, at].sum() / size) for each in (ours_DS, theirs_DS))
    total = (ours_DS - theirs_DS)[scored, at] * (count.sum() / size)
    plain = Difference(
        value=float(total.sum() / count.sum()), low=None, high=None, days=len(count), first=first, second=second, n=int(count.sum())
    )
    overlap = math.ceil(max(statistics.axes[domain].lead_times) / _DAY)
    if len(count) < LEAST_STRETCHES * overlap:
        return plain
    ahead = periods_ahead(len(count), overlap)
    low, high = bootstrap_interval(total, count, ahead)
    series = total / count.mean()
    error = mean_error(series, ahead)
    dm_low, dm_high = student_interval(plain.value, error, len(series))
    _, p = diebold_mariano(series, ahead)
    return replace(plain, low=low, high=high, p=p, error=error, dm_low=dm_low, dm_high=dm_high)


def _daily(
    statistics: Statistics, domain: str, variable: str, model: str, days: list[int], region: str | None, group: int | None
) -> NDArray[np.float64]:
    """(D, S) of the given days."""
    v = statistics.axes[domain].variables.index(variable)
    known = {day: at for at, day in enumerate(statistics.days(domain, model))}
    blocks_DKS = statistics.daily(domain, model, region)[:, v][[known[day] for day in days]]
    return np.asarray(blocks_DKS.sum(axis=1) if group is None else blocks_DKS[:, group], np.float64)

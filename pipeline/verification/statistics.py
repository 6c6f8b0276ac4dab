"""Statistics: exact additive sums of forecast errors; a monoid, so that no order and no split can change a score.

Shape suffixes: W windows, L lead, N node, V target variable, Q quantile, S statistic.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.contracts.forecasts import MEDIAN, QUANTILES
from pipeline.errors import ContractError

PINBALLS = tuple(f"pinball_{round(100 * level):02d}" for level in QUANTILES)
COUNTS = ("expected", "n", "covered_80", "covered_90")
STATISTICS: tuple[str, ...] = (*COUNTS, "error", "absolute", "squared", *PINBALLS)
"""Names along S. Error = forecast median - observation; `pinball_10` is the loss of the 10 % quantile."""

_FINE = 40
_COARSE = 8
_LIMIT = 2.0**53
_LEVELS_Q = np.array(QUANTILES)
_INNER = {"covered_80": (QUANTILES.index(0.1), QUANTILES.index(0.9)), "covered_90": (QUANTILES.index(0.05), QUANTILES.index(0.95))}
_AT = {name: i for i, name in enumerate(STATISTICS)}

Key = tuple[str, str, int]
"""Domain, model, and day (UTC days since 1970) of the issue time: the block of the bootstrap."""


@dataclass(frozen=True, kw_only=True)
class Axis:
    """The target variables and leads (seconds) that a domain's sums run over."""

    variables: tuple[str, ...]
    units: tuple[str, ...]
    lead_times: tuple[int, ...]


def score_window(truth_LNV: NDArray[np.float32], good_LNV: NDArray[np.bool_], quantiles_LNVQ: NDArray[np.float32]) -> NDArray[np.float64]:
    """Sums over the nodes of one window, (V, L, S), in physical units; a cell that is not good counts as expected only.

    A row depends on this window alone, bit for bit, never on what is scored beside it.

    Raises:
        ContractError: A quantile is NaN or infinite.
    """
    good_LVN = np.ascontiguousarray(good_LNV.transpose(0, 2, 1))
    truth_LVN = np.where(good_LVN, truth_LNV.transpose(0, 2, 1), 0).astype(np.float64)
    short_LVQN = truth_LVN[:, :, None] - np.ascontiguousarray(quantiles_LNVQ.transpose(0, 2, 3, 1))
    if not np.isfinite(short_LVQN).all():
        raise ContractError(asked="score a forecast", found="a quantile that is NaN or infinite", mend="mend the model that made it")
    short_LVQN *= good_LVN[:, :, None]
    total_LVQ = short_LVQN.sum(axis=-1)
    over_LVQ = -np.minimum(short_LVQN, 0).sum(axis=-1)
    rows_LVS = np.empty((*total_LVQ.shape[:2], len(STATISTICS)))
    rows_LVS[..., _AT["expected"]] = good_LVN.shape[-1]
    rows_LVS[..., _AT["n"]] = good_LVN.sum(axis=-1)
    for name, (low, high) in _INNER.items():
        rows_LVS[..., _AT[name]] = ((short_LVQN[:, :, low] >= 0) & (short_LVQN[:, :, high] <= 0) & good_LVN).sum(axis=-1)
    rows_LVS[..., _AT["error"]] = -total_LVQ[..., MEDIAN]
    rows_LVS[..., _AT["absolute"]] = (total_LVQ + 2 * over_LVQ)[..., MEDIAN]
    rows_LVS[..., _AT["squared"]] = np.square(short_LVQN[:, :, MEDIAN]).sum(axis=-1)
    rows_LVS[..., _AT[PINBALLS[0]] :] = _LEVELS_Q * total_LVQ + over_LVQ
    return rows_LVS.swapaxes(0, 1)


def exact_sum(rows_W: NDArray[np.float64]) -> NDArray[np.object_]:
    """The exact sum over the first axis as Python integers in units of 2^-40, each row first rounded to that unit.

    Raises:
        ContractError: A row is not finite or beyond 2^53.
    """
    if not (np.abs(rows_W) < _LIMIT).all():
        raise ContractError(
            asked="sum the errors of a window",
            found=f"a sum of {np.abs(rows_W).max():g}",
            mend="check the unit of the variable and the model's bounds",
        )
    high = np.floor(rows_W * 2.0**_COARSE)
    low = np.rint((rows_W - high * 2.0**-_COARSE) * 2.0**_FINE).astype(np.int64)
    narrow = len(rows_W) == 0 or np.abs(high).max() * len(rows_W) < 2.0**62
    whole = high.astype(np.int64) if narrow else high.astype(np.int64).astype(object)
    exact = np.asarray(whole.sum(axis=0)).astype(object) * 2 ** (_FINE - _COARSE) + np.asarray(low.sum(axis=0)).astype(object)
    return np.asarray(exact, dtype=object)


@dataclass(frozen=True, kw_only=True, eq=False)
class Statistics:
    """Exact sums per domain, model and day: zero, and +, which is associative and commutative bit for bit.

    The promise: rows of single windows are rounded to 2^-40 of a unit once, and summed as integers; so any order,
    split or merging of windows, on any number of workers, gives equal sums. All nodes of a window must be in one row.

    Attributes:
        axes: Per domain what V and L are.
        sums: Per key Python integers (V, L, S) in units of 2^-40.
    """

    axes: Mapping[str, Axis]
    sums: Mapping[Key, NDArray[np.object_]]

    @staticmethod
    def zero() -> Statistics:
        """The statistics of nothing: adding it changes nothing."""
        return Statistics(axes={}, sums={})

    def __add__(self, other: Statistics) -> Statistics:
        for domain in self.axes.keys() & other.axes.keys():
            if self.axes[domain] != other.axes[domain]:
                raise ContractError(
                    asked=f"add statistics of domain {domain}",
                    found=f"{self.axes[domain]} and {other.axes[domain]}",
                    mend="add scores of one world's settings only",
                )
        sums = dict(self.sums)
        for key, value in other.sums.items():
            sums[key] = sums[key] + value if key in sums else value
        return Statistics(axes={**self.axes, **other.axes}, sums=sums)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Statistics) and self.to_json() == other.to_json()

    def models(self, domain: str) -> tuple[str, ...]:
        """The models scored on a domain, sorted."""
        return tuple(sorted({model for d, model, _ in self.sums if d == domain}))

    def days(self, domain: str, model: str) -> tuple[int, ...]:
        """The days on which a model was scored, sorted."""
        return tuple(sorted(day for d, m, day in self.sums if (d, m) == (domain, model)))

    def daily(self, domain: str, model: str) -> NDArray[np.float64]:
        """Sums per day (day, V, L, S) in physical units, each correctly rounded from the exact sum."""
        found = [self.sums[domain, model, day] for day in self.days(domain, model)]
        axis = self.axes[domain]
        return _rounded(np.array(found, dtype=object).reshape(-1, len(axis.variables), len(axis.lead_times), len(STATISTICS)))

    def total(self, domain: str, model: str, *, over_leads: bool = False) -> NDArray[np.float64]:
        """Sums over all days, (V, L, S), or (V, S) over all leads too, each correctly rounded from the exact sum."""
        total: NDArray[np.object_] = sum((v for (d, m, _), v in self.sums.items() if (d, m) == (domain, model)), self._none(domain))
        return _rounded(total.sum(axis=1) if over_leads else total)

    def _none(self, domain: str) -> NDArray[np.object_]:
        axis = self.axes[domain]
        return np.zeros((len(axis.variables), len(axis.lead_times), len(STATISTICS)), object)

    def to_json(self) -> dict[str, Any]:
        """JSON content with decimal strings for the sums, keys sorted; `from_json` gives equal statistics."""
        return {
            "unit": f"2^-{_FINE}",
            "statistics": list(STATISTICS),
            "axes": {
                d: {"variables": list(a.variables), "units": list(a.units), "lead_times": list(a.lead_times)}
                for d, a in sorted(self.axes.items())
            },
            "sums": [
                {"domain": d, "model": m, "day": day, "values": " ".join(map(str, self.sums[d, m, day].ravel()))}
                for d, m, day in sorted(self.sums)
            ],
        }

    @staticmethod
    def from_json(content: dict[str, Any]) -> Statistics:
        """The statistics that `to_json` wrote.

        Raises:
            ContractError: They were written in another unit or with other statistics.
        """
        if content["unit"] != f"2^-{_FINE}" or content["statistics"] != list(STATISTICS):
            raise ContractError(
                asked="read statistics", found=f"{content['unit']} {content['statistics']}", mend="score again with this version"
            )
        axes = {
            d: Axis(variables=tuple(a["variables"]), units=tuple(a["units"]), lead_times=tuple(a["lead_times"]))
            for d, a in content["axes"].items()
        }
        sums: dict[Key, NDArray[np.object_]] = {}
        for row in content["sums"]:
            axis = axes[row["domain"]]
            numbers = np.array([int(word) for word in row["values"].split()], dtype=object)
            sums[row["domain"], row["model"], row["day"]] = numbers.reshape(len(axis.variables), len(axis.lead_times), len(STATISTICS))
        return Statistics(axes=axes, sums=sums)


def _rounded(exact: NDArray[np.object_]) -> NDArray[np.float64]:
    return np.array([value / 2**_FINE for value in exact.ravel()], dtype=np.float64).reshape(exact.shape)


def score_windows(
    *,
    domain: str,
    axis: Axis,
    model: str,
    issue_time_W: NDArray[np.int64],
    truth_WLNV: NDArray[np.float32],
    good_WLNV: NDArray[np.bool_],
    quantiles_WLNVQ: NDArray[np.float32],
) -> Statistics:
    """The statistics of some windows of one model; every cell is counted, the good ones are scored."""
    shape = (len(issue_time_W), len(axis.variables), len(axis.lead_times), len(STATISTICS))
    rows_WVLS = np.empty(shape)
    for w in range(len(issue_time_W)):
        rows_WVLS[w] = score_window(truth_WLNV[w], good_WLNV[w], quantiles_WLNVQ[w])
    day_W = issue_time_W // 86400
    sums = {(domain, model, int(day)): exact_sum(rows_WVLS[day_W == day]) for day in np.unique(day_W)}
    return Statistics(axes={domain: axis}, sums=sums)

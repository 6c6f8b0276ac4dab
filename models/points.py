"""Point forecasts of the baselines that only look back: the newest value, the value one season before, usual values.

Shape suffixes: B window, L lead, N node, V variable, S slot of the week.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from models.batch import Batch
from models.gather import Gatherer, usual_values
from pipeline.contracts.times import parse_duration
from pipeline.contracts.windows import DomainWindows

Array = NDArray[Any]

CELLS = 500_000
"""Most residuals per variable and lead from which a quantile is taken."""

_LAG = "lag_"
_ROWS = 16384


class Point(Protocol):
    """A baseline's point forecast for one domain."""

    def point(self, gatherer: Gatherer, batch: Batch, index_W: NDArray[np.int64]) -> Array:
        """(B, L, N, V) scaled."""

    def arrays(self) -> dict[str, Array]:
        """What was fitted, by name."""


class Persistence:
    """The newest value, at every lead."""

    def point(self, gatherer: Gatherer, batch: Batch, index_W: NDArray[np.int64]) -> Array:
        """(B, L, N, V) scaled."""
        return np.broadcast_to(batch.base_BNV.numpy()[:, None], batch.y_BLNV.shape)

    def arrays(self) -> dict[str, Array]:
        """Nothing is fitted."""
        return {}


class HistoricalAverage:
    """The mean of the same weekday and time of day in the training fold, per node.

    An empty slot takes the node's mean of that time of day, then the node's mean. Relative variables, and domains
    without seasons, have no such profile: theirs is the newest value plus the mean change of the training fold by lead.

    Attributes:
        profile_SNV: Scaled means, S = day of week * slots per day + slot.
        count_SNV: Values behind each mean (0: a stand-in).
        drift_LNV: Mean change in units of the batch, per lead.
    """

    def __init__(self, profile_SNV: Array, count_SNV: Array, drift_LNV: Array) -> None:
        self.profile_SNV, self.count_SNV, self.drift_LNV = profile_SNV, count_SNV, drift_LNV

    def point(self, gatherer: Gatherer, batch: Batch, index_W: NDArray[np.int64]) -> Array:
        """(B, L, N, V) scaled."""
        base = batch.base_BNV.numpy()[:, None]
        if not len(self.profile_SNV):
            return np.asarray(base + self.drift_LNV * batch.unit_BNV.numpy()[:, None], np.float32)
        usual = self.profile_SNV[_target_slots(gatherer.domain, index_W)]
        drifting = gatherer.domain.scaler.relative_NV > 0
        return np.where(drifting, base + self.drift_LNV * batch.unit_BNV.numpy()[:, None], usual).astype(np.float32)

    def without_itself(self, point: Array, batch: Batch, domain: DomainWindows, index_W: NDArray[np.int64]) -> Array:
        """The point with each training target left out of its own mean, so that residuals are honest."""
        if not len(self.profile_SNV):
            return point
        n = self.count_SNV[_target_slots(domain, index_W)].astype(np.float32)
        y, good = batch.y_BLNV.numpy(), batch.good_BLNV.numpy()
        leave = good & (n > 1) & ~(domain.scaler.relative_NV > 0)
        return np.where(leave, (point * n - y) / np.maximum(n - 1, 1), point).astype(np.float32)

    def arrays(self) -> dict[str, Array]:
        """What was fitted, by name."""
        return {"profile_SNV": self.profile_SNV, "count_SNV": self.count_SNV, "drift_LNV": self.drift_LNV}


class SeasonalPersistence:
    """The value one longest season before the target; the newest value where that is not known."""

    def __init__(self, lag: int) -> None:
        self.lag = lag

    def point(self, gatherer: Gatherer, batch: Batch, index_W: NDArray[np.int64]) -> Array:
        """(B, L, N, V) scaled."""
        good, lag = batch.history_good_BLNVK.numpy()[..., self.lag], batch.history_BLNVK.numpy()[..., self.lag]
        return np.where(good, lag, batch.base_BNV.numpy()[:, None]).astype(np.float32)

    def arrays(self) -> dict[str, Array]:
        """Which of the history's summaries it is."""
        return {"lag": np.array([self.lag], np.int64)}


def longest_lag(names: tuple[str, ...]) -> int | None:
    """The place among a history's names of the lag by the longest season; None where there is no season."""
    lags = {k: parse_duration(name.removeprefix(_LAG)) for k, name in enumerate(names) if name.startswith(_LAG)}
    return max(lags, key=lambda k: lags[k]) if lags else None


def historical_average(gatherer: Gatherer, train: NDArray[np.int64]) -> HistoricalAverage:
    """The means of the training fold."""
    return HistoricalAverage(*_profile(gatherer.domain, train), _drift(gatherer, train))


def _target_slots(domain: DomainWindows, index_W: NDArray[np.int64]) -> NDArray[np.int64]:
    step = domain.end_W[index_W][:, None].astype(np.int64) + np.arange(1, domain.horizon + 1)
    step = np.minimum(step, len(domain.valid_time_T) - 1)
    slot: NDArray[np.int64] = domain.day_of_week_T[step].astype(np.int64) * domain.slots_per_day + domain.time_of_day_T[step]
    return slot


def _profile(domain: DomainWindows, train: NDArray[np.int64]) -> tuple[Array, Array]:
    if not domain.history_names:
        empty = np.zeros((0, len(domain.node_ids), len(domain.variables)), np.float32)
        return empty, empty.astype(np.int32)
    stop = int(domain.end_W[train[-1]]) + domain.horizon + 1
    slot = domain.day_of_week_T[:stop].astype(np.int64) * domain.slots_per_day + domain.time_of_day_T[:stop]
    shape = (7 * domain.slots_per_day, len(domain.node_ids), len(domain.variables))
    total, count = np.zeros(shape), np.zeros(shape, np.int32)
    for s in range(shape[0]):
        rows = np.flatnonzero(slot == s)
        good = domain.good_TNV[rows]
        count[s] = good.sum(0)
        total[s] = np.where(good, domain.values_TNV[rows], 0).sum(0, dtype=np.float64)
    per_day, per_count = (a.reshape(7, -1, *shape[1:]).sum(0) for a in (total, count))
    of_day = np.tile(per_day / np.maximum(per_count, 1), (7, 1, 1))
    known = np.tile(per_count, (7, 1, 1)) > 0
    stand_in = np.where(known, of_day, usual_values(domain))
    return np.where(count > 0, total / np.maximum(count, 1), stand_in).astype(np.float32), count


def batches(gatherer: Gatherer, train: NDArray[np.int64], cells: int) -> Iterator[tuple[NDArray[np.int64], Batch]]:
    """Windows evenly spread over those given, with at most so many nodes in all, and their batches."""
    nodes = len(gatherer.domain.node_ids)
    chosen = train[np.unique(np.linspace(0, len(train) - 1, max(1, min(len(train), cells // nodes))).astype(np.int64))]
    size = max(1, _ROWS // nodes)
    for start in range(0, len(chosen), size):
        index = chosen[start : start + size]
        yield index, gatherer.batch(index)


def _drift(gatherer: Gatherer, train: NDArray[np.int64]) -> Array:
    total = count = 0
    for _, batch in batches(gatherer, train, CELLS):
        unit = batch.unit_BNV.numpy()[:, None]
        good = batch.good_BLNV.numpy() & (unit > 0)
        change = (batch.y_BLNV.numpy() - batch.base_BNV.numpy()[:, None]) / np.maximum(unit, 1e-12)
        total, count = total + np.where(good, change, 0).sum((0, 2), dtype=np.float64), count + good.sum((0, 2))
    mean_LV = total / np.maximum(count, 1)
    nodes = len(gatherer.domain.node_ids)
    return np.repeat(mean_LV[:, None], nodes, axis=1).astype(np.float32)

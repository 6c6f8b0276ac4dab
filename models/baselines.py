"""The baselines: persistence, historical average, ridge on lags; behind the same Predictor as the joint model.

Each gives a point; its quantiles are the point plus quantiles of its own residuals in the training fold, per variable and lead.
Shape suffixes: B window, L lead, N node, V variable, G target variable, S slot of the week, F feature, Q quantile.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from models.gather import Batch, Gatherer, usual_values
from models.prediction import Prediction, Predictor, bounded, physical
from models.ridge import Ridge
from models.shapes import DomainShape, check_same, shape_of
from models.state import Fitted, below, common_meta, opened, pack, read_shapes, shape_arrays
from pipeline.contracts.forecasts import BASELINES, MEDIAN, QUANTILES
from pipeline.contracts.windows import DomainWindows, Scaler, WindowSet
from pipeline.errors import ContractError

Array = NDArray[Any]

_CELLS = 500_000
"""Most residuals per variable and lead from which a quantile is taken."""
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


def fit_baselines(windows: WindowSet) -> Fitted:
    """All baselines of every domain that has training windows, fitted on the training fold only."""
    shapes: dict[str, DomainShape] = {}
    arrays: dict[str, Array] = {}
    notes: list[str] = []
    for name in sorted(windows.domains):
        domain = windows.domains[name]
        train = domain.windows_of("train")
        if not len(train) or not domain.targets or not len(domain.node_ids) or not domain.good_TNV.any():
            notes.append(f"domain '{name}' has no training windows and no baselines")
            continue
        shapes[name] = shape_of(domain, usual_values(domain))
        gatherer = Gatherer(domain, shapes[name].usual_NV)
        for kind, model in _fit_points(gatherer, train).items():
            own = model.arrays() | {"residual_LGQ": _residuals(model, gatherer, train)}
            arrays |= {f"{kind}/{name}/{key}": array for key, array in own.items()}
    meta = common_meta("baselines", windows, shapes, {}) | {"kinds": list(BASELINES), "notes": notes}
    return Fitted(state=pack(shape_arrays(shapes) | arrays), meta=meta)


def load_baselines(state: bytes, meta: Mapping[str, Any]) -> dict[str, Predictor]:
    """Each baseline that `fit_baselines` left, by name.

    Raises:
        ContractError: State and meta are not those of baselines of this version.
    """
    meta, arrays = opened(state, meta, "baselines")
    shapes = read_shapes(meta, arrays)
    found: dict[str, Predictor] = {}
    for kind in meta["kinds"]:
        own = {domain: fitted for domain in shapes if (fitted := below(arrays, f"{kind}/{domain}/"))}
        found[kind] = BaselinePredictor(kind, {domain: shapes[domain] for domain in own}, own, tuple(shapes))
    return found


class BaselinePredictor:
    """A baseline's Predictor; its split has only the anchor filled."""

    def __init__(self, kind: str, shapes: dict[str, DomainShape], arrays: dict[str, dict[str, Array]], domains: tuple[str, ...]) -> None:
        self._kind, self._shapes, self._domains = kind, shapes, domains
        self._points = {domain: _restore(kind, own) for domain, own in arrays.items()}
        self._residual = {domain: own["residual_LGQ"] for domain, own in arrays.items()}
        self._gatherer: tuple[DomainWindows, Gatherer] | None = None

    @property
    def scalers(self) -> dict[str, Scaler]:
        """Per domain the scale of training."""
        return {domain: shape.scaler for domain, shape in self._shapes.items()}

    def predict(self, windows: WindowSet, domain: str, index_W: NDArray[np.int64], *, split: bool = True) -> Prediction:
        """Forecasts of these windows of one domain; see `Predictor`.

        Raises:
            ContractError: There is no such baseline, or the windows are not those it was fitted for.
        """
        if domain not in self._points:
            raise ContractError(
                asked=f"{self._kind} of domain '{domain}'", found=f"fitted for {sorted(self._points)}", mend="train again with that domain"
            )
        own = windows.domains[domain]
        if self._gatherer is None or self._gatherer[0] is not own:
            check_same(self._shapes[domain], own)
            self._gatherer = own, Gatherer(own, self._shapes[domain].usual_NV)
        gatherer = self._gatherer[1]
        others = tuple(k for k in sorted(self._domains) if k != domain)
        size = max(1, _ROWS // len(own.node_ids))
        chunks = [self._chunk(own, gatherer, np.asarray(index_W[s : s + size])) for s in range(0, max(len(index_W), 1), size)]
        q = np.concatenate([c[0] for c in chunks])
        terms = np.zeros((*q.shape[:-1], 3 + len(others) if split else 0), np.float32)
        if split:
            terms[..., 0] = np.concatenate([c[1] for c in chunks])
        return Prediction(quantiles_BLNVQ=q, split_BLNVP=terms, parts=("anchor", "series", "space", *others) if split else ())

    def explain(self) -> dict[str, Any]:
        """A baseline mixes nothing: only its name."""
        return {"baseline": self._kind}

    def _chunk(self, own: DomainWindows, gatherer: Gatherer, index_W: NDArray[np.int64]) -> tuple[Array, Array]:
        batch = gatherer.batch(index_W)
        v = list(own.targets)
        point = np.ascontiguousarray(self._points[own.domain].point(gatherer, batch, index_W)[..., v])
        away = self._residual[own.domain][:, None] * batch.unit_BNV.numpy()[:, None][..., v, None]
        median = physical(own, point[..., None], True)
        return bounded(own, median + physical(own, away.astype(np.float32), False)), median[..., 0]


def _restore(kind: str, own: dict[str, Array]) -> Point:
    fitted = {key: a for key, a in own.items() if key != "residual_LGQ"}
    if kind == "persistence":
        return Persistence()
    return HistoricalAverage(**fitted) if kind == "historical_average" else Ridge(**fitted)


def _fit_points(gatherer: Gatherer, train: NDArray[np.int64]) -> dict[str, Point]:
    average = HistoricalAverage(*_profile(gatherer.domain, train), _drift(gatherer, train))
    return {"persistence": Persistence(), "historical_average": average, "ridge": Ridge.fitted(gatherer, train)}


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


def _batches(gatherer: Gatherer, train: NDArray[np.int64], cells: int) -> Iterator[tuple[NDArray[np.int64], Batch]]:
    nodes = len(gatherer.domain.node_ids)
    chosen = train[np.unique(np.linspace(0, len(train) - 1, max(1, min(len(train), cells // nodes))).astype(np.int64))]
    size = max(1, _ROWS // nodes)
    for start in range(0, len(chosen), size):
        index = chosen[start : start + size]
        yield index, gatherer.batch(index)


def _drift(gatherer: Gatherer, train: NDArray[np.int64]) -> Array:
    total = count = 0
    for _, batch in _batches(gatherer, train, _CELLS):
        unit = batch.unit_BNV.numpy()[:, None]
        good = batch.good_BLNV.numpy() & (unit > 0)
        change = (batch.y_BLNV.numpy() - batch.base_BNV.numpy()[:, None]) / np.maximum(unit, 1e-12)
        total, count = total + np.where(good, change, 0).sum((0, 2), dtype=np.float64), count + good.sum((0, 2))
    mean_LV = total / np.maximum(count, 1)
    nodes = len(gatherer.domain.node_ids)
    return np.repeat(mean_LV[:, None], nodes, axis=1).astype(np.float32)


def _residuals(model: Point, gatherer: Gatherer, train: NDArray[np.int64]) -> Array:
    v = list(gatherer.domain.targets)
    found = []
    for index, batch in _batches(gatherer, train, _CELLS):
        point = model.point(gatherer, batch, index)
        if isinstance(model, HistoricalAverage):
            point = model.without_itself(point, batch, gatherer.domain, index)
        unit = batch.unit_BNV.numpy()[:, None]
        good = batch.good_BLNV.numpy() & (unit > 0)
        found.append(np.where(good, (batch.y_BLNV.numpy() - point) / np.maximum(unit, 1e-12), np.nan)[..., v].astype(np.float32))
    residual = np.concatenate(found)
    away = np.zeros((residual.shape[1], len(v), len(QUANTILES)), np.float32)
    for lead in range(residual.shape[1]):
        for g in range(len(v)):
            cells = residual[:, lead, :, g]
            cells = cells[~np.isnan(cells)]
            if len(cells):
                away[lead, g] = np.quantile(cells, QUANTILES)
    away[..., :MEDIAN], away[..., MEDIAN + 1 :] = np.minimum(away[..., :MEDIAN], 0), np.maximum(away[..., MEDIAN + 1 :], 0)
    away[..., MEDIAN] = 0
    return away

"""The baselines, behind the same Predictor as the joint model.

Each gives a point; its quantiles are the point plus quantiles of its own residuals in the training fold, per variable and lead.
Shape suffixes: B window, L lead, N node, V variable, G target variable, Q quantile.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.boosting import BoostedTrees
from models.gather import Gatherer, usual_values
from models.points import CELLS, HistoricalAverage, Persistence, Point, SeasonalPersistence, batches, historical_average, longest_lag
from models.prediction import Prediction, Predictor, bounded, physical
from models.ridge import Ridge
from models.shapes import DomainShape, check_same, shape_of
from models.state import Fitted, below, common_meta, opened, pack, read_shapes, shape_arrays
from pipeline.contracts.forecasts import BASELINES, EXTRA_BASELINES, MEDIAN, QUANTILES
from pipeline.contracts.windows import DomainWindows, Scaler, WindowSet
from pipeline.errors import ConfigError, ContractError

Array = NDArray[Any]

_ROWS = 16384


def fit_baselines(windows: WindowSet, extra: Sequence[str] = ()) -> Fitted:
    """The baselines of every domain that has training windows, fitted on the training fold only.

    Args:
        windows: Everything they may see.
        extra: Those of `EXTRA_BASELINES` that are wanted besides.

    Raises:
        ConfigError: There is no such extra baseline, or its library is not installed.
    """
    for kind in extra:
        if kind not in EXTRA_BASELINES:
            raise ConfigError(asked=f"baseline '{kind}'", found="no such extra baseline", mend=f"there are: {', '.join(EXTRA_BASELINES)}")
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
        for kind, model in _fit_points(gatherer, train, extra).items():
            own = model.arrays() | {"residual_LGQ": _residuals(model, gatherer, train)}
            arrays |= {f"{kind}/{name}/{key}": array for key, array in own.items()}
    meta = common_meta("baselines", windows, shapes, {}) | {
        "kinds": [k for k in BASELINES if k not in EXTRA_BASELINES or k in extra],
        "notes": notes,
    }
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

    def modalities(self, domain: str) -> tuple[str, ...]:
        """None: a baseline is told nothing."""
        return ()

    def predict(
        self, windows: WindowSet, domain: str, index_W: NDArray[np.int64], *, split: bool = True, without: Collection[str] = ()
    ) -> Prediction:
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
        q = np.concatenate(chunks)
        terms = np.zeros((*q.shape[:-1], 3 + len(others) if split else 0), np.float32)
        if split:
            terms[..., 0] = q[..., MEDIAN]
        return Prediction(quantiles_BLNVQ=q, split_BLNVP=terms, parts=("anchor", "series", "space", *others) if split else ())

    def explain(self) -> dict[str, Any]:
        """A baseline mixes nothing: only its name."""
        return {"baseline": self._kind}

    def _chunk(self, own: DomainWindows, gatherer: Gatherer, index_W: NDArray[np.int64]) -> Array:
        batch = gatherer.batch(index_W)
        v = list(own.targets)
        point = np.ascontiguousarray(self._points[own.domain].point(gatherer, batch, index_W)[..., v])
        away = self._residual[own.domain][:, None] * batch.unit_BNV.numpy()[:, None][..., v, None]
        median = physical(own, point[..., None], True)
        return bounded(own, median + physical(own, away.astype(np.float32), False))


def _restore(kind: str, own: dict[str, Array]) -> Point:
    fitted = {key: a for key, a in own.items() if key != "residual_LGQ"}
    restored: dict[str, Callable[[], Point]] = {
        "persistence": Persistence,
        "seasonal_persistence": lambda: SeasonalPersistence(int(fitted["lag"][0])),
        "historical_average": lambda: HistoricalAverage(**fitted),
        "ridge": lambda: Ridge(**fitted),
        "boosted_trees": lambda: BoostedTrees(fitted),
    }
    if kind not in restored:
        raise ContractError(asked=f"baseline '{kind}'", found="none that this version knows", mend="read it with the version that wrote it")
    return restored[kind]()


def _fit_points(gatherer: Gatherer, train: NDArray[np.int64], extra: Sequence[str]) -> dict[str, Point]:
    found: dict[str, Point] = {"persistence": Persistence()}
    lag = longest_lag(gatherer.domain.history_names)
    if lag is not None:
        found["seasonal_persistence"] = SeasonalPersistence(lag)
    found |= {"historical_average": historical_average(gatherer, train), "ridge": Ridge.fitted(gatherer, train)}
    return found | ({"boosted_trees": BoostedTrees.fitted(gatherer, train)} if "boosted_trees" in extra else {})


def _residuals(model: Point, gatherer: Gatherer, train: NDArray[np.int64]) -> Array:
    v = list(gatherer.domain.targets)
    found = []
    for index, batch in batches(gatherer, train, CELLS):
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

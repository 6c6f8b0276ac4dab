"""Gradient-boosted trees on lags (LightGBM): one model per target variable, pooled over nodes and leads.

Shape suffixes: B window, L lead, N node, V variable, R row (window x node), F feature.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.batch import Batch
from models.gather import Gatherer
from models.points import batches
from models.ridge import moving_features, still_features
from pipeline.errors import ConfigError

Array = NDArray[Any]

_CELLS = 600_000
_ROUNDS = 200
# One thread: on cores shared with other processes several wait for one another.
_SETTINGS = {
    "objective": "regression_l1",
    "learning_rate": 0.08,
    "num_leaves": 63,
    "min_data_in_leaf": 40,
    "bagging_fraction": 0.8,
    "bagging_freq": 1,
    "feature_fraction": 0.7,
    "num_threads": 1,
    "deterministic": True,
    "force_row_wise": True,
    "seed": 0,
    "verbosity": -1,
}


class BoostedTrees:
    """Change from the newest value, by trees on what ridge sees, the lead, the calendar of the target and the node's usual value.

    Args:
        texts: Per target variable `model_V`, LightGBM's own text as bytes.

    Raises:
        ConfigError: LightGBM cannot be loaded.
    """

    def __init__(self, texts: Mapping[str, Array]) -> None:
        self._texts = dict(texts)
        library = _library()
        self._models = {int(key.removeprefix("model_")): library.Booster(model_str=text.tobytes().decode()) for key, text in texts.items()}

    @staticmethod
    def fitted(gatherer: Gatherer, train: NDArray[np.int64]) -> BoostedTrees:
        """Trees on the training fold: of each window and node one lead, drawn at random."""
        library, domain = _library(), gatherer.domain
        chance = np.random.default_rng(0)
        rows: dict[int, list[tuple[Array, Array]]] = {v: [] for v in domain.targets}
        for index, batch in batches(gatherer, train, _CELLS):
            drawn_BN = chance.integers(0, domain.horizon, (len(index), len(domain.node_ids)))
            for v in domain.targets:
                y, good = (np.take_along_axis(t.numpy()[..., v], drawn_BN[:, None], 1)[:, 0] for t in (batch.y_BLNV, batch.good_BLNV))
                unit = batch.unit_BNV.numpy()[..., v]
                good = good & (unit > 0)
                change = (y - batch.base_BNV.numpy()[..., v]) / np.maximum(unit, 1e-12)
                rows[v].append((_features(gatherer, batch, index, v, drawn_BN)[good], change[good]))
        texts = {}
        for v, parts in rows.items():
            x, y = (np.concatenate(column).astype(np.float32) for column in zip(*parts, strict=True))
            rounds = _ROUNDS if len(y) else 0
            data = library.Dataset(x if len(y) else np.zeros((1, x.shape[1])), y if len(y) else np.zeros(1), params={"verbosity": -1})
            text = library.train(_SETTINGS, data, num_boost_round=rounds).model_to_string()
            texts[f"model_{v}"] = np.frombuffer(text.encode(), np.uint8)
        return BoostedTrees(texts)

    def point(self, gatherer: Gatherer, batch: Batch, index_W: NDArray[np.int64]) -> Array:
        """(B, L, N, V) scaled."""
        shape = tuple(batch.y_BLNV.shape)
        base, unit = batch.base_BNV.numpy(), batch.unit_BNV.numpy()
        result = np.broadcast_to(base[:, None], shape).astype(np.float32)
        for v, model in self._models.items():
            for lead in range(shape[1]):
                x = _features(gatherer, batch, index_W, v, np.full((shape[0], shape[2]), lead))
                change = np.asarray(model.predict(x.reshape(-1, x.shape[-1]), num_threads=1)).reshape(x.shape[:-1])
                result[:, lead, :, v] += (change * unit[..., v]).astype(np.float32)
        return result

    def arrays(self) -> dict[str, Array]:
        """What was fitted, by name."""
        return self._texts


def _features(gatherer: Gatherer, batch: Batch, index_W: NDArray[np.int64], v: int, lead_BN: Array) -> Array:
    """(B, N, F), each window and node at its own lead."""
    domain = gatherer.domain
    target = np.minimum(domain.end_W[index_W][:, None] + 1 + lead_BN, len(domain.valid_time_T) - 1)
    leads = np.unique(lead_BN)
    moving = np.zeros((*lead_BN.shape, len(domain.history_names)), np.float32)
    for lead in leads:
        np.copyto(moving, moving_features(batch, v, int(lead)), where=(lead_BN == lead)[..., None])
    base, unit = batch.base_BNV.numpy()[..., v], np.maximum(batch.unit_BNV.numpy()[..., v], 1e-12)
    usual = (gatherer.usual_NV[:, v] - base) / unit
    calendar = [lead_BN, domain.time_of_day_T[target], domain.day_of_week_T[target]]
    plain = np.stack([usual, batch.context.age_BNV.numpy()[..., v], *calendar], -1)
    return np.concatenate([still_features(gatherer, batch, v)[..., 1:], moving, plain], -1).astype(np.float32)


def _library() -> Any:
    try:
        import lightgbm
    except (ImportError, OSError) as error:  # OSError: it is there, and libgomp of the system is not
        raise ConfigError(
            asked="baseline 'boosted_trees'",
            found=f"LightGBM cannot be loaded: {error}",
            mend='pip install "cubecast[boosting]", with libgomp on the system, or take boosted_trees out of extra_baselines in the world file',
        ) from error
    return lightgbm

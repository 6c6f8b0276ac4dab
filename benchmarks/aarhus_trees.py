"""LightGBM on lags, for the road traffic of Aarhus: a model per lead, its rounds chosen on validation.

What it sees of one variable: the 24 newest readings, 24 hourly means, yesterday's and last week's values at the target's time and their means,
the age of the newest reading, the target's time of day and day of the week, the segment and its usual value.

Shape suffixes: B window, L lead, N node, R row (window x node), F feature.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.batch import Batch
from models.gather import Gatherer, usual_values
from models.ridge import moving_features, still_features
from pipeline.contracts.windows import DomainWindows, Fold

ROWS, HELD, ROUNDS, PATIENCE, TOGETHER = 1_000_000, 150_000, 300, 20, 64
SETTINGS: dict[str, Any] = {
    "objective": "regression_l1",
    "learning_rate": 0.1,
    "num_leaves": 127,
    "min_data_in_leaf": 100,
    "bagging_fraction": 0.8,
    "bagging_freq": 1,
    "feature_fraction": 0.6,
    "max_bin": 127,
    "verbosity": -1,
}
Rows = tuple[NDArray[np.float32], NDArray[np.float32]]


class Trees:
    """LightGBM for one target variable; features are differences from the newest value, and so is what it forecasts."""

    def __init__(self, view: DomainWindows, target: str, seed: int, threads: int) -> None:
        self._view, self._v, self._seed, self._threads = view, view.variables.index(target), seed, threads
        self._gatherer = Gatherer(view, usual_values(view))
        self._models: list[Any] = []
        self.rounds: list[int] = []

    def fit(self, options: Mapping[str, Any]) -> None:
        """A model per lead."""
        import lightgbm

        settings = SETTINGS | {"num_threads": self._threads, "seed": self._seed} | dict(options)
        chance = np.random.default_rng(self._seed)
        chosen = [self._drawn("train", ROWS, chance), self._drawn("validation", HELD, chance)]
        for lead in range(self._view.horizon):
            (x, y), held = (self._rows(drawn, lead) for drawn in chosen)
            names = [f"f{k}" for k in range(x.shape[1])]
            data = lightgbm.Dataset(x, y, feature_name=names, categorical_feature=[names[-1]], params={"verbosity": -1, "max_bin": 127})
            stop = lightgbm.early_stopping(PATIENCE, verbose=False)
            model = lightgbm.train(settings, data, ROUNDS, valid_sets=[data.create_valid(*held)], callbacks=[stop])
            self._models.append(model)
            self.rounds.append(int(model.best_iteration))

    def said(self, fold: Fold) -> NDArray[np.float32]:
        """(B, L, N) in physical units, of every window of the fold."""
        found = []
        for _, batch, still in self._batches(self._view.windows_of(fold)):
            base = batch.base_BNV.numpy()[..., self._v]
            leads = []
            for lead, model in enumerate(self._models):
                x = np.concatenate([still[0], moving_features(batch, self._v, lead), still[1](lead)], -1)
                change = model.predict(x.reshape(-1, x.shape[-1]), num_threads=self._threads).reshape(base.shape)
                leads.append(base + change.astype(np.float32))
            found.append(np.stack(leads, 1))
        scaler = self._view.scaler
        said: NDArray[np.float32] = np.concatenate(found) * scaler.scale_NV[:, self._v] + scaler.center_NV[:, self._v]
        return said

    def _drawn(self, fold: Fold, rows: int, chance: np.random.Generator) -> list[tuple[NDArray[np.int64], NDArray[np.bool_]]]:
        """Windows, a batch each, and which of their nodes."""
        index, nodes = self._view.windows_of(fold), len(self._view.node_ids)
        share = min(1.0, rows / (len(index) * nodes))
        batches = [index[k : k + TOGETHER] for k in range(0, len(index), TOGETHER)]
        return [(batch, chance.random((len(batch), nodes)) < share) for batch in batches]

    def _rows(self, drawn: list[tuple[NDArray[np.int64], NDArray[np.bool_]]], lead: int) -> Rows:
        """Features and changes of one lead, where the target is there."""
        features, changes = [], []
        for index, mask in drawn:
            ((_, batch, still),) = self._batches(index)
            good = mask & batch.good_BLNV.numpy()[:, lead, :, self._v]
            moving = moving_features(batch, self._v, lead)
            features.append(np.concatenate([still[0][good], moving[good], still[1](lead)[good]], -1).astype(np.float32))
            changes.append((batch.y_BLNV.numpy()[:, lead, :, self._v] - batch.base_BNV.numpy()[..., self._v])[good])
        return np.concatenate(features), np.concatenate(changes)

    def _batches(self, index: NDArray[np.int64]) -> Iterator[tuple[NDArray[np.int64], Batch, Any]]:
        """Batches, and their features: those of all leads, and a function from a lead to its own."""
        view, v = self._view, self._v
        for start in range(0, len(index), TOGETHER):
            part = index[start : start + TOGETHER]
            batch = self._gatherer.batch(part)
            shape = (len(part), len(view.node_ids))
            usual = np.broadcast_to(self._gatherer.usual_NV[:, v], shape)
            node = np.broadcast_to(np.arange(shape[1], dtype=np.float32), shape)
            age = batch.context.age_BNV.numpy()[..., v]

            def own(lead: int, part: NDArray[np.int64] = part, kept: tuple[Any, ...] = (age, usual, node)) -> NDArray[np.float32]:
                step = view.end_W[part] + 1 + lead
                clock = [np.broadcast_to(t[step][:, None], kept[1].shape) for t in (view.time_of_day_T, view.day_of_week_T)]
                return np.stack([*clock, *kept], -1).astype(np.float32)

            yield part, batch, (still_features(self._gatherer, batch, v)[..., 1:], own)

"""The joint model applied: physical quantiles, and the exact split of every median.

Shape suffixes: B window, L lead, N node, V target variable, Q quantile, P part.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from models.config import ModelConfig
from models.gather import Gatherer
from models.joint import JointModel, quantiles
from models.prediction import Prediction, bounded, physical
from models.shapes import DomainShape, check_same
from models.training.loop import gathered, reproducible
from pipeline.contracts.windows import Scaler, WindowSet
from pipeline.errors import ContractError

_ROWS = 16384


class JointPredictor:
    """The joint model's Predictor: float32, one model per domain at its best epoch."""

    def __init__(self, models: dict[str, JointModel], shapes: dict[str, DomainShape], config: ModelConfig) -> None:
        self._models, self._shapes, self._config = models, shapes, config
        self._windows: WindowSet | None = None
        self._gatherers: dict[str, Gatherer] = {}

    @property
    def scalers(self) -> dict[str, Scaler]:
        """Per domain the scale of training."""
        return {domain: shape.scaler for domain, shape in self._shapes.items()}

    def predict(self, windows: WindowSet, domain: str, index_W: NDArray[np.int64], *, split: bool = True) -> Prediction:
        """Forecasts of these windows of one domain; see `Predictor`. One window alone gives the same bits on any number of cores.

        Raises:
            ContractError: The model does not forecast that domain, or the windows are not those it was trained for.
        """
        if domain not in self._models:
            raise ContractError(
                asked=f"forecast of domain '{domain}'", found=f"a model of {sorted(self._models)}", mend="train again with that domain"
            )
        model, gatherers = self._models[domain], self._gatherers_of(windows)
        size = max(1, _ROWS // len(self._shapes[domain].node_ids))
        chunks = []
        with torch.inference_mode(), reproducible(1 if len(index_W) == 1 else torch.get_num_threads()):
            for start in range(0, max(len(index_W), 1), size):
                chunks.append(self._chunk(model, gatherers, windows, domain, np.asarray(index_W[start : start + size], np.int64), split))
        return Prediction(
            quantiles_BLNVQ=np.concatenate([c.quantiles_BLNVQ for c in chunks]),
            split_BLNVP=np.concatenate([c.split_BLNVP for c in chunks]),
            parts=chunks[0].parts,
        )

    def explain(self) -> dict[str, Any]:
        """Per domain: alpha per node, beta per node and lead, w of x_fuse per other domain, w of y per other domain and lead."""
        found = {}
        for domain, model in self._models.items():
            fusion, others = model.fusion(domain), model.others(domain)
            found[domain] = {
                "node_ids": list(self._shapes[domain].node_ids),
                "alpha": fusion.alpha_logit.sigmoid().tolist(),
                "beta": fusion.beta_logit.sigmoid().tolist(),
                "w_x": dict(zip(others, fusion.w_x.tolist(), strict=True)),
                "w_y": dict(zip(others, fusion.w_y.tolist(), strict=True)),
            }
        return found

    def _gatherers_of(self, windows: WindowSet) -> dict[str, Gatherer]:
        if self._windows is not windows:
            for name, shape in self._shapes.items():
                if name in windows.domains:
                    check_same(shape, windows.domains[name])
            present = [n for n in self._shapes if n in windows.domains]
            self._gatherers = {n: Gatherer(windows.domains[n], self._shapes[n].usual_NV) for n in present}
            self._windows = windows
        return self._gatherers

    def _chunk(
        self, model: JointModel, gatherers: dict[str, Gatherer], windows: WindowSet, domain: str, index_W: NDArray[np.int64], split: bool
    ) -> Prediction:
        batch, contexts = gathered(model, gatherers, domain, index_W)
        change = model(domain, batch, contexts, {}, parts=split, spread_windows=len(index_W))
        v = list(self._shapes[domain].targets)
        unit = batch.unit_BNV[:, None][..., v]
        anchor = physical(windows.domains[domain], batch.anchor_BLNV[..., v, None].numpy(), True)
        parts = [(p * unit).numpy() for p in (change.parts if split else [change.median_BLNV])]
        changes = physical(windows.domains[domain], np.stack([np.broadcast_to(p, anchor.shape[:-1]) for p in parts], -1), False)
        terms = np.concatenate([anchor, changes], -1)
        median = terms.sum(-1, dtype=np.float64).astype(np.float32)
        away = quantiles(torch.zeros_like(change.median_BLNV), change.spread_BLNVQ) * unit[..., None]
        q = median[..., None] + physical(windows.domains[domain], away.numpy(), False)
        return Prediction(
            quantiles_BLNVQ=bounded(windows.domains[domain], q),
            split_BLNVP=terms if split else np.zeros((*median.shape, 0), np.float32),
            parts=("anchor", "series", "space", *model.others(domain)) if split else (),
        )

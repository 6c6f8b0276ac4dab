"""The joint model applied: physical quantiles, and the exact split of every median.

Shape suffixes: B window, L lead, N node, V target variable, Q quantile, P part.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.batch import Batch
from models.config import ModelConfig
from models.feeds import Feeds
from models.joint import Change, JointModel
from models.look import Look, attention, patch_ends, watching
from models.portable import Inputs, Program, inputs_of, program_of
from models.prediction import Prediction, bounded, bounds_of, physical, within
from models.shapes import DomainShape, TextShape, check_same, check_same_texts
from models.training.runtime import reproducible
from pipeline.contracts.forecasts import MEDIAN, PARTS
from pipeline.contracts.windows import DomainWindows, Scaler, WindowSet
from pipeline.errors import ContractError

_ROWS = 16384


def mean_of(tensors: list[Tensor]) -> Tensor:
    """The mean of equal shapes; the tensor itself where it is alone."""
    return tensors[0] if len(tensors) == 1 else torch.stack(tensors).mean(0)


class JointPredictor:
    """The joint model's Predictor: float32, one model per domain and member at the domain's best epoch.

    What several members forecast is the mean of theirs, quantile by quantile and part by part.
    """

    def __init__(
        self, models: dict[str, list[JointModel]], shapes: dict[str, DomainShape], texts: dict[str, TextShape], config: ModelConfig
    ) -> None:
        self._models, self._shapes, self._texts, self._config = models, shapes, texts, config
        self._feeds: Feeds | None = None

    @property
    def scalers(self) -> dict[str, Scaler]:
        """Per domain the scale of training."""
        return {domain: shape.scaler for domain, shape in self._shapes.items()}

    @property
    def leading(self) -> tuple[str, ...]:
        """The domains that it forecasts."""
        return tuple(self._models)

    def modalities(self, domain: str) -> tuple[str, ...]:
        """What a domain's forecasts are told beside its own series and space, in the order of its parts."""
        return self._models[domain][0].modalities(domain)

    def predict(
        self, windows: WindowSet, domain: str, index_W: NDArray[np.int64], *, split: bool = True, without: Collection[str] = ()
    ) -> Prediction:
        """Forecasts of these windows of one domain; see `Predictor`. One window alone gives the same bits on any number of cores.

        Args:
            windows: The arrays.
            domain: The domain.
            index_W: Its windows.
            split: Whether to split the median.
            without: Modalities that are switched off, as in an outage.

        Raises:
            ContractError: The model does not forecast that domain or has no such modality, or the windows are not those
                it was trained for.
        """
        if domain not in self._models:
            raise ContractError(
                asked=f"forecast of domain '{domain}'", found=f"a model of {sorted(self._models)}", mend="train again with that domain"
            )
        members, feeds = self._models[domain], self._feeds_of(windows)
        for name in without:
            if name not in self.modalities(domain):
                known = ", ".join(self.modalities(domain)) or "none"
                raise ContractError(
                    asked=f"forecast without modality '{name}'", found=f"a model that is told: {known}", mend="name one of them"
                )
        size = max(1, _ROWS // len(self._shapes[domain].node_ids))
        chunks = []
        with torch.inference_mode(), reproducible(1 if len(index_W) == 1 else torch.get_num_threads()):
            for start in range(0, max(len(index_W), 1), size):
                chunks.append(self._chunk(members, feeds, domain, np.asarray(index_W[start : start + size], np.int64), split, without))
        return Prediction(
            quantiles_BLNVQ=np.concatenate([c.quantiles_BLNVQ for c in chunks]),
            split_BLNVP=np.concatenate([c.split_BLNVP for c in chunks]),
            parts=chunks[0].parts,
        )

    def look(self, windows: WindowSet, domain: str, index_W: NDArray[np.int64]) -> Look:
        """What the forecasts of a few windows rest on: attention (of the first member), and what each absence would change.

        Raises:
            ContractError: As `predict`.
        """
        told = self.modalities(domain) if domain in self._models else ()
        median = self.predict(windows, domain, index_W, split=False).quantiles_BLNVQ[..., MEDIAN]
        occlusion = {
            k: self.predict(windows, domain, index_W, split=False, without=(k,)).quantiles_BLNVQ[..., MEDIAN] - median for k in told
        }
        model, index = self._models[domain][0], np.asarray(index_W, np.int64)
        with torch.inference_mode(), watching(model, domain) as found:
            batch, around = self._feeds_of(windows).batch(model, domain, index)
            model(domain, batch, around, {}, parts=False, spread_windows=0)
            fields = attention(found, model, domain, len(index), len(self._shapes[domain].node_ids))
        return Look(occlusion=occlusion, step_seconds_P=patch_ends(model, domain), **fields)

    def portable(self, windows: WindowSet, domain: str, index_W: NDArray[np.int64]) -> Program:
        """The forecast of a domain as a program that needs torch alone, with these windows as its example.

        Raises:
            ContractError: The program does not forecast what this model does, to 1e-5 of it.
        """
        with torch.inference_mode(False), torch.no_grad():
            given = self.portable_inputs(windows, domain, index_W)
            made = program_of(domain, self._models[domain], self._shapes, self._texts, windows, given)
        said = self.predict(windows, domain, index_W)
        for name, own in (("quantiles", said.quantiles_BLNVQ), ("split", said.split_BLNVP)):
            if not np.allclose(made.outputs[name], own, rtol=1e-5, atol=1e-5 * float(np.abs(own).max())):
                raise ContractError(
                    asked=f"the forecast of '{domain}' as a program",
                    found=f"{name} that differ by {np.abs(made.outputs[name] - own).max():.3g}",
                    mend="report this fault",
                )
        return made

    def portable_inputs(self, windows: WindowSet, domain: str, index_W: NDArray[np.int64]) -> Inputs:
        """What the program of a domain is given for these windows, by the names of its interface."""
        model = self._models[domain][0]
        batch, around = self._feeds_of(windows).batch(model, domain, np.asarray(index_W, np.int64))
        steps = {k: model.summary_steps(k) for k in model.others(domain)}
        return inputs_of(windows, domain, batch, around, steps, {k: self._texts[k] for k in model.streams(domain)})

    def explain(self) -> dict[str, Any]:
        """Per domain: alpha per node, beta per node and lead, w of x_fuse per modality, w of y per modality and lead."""
        found = {}
        for domain, members in self._models.items():
            fusions, modalities = [model.net(domain).fusion for model in members], self.modalities(domain)
            w_x, w_y = (mean_of([getattr(f, name).detach() for f in fusions]).tolist() for name in ("w_x", "w_y"))
            found[domain] = {
                "node_ids": list(self._shapes[domain].node_ids),
                "step_seconds": self._shapes[domain].step_seconds,
                "alpha": mean_of([f.alpha_logit.detach().sigmoid() for f in fusions]).tolist(),
                "beta": mean_of([f.beta_logit.detach().sigmoid() for f in fusions]).tolist(),
                "w_x": dict(zip(modalities, w_x, strict=True)),
                "w_y": dict(zip(modalities, w_y, strict=True)),
            }
        return found

    def _feeds_of(self, windows: WindowSet) -> Feeds:
        if self._feeds is None or self._feeds.windows is not windows:
            for name, shape in self._shapes.items():
                if name in windows.domains:
                    check_same(shape, windows.domains[name])
            for name, texts in self._texts.items():
                if name in windows.texts:
                    check_same_texts(name, texts, windows.texts[name])
            self._feeds = Feeds(windows, self._shapes, self._texts, self._config)
        return self._feeds

    def _chunk(
        self, members: list[JointModel], feeds: Feeds, domain: str, index_W: NDArray[np.int64], split: bool, without: Collection[str]
    ) -> Prediction:
        windows = feeds.windows.domains[domain]
        batch, around = feeds.batch(members[0], domain, index_W)
        off = {k: torch.zeros(len(index_W), dtype=torch.bool) for k in without}
        said = [self._said(windows, batch, m(domain, batch, around, off, parts=split, spread_windows=len(index_W)), split) for m in members]
        mean = [np.mean(of_members, 0) if len(members) > 1 else of_members[0] for of_members in zip(*said, strict=True)]
        return Prediction(
            quantiles_BLNVQ=bounded(windows, mean[0]),
            split_BLNVP=mean[1],
            parts=(*PARTS, *members[0].modalities(domain)) if split else (),
        )

    def _said(self, windows: DomainWindows, batch: Batch, change: Change, split: bool) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Quantiles and split of one member, its median within the variables' bounds before its quantiles are laid around it."""
        v = list(self._shapes[windows.domain].targets)
        unit = batch.unit_BNV[:, None][..., v]
        anchor = physical(windows, batch.anchor_BLNV[..., v, None].numpy(), True)
        parts = [(p * unit).numpy() for p in (change.parts if split else [change.median_BLNV])]
        changes = physical(windows, np.stack([np.broadcast_to(p, anchor.shape[:-1]) for p in parts], -1), False)
        terms = np.concatenate([anchor, changes], -1)
        median = np.clip(terms.sum(-1, dtype=np.float64).astype(np.float32), *bounds_of(windows))
        away = physical(windows, (change.away() * unit[..., None]).numpy(), False)
        return bounded(windows, median[..., None] + away), within(windows, terms) if split else np.zeros((*median.shape, 0), np.float32)

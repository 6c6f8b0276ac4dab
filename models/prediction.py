"""Prediction: forecasts of many windows in physical units, and the Predictor that every model is behind.

Shape suffixes: W window, L lead, N node, V target variable, Q quantile, P part.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from pipeline.contracts.forecasts import in_order
from pipeline.contracts.windows import DomainWindows, Scaler, WindowSet


@dataclass(frozen=True, kw_only=True, eq=False)
class Prediction:
    """Forecasts of one domain; V are its target variables, units are physical.

    Attributes:
        quantiles_BLNVQ: float32, non-decreasing along Q, within the variable's bounds, no NaN.
        split_BLNVP: float32; along P they add up to the median. P is 0 long where the split was not asked for.
        parts: Names of P: anchor, series, space, then one per modality: `future`, other domains, `text_STREAM`.
    """

    quantiles_BLNVQ: NDArray[np.float32]
    split_BLNVP: NDArray[np.float32]
    parts: tuple[str, ...]


class Predictor(Protocol):
    """A fitted model that can be applied."""

    @property
    def scalers(self) -> dict[str, Scaler]:
        """Per domain the scale of training; windows for prediction are built with these."""

    def modalities(self, domain: str) -> tuple[str, ...]:
        """What a domain's forecasts are told beside its own series and space; each can be switched off."""

    def predict(
        self, windows: WindowSet, domain: str, index_W: NDArray[np.int64], *, split: bool = True, without: Collection[str] = ()
    ) -> Prediction:
        """Forecasts of these windows of one domain, as if the modalities `without` were out.

        Raises:
            ContractError: The windows are not those that the model was trained for, or it has no such modality.
        """

    def explain(self) -> dict[str, Any]:
        """What the fitted model weighs how, JSON-able."""


def physical(domain: DomainWindows, scaled_BLNVX: NDArray[np.float32], origin: bool) -> NDArray[np.float32]:
    """Scaled numbers of the target variables in physical units; `origin` False for differences.

    Args:
        domain: Gives scaler and targets.
        scaled_BLNVX: (B, L, N, target, any).
        origin: Whether the numbers are values rather than differences of values.
    """
    targets = list(domain.targets)
    scale = domain.scaler.scale_NV[:, targets][:, :, None]
    center = domain.scaler.center_NV[:, targets][:, :, None]
    return (scaled_BLNVX * scale + (center if origin else np.float32(0))).astype(np.float32)


def bounded(domain: DomainWindows, quantiles_BLNVQ: NDArray[np.float32]) -> NDArray[np.float32]:
    """Quantiles cut to the variables' bounds, in order along Q."""
    inside = in_order(quantiles_BLNVQ.astype(np.float32))
    return np.clip(inside, *bounds_of(domain)[:, :, None], out=inside)


def within(domain: DomainWindows, terms_BLNVP: NDArray[np.float32]) -> NDArray[np.float32]:
    """What each term changes in a number that is kept within its variable's bounds: the term itself where no running sum leaves them."""
    kept = np.clip(terms_BLNVP.cumsum(-1, dtype=np.float64), *bounds_of(domain)[:, :, None])
    changed: NDArray[np.float32] = np.diff(kept, prepend=0.0).astype(np.float32)
    return changed


def bounds_of(domain: DomainWindows) -> NDArray[np.float32]:
    """(2, target): the lower and the upper bound of each target, infinite where it has none."""
    targets = list(domain.targets)
    found: NDArray[np.float32] = np.stack(
        [np.nan_to_num(domain.lower_V[targets], nan=-np.inf), np.nan_to_num(domain.upper_V[targets], nan=np.inf)]
    )
    return found

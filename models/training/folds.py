"""Which windows of a domain train, and which choose its best epoch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.contracts.windows import DomainWindows

_SHARE = 8


@dataclass(frozen=True, kw_only=True, eq=False)
class Folds:
    """Indices of windows, in time order.

    Attributes:
        train, validation: Windows that train, and those that choose the best epoch.
        borrowed: The validation fold is empty, so that the last eighth of the training windows stands in for it.
    """

    train: NDArray[np.int64]
    validation: NDArray[np.int64]
    borrowed: bool


def folds_of(domain: DomainWindows) -> Folds:
    """The folds of a domain; no target of a training window lies after the first validation window's issue."""
    train, validation = domain.windows_of("train"), domain.windows_of("validation")
    if len(validation) or not len(train):
        return Folds(train=train, validation=validation, borrowed=False)
    held = train[-max(1, len(train) // _SHARE) :]
    before = domain.end_W[train] + domain.horizon <= domain.end_W[held[0]]
    return Folds(train=train[before], validation=held, borrowed=True)

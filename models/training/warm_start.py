"""Weights of an earlier model as the start of a training: by name, by node where nodes came or went, by modality."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.config import ModelConfig, config_from
from models.joint import modalities_of
from models.shapes import DomainShape, TextShape
from models.state import Fitted, opened, read_shapes, read_texts

_PER_NODE = ("node_ND", "alpha_logit", "beta_logit")
"""Parameters with one row per node of their domain."""

_PER_MODALITY = ("w_x", "w_y")
"""Parameters with one row per modality of their domain."""

Array = NDArray[np.float32]


class Earlier:
    """An earlier joint model, to be gone on from.

    Raises:
        ContractError: It is of another kind, or of a version that this one does not read.
    """

    def __init__(self, fitted: Fitted) -> None:
        self._meta, self._arrays = opened(fitted.state, fitted.meta, "joint")
        self._shapes, self._texts = read_shapes(self._meta, self._arrays), read_texts(self._meta)
        self._config = config_from(self._meta["config"])

    def carried(
        self,
        parameters: Mapping[str, Tensor],
        shapes: Mapping[str, DomainShape],
        texts: Mapping[str, TextShape],
        config: ModelConfig,
        member: int,
    ) -> dict[str, Tensor]:
        """The parameters of a new model that this one holds too; a node it did not know starts as its nodes' mean.

        What all domains read of one (its summary) comes from the domain that was trained for longest.
        """
        best, found = self._meta["best"], {}
        longest = sorted(self._meta["leading"], key=lambda d: (-best[d]["epoch"], d))
        for name, fresh in parameters.items():
            kind, owner, *rest = name.split(".")
            holders = [owner] if kind == "nets" else longest
            held = next((self._arrays[key] for d in holders if (key := f"weights/{d}/{name}") in self._arrays), None)
            if held is None:
                continue
            if self._config.members > 1:
                held = held[member % self._config.members]
            if rest[-1] in _PER_NODE:
                held = _by_name(held, self._shapes[owner].node_ids, shapes[owner].node_ids, held.mean(axis=0))
            if rest[-1] in _PER_MODALITY:
                names = modalities_of(owner, self._shapes, self._texts, self._config), modalities_of(owner, shapes, texts, config)
                held = _by_name(held, *names, np.zeros(held.shape[1:], np.float32))
            if held.shape == tuple(fresh.shape):
                found[name] = torch.from_numpy(np.array(held, np.float32))
        return found


def _by_name(rows: Array, before: Sequence[str], now: Sequence[str], else_: Array) -> Array:
    """The row of each name of now; `else_` where it had none before."""
    if tuple(before) == tuple(now):
        return rows
    place = {name: i for i, name in enumerate(before)}
    chosen = [rows[place[name]] if name in place else else_ for name in now]
    return np.stack(chosen).astype(np.float32) if chosen else np.zeros((0, *rows.shape[1:]), np.float32)

"""Weights of an earlier model as the start of a training: by name, and by node where nodes came or went."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from models.shapes import DomainShape
from models.state import Fitted, read_shapes, unpack

_PER_NODE = ("node_ND", "alpha_logit", "beta_logit")
"""Parameters with one row per node of their domain."""


def carried(parameters: Mapping[str, Tensor], shapes: Mapping[str, DomainShape], earlier: Fitted) -> dict[str, Tensor]:
    """The parameters of a new model that an earlier one holds too; a node it did not know starts as its nodes' mean.

    What all domains read of one (its summary) comes from the domain that was trained for longest.

    Raises:
        ContractError: The earlier model is of another kind or version.
    """
    arrays = unpack(earlier.state)
    before = read_shapes(earlier.meta, arrays, "joint")
    leading = sorted(earlier.meta["leading"], key=lambda d: (-earlier.meta["best"][d]["epoch"], d))
    found = {}
    for name, fresh in parameters.items():
        kind, domain, *rest = name.split(".")
        holders = [domain] if kind == "nets" else leading
        held = next((arrays[key] for d in holders if (key := f"weights/{d}/{name}") in arrays), None)
        if held is None or domain not in before:
            continue
        if rest[-1] in _PER_NODE:
            held = _by_node(held, before[domain].node_ids, shapes[domain].node_ids)
        if held.shape == tuple(fresh.shape):
            found[name] = torch.from_numpy(np.array(held, np.float32))
    return found


def _by_node(rows: np.ndarray, before: tuple[str, ...], now: tuple[str, ...]) -> np.ndarray:
    if before == now:
        return rows
    place = {node: i for i, node in enumerate(before)}
    usual = rows.mean(axis=0)
    return np.stack([rows[place[node]] if node in place else usual for node in now]).astype(np.float32)

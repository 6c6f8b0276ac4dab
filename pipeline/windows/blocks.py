"""A domain's windows put together from a few nodes at a time, so that only what is at hand need fit in memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.contracts.windows import DomainWindows

Keep = Callable[[str, tuple[int, ...], "np.dtype[Any]"], NDArray[Any]]
"""Makes an array, such as one that lies in a file: its name, shape and type."""

_BY_NODE = (
    "values_TNV",
    "good_TNV",
    "latency_TNV",
    "history_TNVK",
    "history_good_TNVK",
    "coarse_TNV",
    "coarse_good_TNV",
)
_BY_PATCH = ("patch_step", "patch_node", "patch_variable", "patch_value", "patch_known_time", "patch_gone_time")


def in_blocks(part_of: Callable[[slice], DomainWindows], nodes: int, at_once: int, keep: Keep) -> DomainWindows:
    """The windows of all nodes in arrays made by `keep`; what is neither by node nor a patch is that of the last part.

    Args:
        part_of: The windows of some of the nodes.
        nodes: How many there are.
        at_once: How many nodes a part has.
        keep: Makes each whole array.
    """
    whole: dict[str, Any] = {}
    patches: dict[str, list[NDArray[Any]]] = {name: [] for name in _BY_PATCH}
    for low in range(0, nodes, at_once):
        part = part_of(slice(low, min(low + at_once, nodes)))
        for name in _BY_NODE:
            own = getattr(part, name)
            if name not in whole:
                whole[name] = keep(f"{part.domain}.{name}", (own.shape[0], nodes, *own.shape[2:]), own.dtype)
            whole[name][:, low : low + at_once] = own
        for name in _BY_PATCH:
            own = getattr(part, name)
            patches[name].append(own + own.dtype.type(low) if name == "patch_node" else own)
        part = replace(part, **whole)  # else a part stays while the next is made
    changes = whole | {name: np.concatenate(parts) for name, parts in patches.items()}
    order = np.lexsort(tuple(changes[k] for k in ("patch_known_time", "patch_variable", "patch_node", "patch_step")))
    changes |= {name: changes[name][order] for name in _BY_PATCH}
    start_T = np.searchsorted(changes["patch_step"], np.arange(len(part.valid_time_T) + 1), side="left").astype(np.int64)
    return replace(part, patch_start_T=start_T, **changes)


def bytes_per_cell(history: int, coarse: bool) -> int:
    """Of a domain's arrays: values, masks and latencies, so many summaries of the past with theirs, and coarse means."""
    return 9 + 5 * history + (5 if coarse else 0)

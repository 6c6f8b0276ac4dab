"""Occlusion: the same windows with some inputs hidden, as if they had never arrived; and regions of nodes to hide.

Shape suffixes: T axis steps, N node.
"""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from pipeline.contracts.cubes import NEVER
from pipeline.contracts.windows import DomainWindows, WindowSet


def without_cells(windows: WindowSet, domain: str, first: int, stop: int, nodes: NDArray[np.int64] | None = None) -> WindowSet:
    """The windows without the values of a domain at the axis steps first .. stop - 1, of all nodes or of some."""
    view = windows.domains[domain]
    at_N = np.arange(len(view.node_ids)) if nodes is None else nodes
    values, good, latency = view.values_TNV.copy(), view.good_TNV.copy(), view.latency_TNV.copy()
    values[first:stop, at_N], good[first:stop, at_N], latency[first:stop, at_N] = 0, False, NEVER
    keep = ~((view.patch_step >= first) & (view.patch_step < stop) & np.isin(view.patch_node, at_N))
    step = view.patch_step[keep]
    return _with(
        windows,
        replace(
            view,
            values_TNV=values,
            good_TNV=good,
            latency_TNV=latency,
            patch_start_T=np.searchsorted(step, np.arange(len(view.valid_time_T) + 1)).astype(view.patch_start_T.dtype),
            patch_step=step,
            **{
                name: getattr(view, name)[keep]
                for name in ("patch_node", "patch_variable", "patch_value", "patch_known_time", "patch_gone_time")
            },
        ),
    )


def without_history(windows: WindowSet, domain: str) -> WindowSet:
    """The windows without a domain's summaries of earlier seasons and of its long past."""
    view = windows.domains[domain]
    return _with(
        windows,
        replace(
            view,
            history_TNVK=np.zeros_like(view.history_TNVK),
            history_good_TNVK=np.zeros_like(view.history_good_TNVK),
            coarse_TNV=np.zeros_like(view.coarse_TNV),
            coarse_good_TNV=np.zeros_like(view.coarse_good_TNV),
        ),
    )


def blocks_of(view: DomainWindows, most: int) -> list[tuple[int, int]]:
    """The context in at most so many blocks of steps, oldest first: offsets from the newest step, (oldest, newest), counted back."""
    edges = np.unique(np.linspace(0, view.context, min(most, view.context) + 1).round().astype(int))
    return [(int(b), int(a)) for a, b in itertools.pairwise(edges)][::-1]


def regions_of(view: DomainWindows, most: int) -> NDArray[np.int64]:
    """The region of each node (N), of at most so many of about equal size; all -1 where places are unknown or there is one node."""
    count = len(view.node_ids)
    if count < 2 or (view.position_N2 == view.position_N2[:1]).all():
        return np.full(count, -1)
    groups = [np.arange(count)]
    while len(groups) < min(most, count):
        groups.sort(key=len)
        largest = groups.pop()
        if len(largest) < 2:
            groups.append(largest)
            break
        axis = int(np.ptp(view.position_N2[largest], axis=0).argmax())
        ordered = largest[np.argsort(view.position_N2[largest, axis], kind="stable")]
        groups += [ordered[: len(ordered) // 2], ordered[len(ordered) // 2 :]]
    region_N = np.empty(count, np.int64)
    for number, group in enumerate(sorted(groups, key=lambda g: int(g.min()))):
        region_N[group] = number
    return region_N


def _with(windows: WindowSet, view: DomainWindows) -> WindowSet:
    return replace(windows, domains={**windows.domains, view.domain: view})

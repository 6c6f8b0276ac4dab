"""Excerpts: the arrays that some windows need, copied out of arrays that need not fit in memory.

Shape suffixes: T axis steps, W windows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.documents import spans as indices
from pipeline.contracts.windows import DomainWindows, Future

Span = tuple[int, int]
"""Axis steps from the first to before the second."""

_BY_STEP = tuple(f.name for f in fields(DomainWindows) if f.name.endswith(("_T", "_TNV", "_TNVK")) and f.name != "patch_start_T")
_BY_WINDOW = ("issue_time_W", "end_W", "fold_W")
_BY_PATCH = ("patch_step", "patch_node", "patch_variable", "patch_value", "patch_known_time", "patch_gone_time")


def spans_of(domain: DomainWindows, chunks: Sequence[tuple[float, float]]) -> list[Span]:
    """The steps that windows issued within these chunks of time need, theirs and those of other domains; none twice.

    Args:
        domain: Its axis, context, coarse means and horizon.
        chunks: Instants (seconds UTC) from the first to before the second, in time order.
    """
    back = max(domain.context, domain.coarse_steps * domain.coarse_count) + 1
    found: list[Span] = []
    for start, stop in chunks:
        low = max(0, int(np.searchsorted(domain.valid_time_T, start)) - back)
        high = min(len(domain.valid_time_T), int(np.searchsorted(domain.valid_time_T, stop)) + domain.horizon + 1)
        if found and low <= found[-1][1]:
            found[-1] = found[-1][0], max(high, found[-1][1])
        elif low < high:
            found.append((low, high))
    return found


def excerpt(domain: DomainWindows, kept: Sequence[Span], index_W: NDArray[np.int64]) -> DomainWindows:
    """The domain with only these steps and windows, in memory; each window gathers from it what it gathers from all."""
    low, high = (np.array([span[side] for span in kept], np.int64) for side in (0, 1))
    offset = np.cumsum(high - low) - (high - low)

    def moved(step: NDArray[Any]) -> NDArray[np.int32]:
        span = np.searchsorted(low, step, side="right") - 1
        place: NDArray[np.int32] = (step - low[span] + offset[span]).astype(np.int32)
        return place

    changes: dict[str, Any] = {
        name: np.concatenate([np.asarray(getattr(domain, name)[a:b]) for a, b in kept]) if kept else np.asarray(getattr(domain, name)[:0])
        for name in _BY_STEP
    }
    changes |= {name: np.asarray(getattr(domain, name)[index_W]) for name in _BY_WINDOW}
    changes["end_W"] = moved(changes["end_W"])
    _, record = indices(domain.patch_start_T[low], domain.patch_start_T[high])
    counts = [np.diff(domain.patch_start_T[a : b + 1]) for a, b in kept]
    changes["patch_start_T"] = np.cumsum(np.concatenate([[0], *counts])).astype(np.int64)
    changes |= {name: np.asarray(getattr(domain, name)[record]) for name in _BY_PATCH}
    changes["patch_step"] = moved(changes["patch_step"])
    if domain.future is not None:
        shift_W = changes["end_W"].astype(np.int64) - domain.end_W[index_W]
        changes["future"] = _runs(domain.future, domain.future.run_W[index_W].astype(np.int64), shift_W)
    return replace(domain, **changes)


def _runs(future: Future, run_W: NDArray[np.int64], shift_W: NDArray[np.int64]) -> Future:
    """The runs that windows need; one for each way in which the steps of its windows have moved."""
    there = run_W >= 0
    known, place = np.unique(np.stack([run_W[there], shift_W[there]]), axis=1, return_inverse=True)
    runs, shift = known
    again = np.full(len(run_W), -1, np.int32)
    again[there] = place.ravel()
    by_run = ("init_time_I", "available_time_I", "values_IHNF", "good_IHNF")
    own: dict[str, Any] = {name: np.asarray(getattr(future, name)[runs]) for name in by_run}
    return replace(future, run_W=again, first_step_I=(future.first_step_I[runs] + shift).astype(np.int32), **own)

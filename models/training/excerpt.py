"""Excerpts: the arrays that some windows need, copied out of arrays that need not fit in memory.

Shape suffixes: T axis steps, W windows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.documents import spans as indices
from models.newest import newest_bytes
from pipeline.contracts.windows import DomainWindows, Future, WindowSet

Span = tuple[int, int]
"""Axis steps from the first to before the second."""
Drawn = tuple[NDArray[np.int64], int]
"""Issue times in order, and how many of them at most."""

_BY_STEP = tuple(f.name for f in fields(DomainWindows) if f.name.endswith(("_T", "_TNV", "_TNVK")) and f.name != "patch_start_T")
_BY_WINDOW = ("issue_time_W", "end_W", "fold_W")
_BY_PATCH = ("patch_step", "patch_node", "patch_variable", "patch_value", "patch_known_time", "patch_gone_time")


@dataclass(frozen=True, kw_only=True)
class Layout:
    """What of arrays that need not fit in memory is there at once: some domains whole, of the others so many steps.

    Attributes:
        whole: Domains that are small; their windows come from all of time, as where all arrays are in memory.
        share: The share of time that is in memory of the others.
        reach: Newest steps that others see of each domain.
        rows: At most so many steps of each domain that is not whole.
    """

    whole: tuple[str, ...]
    share: float
    reach: Mapping[str, int]
    rows: Mapping[str, int]

    def bytes_of(self, windows: WindowSet) -> int:
        """Bytes in memory, while the next are read beside those that are used."""
        sizes = {name: array_bytes(domain) + newest_bytes(domain.values_TNV.size) for name, domain in windows.domains.items()}
        parts = {name: min(1.0, rows / max(1, len(windows.domains[name].valid_time_T))) for name, rows in self.rows.items()}
        return sum(sizes[name] for name in self.whole) + 2 * int(sum(sizes[name] * part for name, part in parts.items()))


def layout_of(windows: WindowSet, drawn: Mapping[str, Drawn], share: float, reach: Mapping[str, int]) -> Layout:
    """Small domains whole: together they take no more than a pool of chunks does, and so does what their windows see of the others.

    Args:
        windows: All arrays.
        drawn: Issue times of each leading domain's training windows, and how many of them a pool takes at most.
        share: Of time, in a pool of chunks.
        reach: Newest steps that others see of each domain.
    """
    sizes = {name: array_bytes(domain) for name, domain in windows.domains.items()}
    steps = {name: int(len(domain.valid_time_T) * share) for name, domain in windows.domains.items()}

    def seen(name: str, by: Sequence[str]) -> int:
        axis, own = windows.domains[name].valid_time_T, reach.get(name, 0)
        inside = (
            (drawn[d], np.searchsorted(drawn[d][0], (axis[0], axis[-1] + own * windows.domains[name].step_seconds)))
            for d in by
            if d in drawn
        )
        return sum(min(most, int(stop - start)) for (_, most), (start, stop) in inside) * (own + 1) if len(axis) else 0

    whole: list[str] = []
    for name in sorted(sizes, key=lambda name: (sizes[name], name)):
        more = [*whole, name]
        if sum(sizes[k] for k in more) <= share * sum(sizes.values()) and all(seen(k, more) <= steps[k] for k in sizes if k not in more):
            whole = more
    rows = {k: steps[k] + seen(k, whole) for k in sizes if k not in whole}
    return Layout(whole=tuple(whole), share=share, reach=reach, rows=rows)


def array_bytes(content: object) -> int:
    """Bytes of all arrays in a window set or a part of it."""
    if isinstance(content, np.ndarray):
        return int(content.nbytes)
    if isinstance(content, Mapping):
        return sum(array_bytes(value) for value in content.values())
    if is_dataclass(content):
        return sum(array_bytes(getattr(content, f.name)) for f in fields(content))
    return 0


def spans_of(
    domain: DomainWindows, chunks: Sequence[tuple[float, float]], lone: NDArray[np.int64] | None = None, reach: int = 0
) -> list[Span]:
    """The steps that windows issued within these chunks of time need, theirs and those of other domains; none twice.

    Args:
        domain: Its axis, context, coarse means and horizon.
        chunks: Instants (seconds UTC) from the first to before the second.
        lone: Instants at which another domain's windows see the newest `reach` steps.
        reach: Steps.
    """
    axis, back = domain.valid_time_T, max(domain.context, domain.coarse_steps * domain.coarse_count) + 1
    found = [(int(np.searchsorted(axis, start)) - back, int(np.searchsorted(axis, stop)) + domain.horizon + 1) for start, stop in chunks]
    ends = () if lone is None else np.unique(np.searchsorted(axis, lone, side="right"))
    found += [(int(end) - reach, int(end)) for end in ends]
    merged: list[Span] = []
    for low, high in sorted((max(0, low), min(len(axis), high)) for low, high in found):
        if merged and low <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(high, merged[-1][1])
        elif low < high:
            merged.append((low, high))
    return merged


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

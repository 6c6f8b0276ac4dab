"""Folds: train, validation and test in this order of time; no window reaches from one into the next."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.alignment.time_grid import axis, step_seconds
from pipeline.contracts.times import to_seconds
from pipeline.contracts.windows import FOLD_CODES
from pipeline.contracts.worlds import World
from pipeline.windows.index import issue_lag

GAP = -1
"""Code of a window that belongs to no fold."""


def fold_boundaries(world: World, domain: str, as_of: int) -> tuple[int, int]:
    """The instants (seconds UTC) at which validation and test begin, by the shares of [start, as_of].

    A domain with folds of its own counts from its own start; all others share the world's boundaries, so that nothing
    that one learns from is what another is tested on.
    """
    own = world.domains[domain].folds
    start, shares = (to_seconds(world.start), world.folds) if own is None else (to_seconds(world.domain_start(domain)), own)
    span = max(as_of - start, 0)
    return start + round(span * shares.train), start + round(span * (shares.train + shares.validation))


def fold_codes(
    issue_time_W: NDArray[np.int64], last_target_W: NDArray[np.int64], boundaries: tuple[int, int], as_of: int
) -> NDArray[np.int8]:
    """(window,) FOLD_CODES; a window whose targets reach beyond its fold is in the gap, -1.

    Args:
        issue_time_W: When each window is issued.
        last_target_W: `valid_time` of its last target.
        boundaries: From `fold_boundaries`.
        as_of: Targets later than this are not known yet.
    """
    first, second = boundaries
    train = (issue_time_W < first) & (last_target_W <= first)
    validation = (issue_time_W >= first) & (last_target_W <= second)
    test = (issue_time_W >= second) & (last_target_W <= as_of)
    codes = [FOLD_CODES["train"], FOLD_CODES["validation"], FOLD_CODES["test"]]
    return np.select([train, validation, test], codes, GAP).astype(np.int8)


def judged(world: World, domain: str, newest_W: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which windows a candidate is judged by, of those whose newest steps (seconds UTC) are these: `PromotionRules.every`."""
    every = world.promotion.every
    if every is None or every.total_seconds() <= step_seconds(world.domains[domain].clock):
        return np.ones(len(newest_W), bool)
    found: NDArray[np.bool_] = (newest_W - to_seconds(world.domain_start(domain))) % int(every.total_seconds()) == 0
    return found


def expected_windows(
    world: World, domain: str, *, first: int, since: int, as_of: int, until: int | None = None, all_of_them: bool = True
) -> int:
    """How many windows the clock says there are, issued from `since` (to before `until`) on, whose last target is not after `as_of`.

    `first` is the axis's first step; all in seconds UTC. Counted from the clock alone, so that a window that was never
    made is missed; `all_of_them` False for those that a candidate is judged by.
    """
    declared = world.domains[domain]
    labels = axis(declared.clock, first, as_of)
    issue = labels + issue_lag(world, domain)
    end = np.searchsorted(labels, issue, side="right") - 1
    last = as_of if until is None else min(as_of, until - 1)
    wanted = np.ones(len(labels), bool) if all_of_them else judged(world, domain, labels[end])
    return int((wanted & (issue >= since) & (issue <= last) & (end >= declared.context - 1) & (end + declared.horizon < len(labels))).sum())

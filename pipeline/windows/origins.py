"""Rolling origins: test blocks one after the other, each behind a gap that keeps what is learned from away from it.

*Purge*: a window whose targets reach beyond the cut-off is not learned from. *Embargo*: the cut-off lies so long before the
block. Together no cell that a model of an origin learned from lies within the embargo before its block, or later.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.alignment.time_grid import steps_ahead
from pipeline.contracts.windows import FOLD_CODES
from pipeline.contracts.worlds import Folds, World
from pipeline.windows.folds import GAP, fold_boundaries
from pipeline.windows.maturity import label_maturity


@dataclass(frozen=True, kw_only=True)
class Origin:
    """One origin, in seconds UTC.

    Attributes:
        number: From 1.
        cut_off: As of when its model is trained: data, statistics and labels.
        begin: The first issue time of its block.
        end: Where its block ends; this instant is left out.
        settled: When all labels of the block are known.
    """

    number: int
    cut_off: int
    begin: int
    end: int
    settled: int


def plan_origins(world: World, first: int, last: int, count: int, embargo: int) -> tuple[Origin, ...]:
    """Blocks of equal length from `first` to before `last`, which together hold every instant once (seconds UTC).

    Labels of the cut-off must be whole at the block's begin: an embargo shorter than their maturity is that long.
    """
    gap = max(embargo, label_maturity(world))
    edges = [first + round((last - first) * k / count) for k in range(count + 1)]
    return tuple(
        Origin(number=k + 1, cut_off=edges[k] - gap, begin=edges[k], end=edges[k + 1], settled=_settled(world, edges[k + 1]))
        for k in range(count)
    )


def learning_world(world: World) -> World:
    """The same world whose folds leave nothing to test on: what its test fold would be lies in the block."""
    domains = {name: d.model_copy(update={"folds": _learning(d.folds)}) if d.folds else d for name, d in world.domains.items()}
    return world.model_copy(update={"folds": _learning(world.folds), "domains": domains})


def block_codes(
    learning: World, domain: str, issue_time_W: NDArray[np.int64], last_target_W: NDArray[np.int64], origin: Origin
) -> NDArray[np.int8]:
    """(window,) FOLD_CODES of an origin: train and validation as its model had them, test is the block, the rest the gap, -1.

    Args:
        learning: From `learning_world`.
        domain: Whose windows.
        issue_time_W: When each window is issued.
        last_target_W: `valid_time` of its last target.
        origin: The origin.
    """
    validated = fold_boundaries(learning, domain, origin.cut_off)[0]
    learned = last_target_W <= origin.cut_off
    train = (issue_time_W < validated) & (last_target_W <= validated) & learned
    validation = (issue_time_W >= validated) & learned
    test = (issue_time_W >= origin.begin) & (issue_time_W < origin.end) & (last_target_W <= origin.settled)
    codes = [FOLD_CODES["train"], FOLD_CODES["validation"], FOLD_CODES["test"]]
    return np.select([train, validation, test], codes, GAP).astype(np.int8)


def _learning(folds: Folds) -> Folds:
    share = folds.train / (folds.train + folds.validation)
    return folds.model_copy(update={"train": share, "validation": 1 - share, "test": 0.0})


def _settled(world: World, end: int) -> int:
    return max(
        int(steps_ahead(domain.clock, end, domain.horizon)[-1]) + label_maturity(world, name) for name, domain in world.domains.items()
    )

"""Calibration: how outcomes have lain in the forecasts of one model for one domain, and what follows for the next ones.

Conformal: a quantile is put where that share of past outcomes lay below it, told apart by lead, node group and
availability, after scores were divided by how far the outcomes of their node and their part of the day usually lie.
Evidence is counted in time, not in cells, for cells of one day err together; little of it borrows from its parents, and at
last from the model's own quantiles. Past outcomes fade, and what still misses on the whole is made up by one factor per
variable. All of it is additive and as of.

Shape suffixes: V variable, L lead, G node group, R availability, B bin, Q quantile, N node, H part of the local day,
E event, P bin of probability.
Source: Romano et al. 2019 (conformalised quantile regression), Papadopoulos et al. 2011 (scores divided by their usual size),
Vovk et al. 2020 (conformal calibrators), Barber et al. 2023 (weights that fade), Gibbs and Candes 2021 and Angelopoulos
et al. 2023 (feedback from misses).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from pipeline.calibration.normal_scores import BINS, EDGE, PER_UNIT, score_at, share_below
from pipeline.contracts.forecasts import MEDIAN, QUANTILES

FADES = 20.0
"""Half-life of a past outcome, in units of `Pace.unit`."""
BORROWED = 2.0
"""Units of time's worth of its parent that a group of outcomes begins with."""
BORROWED_WIDTH = 1.0
"""The same of the width of all, which is one number and soon known."""
BORROWED_LEAD = 10.0
"""The same of what tells a lead or a node group from all."""
LOCAL = 0.5
"""Power of the usual size of scores by which they are divided."""
FARTHEST = 3.0
"""Scores of this size or more count as this in the usual size."""
DRIFT_GAIN = 8.0
DRIFT_EASE = 10.0
"""Logarithm of the factor on all scores per unit of miscoverage, averaged over the 80 % and 90 % intervals, and the units of
perfect coverage that its memory starts with."""
ENOUGH = 16
"""Cells of a group from which on a window counts as whole, and nodes from which on time does; fewer count by the square root."""
TRUST_BINS = 20
"""Bins of the foretold probability of an event."""

_LEAST_USUAL = 0.2
_LEFT = np.arange(len(QUANTILES)) < MEDIAN
_WATCHED = tuple((q, QUANTILES[q] if q < MEDIAN else 1 - QUANTILES[q]) for q in (0, 1, len(QUANTILES) - 2, len(QUANTILES) - 1))
_STANDARD: NDArray[np.float64] = np.diff(ndtr(np.concatenate([[-np.inf], -EDGE + np.arange(BINS - 1) / PER_UNIT, [np.inf]])))
"""The share of a standard normal in each bin: what scores of a model that needs no calibration look like."""


@dataclass(frozen=True, kw_only=True)
class Shape:
    """How many there are of each that outcomes are told apart by."""

    variables: int
    leads: int
    groups: int
    regimes: int
    nodes: int
    hours: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Cases:
    """Outcomes of some windows of one block: additive.

    Attributes:
        mass_VLGRB: Outcomes by the bin of their score over its usual size.
        seen_VLGR: Evidence of each group, in units of time; a window with few cells counts by its share of `ENOUGH`.
        span_V: Evidence of all groups together.
        size_VN, seen_VN: Sizes of scores by node, weighted by the evidence, and that evidence.
        size_VH, seen_VH: The same by part of the local day.
        told_EP, came_EP, sum_EP: Per bin of the foretold probability of an event: evidence, that of the cells in which it
            happened, and its product with the probabilities.
    """

    mass_VLGRB: NDArray[np.float64]
    seen_VLGR: NDArray[np.float64]
    span_V: NDArray[np.float64]
    size_VN: NDArray[np.float64]
    seen_VN: NDArray[np.float64]
    size_VH: NDArray[np.float64]
    seen_VH: NDArray[np.float64]
    told_EP: NDArray[np.float64]
    came_EP: NDArray[np.float64]
    sum_EP: NDArray[np.float64]

    @staticmethod
    def none(shape: Shape, events: int) -> Cases:
        """No outcome at all."""
        cells = (shape.variables, shape.leads, shape.groups, shape.regimes)
        by_node, by_hour = ((shape.variables, count) for count in (shape.nodes, shape.hours))
        shapes = ((*cells, BINS), cells, cells[:1], by_node, by_node, by_hour, by_hour, *([(events, TRUST_BINS)] * 3))
        return Cases(**{name: np.zeros(of) for name, of in zip(_FIELDS, shapes, strict=True)})

    def __add__(self, other: Cases) -> Cases:
        return Cases(**{name: getattr(self, name) + getattr(other, name) for name in _FIELDS})

    def faded(self, factor: float) -> Cases:
        """The same, each outcome worth less."""
        return Cases(**{name: factor * getattr(self, name) for name in _FIELDS})


_FIELDS = tuple(field.name for field in fields(Cases))


@dataclass(frozen=True, kw_only=True, eq=False)
class Calibration:
    """What is known after some blocks of time, each absorbed once and in order.

    Attributes:
        block: The last block absorbed.
        events: Names of E.
        cases: Their outcomes, faded.
        missed_V: Memory of misses: miscoverage times the evidence for it, faded as that is.
    """

    block: int
    events: tuple[str, ...]
    cases: Cases
    missed_V: NDArray[np.float64]

    @staticmethod
    def start(block: int, shape: Shape, events: Sequence[str]) -> Calibration:
        """Before any outcome; `block` is the one before the first."""
        cases = Cases.none(shape, len(events))
        return Calibration(block=block, events=tuple(events), cases=cases, missed_V=np.zeros(shape.variables))

    def absorbed(self, cases: Cases, units: float, in_force: Calibration) -> Calibration:
        """With the outcomes of the next block, `units` long, whose forecasts were made with the one `in_force`."""
        kept = 0.5 ** (units / FADES)
        missed = kept * self.missed_V + cases.span_V * in_force._missed(cases)
        return replace(self, block=self.block + 1, cases=self.cases.faded(kept) + cases, missed_V=missed)

    @property
    def empty(self) -> bool:
        """Whether there is no outcome yet: then quantiles are left as the model gives them."""
        return not self.cases.seen_VLGR.any()

    @cached_property
    def factor(self) -> NDArray[np.float64]:
        """(V) What all scores are multiplied with, because of misses: above 1 where intervals were too narrow."""
        return np.exp(DRIFT_GAIN * self.missed_V / (self.cases.span_V + DRIFT_EASE))

    @cached_property
    def usual(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(V, N) and (V, H): what scores are divided by at a node and a part of the day: their usual size over that of all, to the power `LOCAL`."""
        return _usual(self.cases.size_VN, self.cases.seen_VN), _usual(self.cases.size_VH, self.cases.seen_VH)

    @cached_property
    def shares(self) -> NDArray[np.float64]:
        """(V, L, G, R, B) The distribution of scores of each group of cases; few cases filled up from (lead, availability), availability, all."""
        mass, seen, span = self.cases.mass_VLGRB, self.cases.seen_VLGR, self.cases.span_V
        seen_VLR, every = np.minimum(seen.sum(2), span[:, None, None]), mass.sum((1, 2, 3))
        even = _filled(every + every[:, ::-1], span, np.broadcast_to(_STANDARD, every.shape), BORROWED_WIDTH)
        whole = _filled(every, span, even, BORROWED)
        by_R = _filled(mass.sum((1, 2)), seen_VLR.mean(1), whole[:, None], BORROWED)
        by_LR = _filled(mass.sum(2), seen_VLR, by_R[:, None], BORROWED_LEAD)
        return by_LR[:, :, None] if seen.shape[2] == 1 else _filled(mass, seen, by_LR[:, :, None], BORROWED_LEAD)

    @cached_property
    def scores(self) -> NDArray[np.float64]:
        """(V, L, G, R, Q) The score at which each quantile is to be put."""
        found = np.stack([score_at(self.shares, np.full(self.shares.shape[:-1], level)) for level in QUANTILES], axis=-1)
        found = np.where(_LEFT, np.minimum(found, 0), np.maximum(found, 0)) * self.factor[:, None, None, None, None]
        found[..., MEDIAN] = 0
        return found

    def _missed(self, cases: Cases) -> NDArray[np.float64]:
        """(V) by how much too many outcomes lay outside its 80 % and 90 % intervals, on average; 0 where there were none."""
        total_V = cases.mass_VLGRB.sum((1, 2, 3, 4))
        excess = np.zeros(len(total_V))
        for q, allowed in _WATCHED:
            below = share_below(cases.mass_VLGRB, self.scores[..., q])
            outside = below if q < MEDIAN else cases.mass_VLGRB.sum(-1) - below
            excess += (outside.sum((1, 2, 3)) / np.maximum(total_V, 1) - allowed) / 2
        return np.where(total_V > 0, excess, 0)


def _filled(mass_B: NDArray[np.float64], seen: NDArray[np.float64], parent_B: NDArray[np.float64], borrowed: float) -> NDArray[np.float64]:
    """Shares of a histogram that begins with so many units' worth of its parent."""
    shares = mass_B / np.maximum(mass_B.sum(-1, keepdims=True), 1e-12)
    found: NDArray[np.float64] = (seen[..., None] * shares + borrowed * parent_B) / (seen[..., None] + borrowed)
    return found


def _usual(size_X: NDArray[np.float64], seen_X: NDArray[np.float64]) -> NDArray[np.float64]:
    """(V, X) The mean size of each over that of all, to the power `LOCAL`; 1 where there is none yet."""
    all_V = size_X.sum(-1, keepdims=True) / np.maximum(seen_X.sum(-1, keepdims=True), 1e-12)
    found = (size_X + BORROWED * all_V) / np.maximum((seen_X + BORROWED) * all_V, 1e-12)
    return np.where(all_V > 0, np.maximum(found, _LEAST_USUAL) ** LOCAL, 1.0)

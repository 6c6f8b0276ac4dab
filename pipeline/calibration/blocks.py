"""Blocks: what forecasts of a domain are told apart by, what a calibration makes of them, and what it learns from their outcomes.

Shape suffixes: W windows, L lead, N node, V target variable, Q quantile, H part of the local day.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pipeline.calibration.calibration import ENOUGH, FARTHEST, TRUST_BINS, Calibration, Cases, Shape
from pipeline.calibration.normal_scores import BINS, bins_of, moved, normal_scores
from pipeline.calibration.warnings import believed, foretold, trust_bins, trusted
from pipeline.contracts.forecasts import MEDIAN, QUANTILES
from pipeline.contracts.judging import AVAILABILITY_LABELS, Event
from pipeline.verification.events import event_probability, happened

_CELLS = 16_384
"""So many (window, lead, node) at a time."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Conditions:
    """What is known of some windows at their issue times, by which their outcomes are told apart.

    Attributes:
        availability_WN: The regime of each node.
        hour_WL: The part of the local day that each valid time lies in, 0 where the domain has none.
    """

    availability_WN: NDArray[np.int8]
    hour_WL: NDArray[np.int64]

    def of(self, rows: NDArray[np.bool_] | NDArray[np.int64] | slice) -> Conditions:
        """The same of some of the windows."""
        return Conditions(availability_WN=self.availability_WN[rows], hour_WL=self.hour_WL[rows])


@dataclass(frozen=True, kw_only=True, eq=False)
class Targets:
    """What a domain's calibration is told apart by, and what it must keep to.

    Attributes:
        bounds: Per target variable the least and the greatest value.
        groups, group_N: How many node groups, and each node's.
        leads: Steps ahead.
        hours: Parts of the local day; 1 where there is none.
        window: Units of time that a window stands for.
        events: Events by name, each with the index of its variable.
    """

    bounds: tuple[tuple[float, float], ...]
    groups: int
    group_N: NDArray[np.int64]
    leads: int
    hours: int
    window: float
    events: Mapping[str, tuple[int, Event]]

    @property
    def shape(self) -> Shape:
        """How many there are of each that outcomes are told apart by."""
        return Shape(
            variables=len(self.bounds),
            leads=self.leads,
            groups=self.groups,
            regimes=len(AVAILABILITY_LABELS),
            nodes=len(self.group_N),
            hours=self.hours,
        )

    @property
    def worth(self) -> float:
        """Evidence of a window, in units of time: less where there are few nodes."""
        return self.window * float(np.sqrt(min(ENOUGH, len(self.group_N)) / ENOUGH))

    def codes(self, availability_WN: NDArray[np.int8]) -> NDArray[np.int64]:
        """The row (W, L, N) of (lead, group, availability)."""
        lead_L = np.arange(self.leads)[None, :, None]
        return (lead_L * self.groups + self.group_N) * len(AVAILABILITY_LABELS) + availability_WN[:, None].astype(np.int64)


def published(
    calibration: Calibration, targets: Targets, quantiles_WLNVQ: NDArray[np.float32], conditions: Conditions
) -> NDArray[np.float32]:
    """A model's quantiles as its calibration moves them; the median is left alone."""
    if calibration.empty:
        return quantiles_WLNVQ
    made = np.empty_like(quantiles_WLNVQ)
    tables = [scores.reshape(-1, len(QUANTILES)).T.astype(np.float32) for scores in calibration.scores]
    for part in _parts(quantiles_WLNVQ):
        told = conditions.of(part)
        code = targets.codes(told.availability_WN)
        for v, bounds in enumerate(targets.bounds):
            scores = np.moveaxis(tables[v][:, code] * usual_size(calibration, v, told), 0, -1)
            made[part, ..., v, :] = moved(_by_level(quantiles_WLNVQ[part, ..., v, :]), scores, bounds)
    return made


def _parts(quantiles_WLNVQ: NDArray[np.float32]) -> list[slice]:
    """Pieces of windows whose cells fit a processor's cache."""
    windows, leads, nodes = quantiles_WLNVQ.shape[:3]
    size = max(1, _CELLS // max(1, leads * nodes))
    return [slice(start, start + size) for start in range(0, windows, size)]


def _by_level(quantiles_Q: NDArray[np.float32]) -> NDArray[np.float32]:
    """The same numbers (..., Q), level after level in memory."""
    return np.moveaxis(np.ascontiguousarray(np.moveaxis(quantiles_Q, -1, 0)), 0, -1)


def usual_size(calibration: Calibration, v: int, conditions: Conditions) -> NDArray[np.float32]:
    """(W, L, N) what scores of a variable are divided by: the usual size at their node and part of the day."""
    by_node, by_hour = (usual[v].astype(np.float32) for usual in calibration.usual)
    found: NDArray[np.float32] = by_hour[conditions.hour_WL][..., None] * by_node
    return found


def probabilities(
    calibration: Calibration, targets: Targets, quantiles_WLNVQ: NDArray[np.float32], conditions: Conditions
) -> dict[str, NDArray[np.float32]]:
    """The probability (W, L, N) of each event, from a model's quantiles before they are moved; without evidence what they say."""
    found = {name: np.empty(quantiles_WLNVQ.shape[:3], np.float32) for name in targets.events}
    for part in _parts(quantiles_WLNVQ) if found else ():
        here = conditions.of(part)
        code = targets.codes(here.availability_WN)
        for e, (name, (v, event)) in enumerate(targets.events.items()):
            quantiles = _by_level(quantiles_WLNVQ[part, ..., v, :])
            told = foretold(calibration, v, event, quantiles, code, usual_size(calibration, v, here))
            found[name][part] = believed(calibration, v, event_probability(event, quantiles), trusted(calibration, e, told))
    return found


def cases_of(
    in_force: Calibration,
    targets: Targets,
    quantiles_WLNVQ: NDArray[np.float32],
    conditions: Conditions,
    truth_WLNV: NDArray[np.float32],
    known_WLNV: NDArray[np.bool_],
) -> Cases:
    """What some windows of a block teach: where outcomes that are good and known lay in the model's own quantiles."""
    code = targets.codes(conditions.availability_WN)
    found = Cases.none(targets.shape, len(targets.events))
    rows, whole = found.seen_VLGR[0].size, min(ENOUGH, truth_WLNV.shape[2])
    for v in range(len(targets.bounds)):
        known, usual = known_WLNV[..., v], usual_size(in_force, v, conditions)
        came = np.where(known, truth_WLNV[..., v], quantiles_WLNVQ[..., v, MEDIAN])
        scores = normal_scores(came, quantiles_WLNVQ[..., v, :])
        bins = bins_of(scores / usual)
        found.mass_VLGRB[v] = np.bincount(code[known] * BINS + bins[known], minlength=rows * BINS).reshape(found.mass_VLGRB[v].shape)
        for w in range(len(known)):
            cells = np.bincount(code[w][known[w]], minlength=rows).reshape(found.seen_VLGR.shape[1:])
            found.seen_VLGR[v] += targets.worth * np.minimum(cells, ENOUGH) / whole
            found.span_V[v] += targets.worth * np.minimum(cells.sum((1, 2)), whole).mean() / whole
        _sizes(found, v, targets, np.minimum(np.abs(scores), np.float32(FARTHEST)), known, conditions)
    return replace(found, **_events(found, in_force, targets, quantiles_WLNVQ, conditions, truth_WLNV, known_WLNV))


def _sizes(found: Cases, v: int, targets: Targets, size_WLN: NDArray[np.float32], known: NDArray[np.bool_], conditions: Conditions) -> None:
    """Enter sizes by node, whose leads are one case, and by part of the day, which all nodes share."""
    hour = np.broadcast_to(conditions.hour_WL[..., None], known.shape)[known]
    seen, size = (np.bincount(hour, weights=w, minlength=targets.hours) for w in (None, size_WLN[known].astype(np.float64)))
    for arrays, by_node, by_hour in (
        ((found.seen_VN, found.seen_VH), known.astype(np.float64), seen),
        ((found.size_VN, found.size_VH), np.where(known, size_WLN, 0).astype(np.float64), size),
    ):
        arrays[0][v] = targets.window * by_node.sum(axis=(0, 1)) / targets.leads
        arrays[1][v] = targets.worth * by_hour * targets.hours / known[0].size


def _events(
    found: Cases,
    in_force: Calibration,
    targets: Targets,
    quantiles_WLNVQ: NDArray[np.float32],
    conditions: Conditions,
    truth_WLNV: NDArray[np.float32],
    known_WLNV: NDArray[np.bool_],
) -> dict[str, NDArray[np.float64]]:
    """Told, came and sum of probabilities by bin; `ENOUGH` cells of a window in a bin are its whole worth."""
    code = targets.codes(conditions.availability_WN)
    for e, (v, event) in enumerate(targets.events.values()):
        usual, known = usual_size(in_force, v, conditions), known_WLNV[..., v]
        told = foretold(in_force, v, event, quantiles_WLNVQ[..., v, :], code, usual)
        came, place = happened(event, truth_WLNV[..., v]) & known, trust_bins(told)
        place += TRUST_BINS * np.arange(len(place))[:, None, None]
        sums = [
            np.bincount(place[known], weights=w, minlength=len(place) * TRUST_BINS).reshape(-1, TRUST_BINS)
            for w in (None, came[known].astype(np.float64), told[known])
        ]
        worth = targets.worth / np.maximum(sums[0], ENOUGH)
        for array, total in zip((found.told_EP, found.came_EP, found.sum_EP), sums, strict=True):
            array[e] = (worth * total).sum(axis=0)
    return {"told_EP": found.told_EP, "came_EP": found.came_EP, "sum_EP": found.sum_EP}

"""Blocks: what forecasts of a domain are told apart by, what a calibration makes of them, and what it learns from their outcomes.

Shape suffixes: W windows, L lead, N node, V target variable, Q quantile.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pipeline.calibration.calibration import ENOUGH, Calibration, Cases
from pipeline.calibration.normal_scores import BINS, bins_of, moved, normal_scores
from pipeline.calibration.warnings import foretold, trust_bins, trusted
from pipeline.contracts.forecasts import MEDIAN
from pipeline.contracts.judging import AVAILABILITY_LABELS, Event
from pipeline.verification.events import happened


@dataclass(frozen=True, kw_only=True, eq=False)
class Targets:
    """What a domain's calibration is told apart by, and what it must keep to.

    Attributes:
        bounds: Per target variable the least and the greatest value.
        groups, group_N: How many node groups, and each node's.
        leads: Steps ahead.
        window: Units of time that a window stands for.
        events: Events by name, each with the index of its variable.
    """

    bounds: tuple[tuple[float, float], ...]
    groups: int
    group_N: NDArray[np.int64]
    leads: int
    window: float
    events: Mapping[str, tuple[int, Event]]

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Groups of cases."""
        return len(self.bounds), self.leads, self.groups, len(AVAILABILITY_LABELS)

    @property
    def worth(self) -> float:
        """Evidence of a window, in units of time: less where there are few nodes."""
        return self.window * float(np.sqrt(min(ENOUGH, len(self.group_N)) / ENOUGH))

    def codes(self, availability_WN: NDArray[np.int8]) -> NDArray[np.int64]:
        """The row (W, L, N) of (lead, group, availability)."""
        lead_L = np.arange(self.leads)[None, :, None]
        return (lead_L * self.groups + self.group_N) * len(AVAILABILITY_LABELS) + availability_WN[:, None].astype(np.int64)


def published(
    calibration: Calibration, targets: Targets, quantiles_WLNVQ: NDArray[np.float32], availability_WN: NDArray[np.int8]
) -> NDArray[np.float32]:
    """A model's quantiles as its calibration moves them; the median is left alone."""
    if calibration.empty:
        return quantiles_WLNVQ
    code = targets.codes(availability_WN)
    parts = [moved(quantiles_WLNVQ[..., v, :], calibration.moves[v], code, targets.bounds[v]) for v in range(len(targets.bounds))]
    return np.stack(parts, axis=3)


def probabilities(
    calibration: Calibration, targets: Targets, quantiles_WLNVQ: NDArray[np.float32], availability_WN: NDArray[np.int8]
) -> dict[str, NDArray[np.float32]]:
    """The probability (W, L, N) of each event, from a model's quantiles before they are moved."""
    code = targets.codes(availability_WN)
    found = {}
    for e, (name, (v, event)) in enumerate(targets.events.items()):
        told = foretold(calibration, v, event, quantiles_WLNVQ[..., v, :], code)
        found[name] = trusted(calibration, e, told).astype(np.float32)
    return found


def cases_of(
    in_force: Calibration,
    targets: Targets,
    quantiles_WLNVQ: NDArray[np.float32],
    availability_WN: NDArray[np.int8],
    truth_WLNV: NDArray[np.float32],
    known_WLNV: NDArray[np.bool_],
) -> Cases:
    """What some windows of a block teach: where outcomes that are good and known lay in the model's own quantiles."""
    code = targets.codes(availability_WN)
    found = Cases.none(targets.shape, len(targets.events))
    rows, whole = found.seen_VLGR[0].size, min(ENOUGH, truth_WLNV.shape[2])
    for v in range(len(targets.bounds)):
        known = known_WLNV[..., v]
        came = np.where(known, truth_WLNV[..., v], quantiles_WLNVQ[..., v, MEDIAN])
        bins = bins_of(normal_scores(came, quantiles_WLNVQ[..., v, :]))
        found.mass_VLGRB[v] = np.bincount(code[known] * BINS + bins[known], minlength=rows * BINS).reshape(found.mass_VLGRB[v].shape)
        for w in range(len(known)):
            cells = np.bincount(code[w][known[w]], minlength=rows).reshape(targets.shape[1:])
            found.seen_VLGR[v] += targets.worth * np.minimum(cells, ENOUGH) / whole
            found.span_V[v] += targets.worth * np.minimum(cells.sum((1, 2)), whole).mean() / whole
    return replace(found, **_events(found, in_force, targets, quantiles_WLNVQ, code, truth_WLNV, known_WLNV))


def _events(
    found: Cases,
    in_force: Calibration,
    targets: Targets,
    quantiles_WLNVQ: NDArray[np.float32],
    code: NDArray[np.int64],
    truth_WLNV: NDArray[np.float32],
    known_WLNV: NDArray[np.bool_],
) -> dict[str, NDArray[np.float64]]:
    """Told, came and sum of probabilities by bin; a window's cells together are worth at most `ENOUGH`."""
    for e, (v, event) in enumerate(targets.events.values()):
        told, known = foretold(in_force, v, event, quantiles_WLNVQ[..., v, :], code), known_WLNV[..., v]
        came, place = happened(event, truth_WLNV[..., v]) & known, trust_bins(told)
        cells_W = known.sum(axis=(1, 2))
        worth = np.broadcast_to((np.minimum(cells_W, ENOUGH) / np.maximum(cells_W, 1))[:, None, None], known.shape)
        for array, weight in ((found.told_EP, worth), (found.came_EP, worth * came), (found.sum_EP, worth * told)):
            array[e] = np.bincount(place[known], weights=weight[known], minlength=array.shape[1])
    return {"told_EP": found.told_EP, "came_EP": found.came_EP, "sum_EP": found.sum_EP}

"""Forecast: what one issue time says about every domain, and what made it.

Shape suffixes: L lead, N node, V target variable, Q quantile, P part of the split.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

QUANTILES: tuple[float, ...] = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95)
"""Levels of every quantile axis; the point forecast is the median."""

MEDIAN = QUANTILES.index(0.5)


def in_order(quantiles_Q: NDArray[np.float32]) -> NDArray[np.float32]:
    """Quantiles (..., Q), changed in place: each at least as far from the median as its inner neighbour, the median as it is."""
    for q in range(MEDIAN + 1, len(QUANTILES)):
        np.maximum(quantiles_Q[..., q], quantiles_Q[..., q - 1], out=quantiles_Q[..., q])
    for q in range(MEDIAN - 1, -1, -1):
        np.minimum(quantiles_Q[..., q], quantiles_Q[..., q + 1], out=quantiles_Q[..., q])
    return quantiles_Q


JOINT = "joint"
"""Name of the joint model beside the baselines."""

PARTS: tuple[str, ...] = ("anchor", "series", "space")
"""The parts that every split begins with; after them comes one per modality, in the order of the model's `parts`."""

FUTURE = "future"
"""Name of the part that what others had forecast makes."""

TEXT_PREFIX = "text_"
"""Before a stream's name, the part that its documents make."""

BASELINES: tuple[str, ...] = ("persistence", "seasonal_persistence", "historical_average", "ridge", "boosted_trees")
"""Every baseline there is, the plainest first; a domain has those that suit it: without a season no seasonal one."""

EXTRA_BASELINES: tuple[str, ...] = ("boosted_trees",)
"""Those that are fitted only where a world asks for them."""

CHAMPION = "champion"
"""Name under which what the champion publishes is scored beside a candidate, on the same windows."""


@dataclass(frozen=True, kw_only=True, eq=False)
class DomainForecast:
    """One domain's forecast from one issue time, in physical units.

    Attributes:
        valid_time_L: int64 seconds UTC, of the domain's own next steps.
        lead_time_L: int64 seconds, valid_time - issue_time.
        quantiles_LNVQ: float32, non-decreasing along Q, no NaN.
        split_LNVP: float32; along P they add up to the median.
        parts: Names of P: anchor, series, space, then one per modality: `future` (what others had forecast), the other
            domains by name, `text_STREAM`; a baseline has only anchor filled.
        model_V: Which model made each variable: `joint` or the name of a baseline.
        rivals: Quantiles (L, N, V, Q) of every model that was run, `joint` and the baselines, whether published or not,
            so that all of them can be verified on the same cells.
        events: float32 (L, N) probability that each event of the world happens at a valid time, as published.
        regimes: int8 (N) codes of each regime at the issue time (`AVAILABILITY_LABELS`, `REGIME_LABELS`).
    """

    domain: str
    variables: tuple[str, ...]
    units: tuple[str, ...]
    node_ids: tuple[str, ...]
    valid_time_L: NDArray[np.int64]
    lead_time_L: NDArray[np.int64]
    quantiles_LNVQ: NDArray[np.float32]
    parts: tuple[str, ...]
    split_LNVP: NDArray[np.float32]
    model_V: tuple[str, ...]
    rivals: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    events: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    regimes: Mapping[str, NDArray[np.int8]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, eq=False)
class Forecast:
    """All domains at one issue time with their provenance.

    `provenance` is JSON-able: world and world_digest, code_version, snapshot, window_digest, model_id, config_digest,
    seed, issue_time, and `inputs`: per domain the age in seconds of the newest good value and the share present; where there
    are any, `future`: per domain the run of others' forecasts that was used, and `texts`: per stream the documents seen.
    """

    world: str
    issue_time: int
    domains: dict[str, DomainForecast]
    provenance: dict[str, Any]

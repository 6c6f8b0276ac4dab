"""Evaluation: models on the windows of a held-out fold, every cell counted, in batches that bound memory.

Shape suffixes: W windows, L lead, N node, V target variable.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.contracts.forecasts import MEDIAN
from pipeline.contracts.windows import DomainWindows, WindowSet
from pipeline.errors import ContractError
from pipeline.verification.grounds import Grounds, foretelling
from pipeline.verification.scoring import score_windows
from pipeline.verification.statistics import STATISTICS, Axis, Statistics

_NODES_PER_BATCH = 32_768


CLIMATE = "historical_average"
"""The baseline that anomalies are counted from."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Told:
    """A forecast with its own probabilities: quantiles (B, L, N, V, Q), and (B, L, N) of events by the names of the world."""

    quantiles_BLNVQ: NDArray[np.float32]
    events: Mapping[str, NDArray[np.float32]]


Forecaster = Callable[[WindowSet, str, NDArray[np.int64]], "NDArray[np.float32] | Told"]
"""Windows, a domain, B windows of it -> quantiles (B, L, N, V, Q), V in the order of the domain's targets, physical units.

Windows come in the order of time, each once."""

Quantiles = Callable[[WindowSet, str, NDArray[np.int64]], NDArray[np.float32]]
"""The same of a forecaster that gives quantiles only."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Truth:
    """What came: values in physical units, and where they are good, (W, L, N, V)."""

    values_WLNV: NDArray[np.float32]
    good_WLNV: NDArray[np.bool_]


def target_axis(windows: DomainWindows) -> Axis:
    """The targets and nominal leads of a domain: lead steps times the step (a session counts as one day)."""
    return Axis(
        variables=tuple(windows.variables[v] for v in windows.targets),
        units=tuple(windows.units[v] for v in windows.targets),
        lead_times=tuple(windows.step_seconds * (lead + 1) for lead in range(windows.horizon)),
    )


def truth_of(windows: DomainWindows, observed_TNV: NDArray[np.float32], index_W: NDArray[np.int64]) -> Truth:
    """The targets of some windows, from the observed values in physical units.

    Scaled values, scaled back, are off by a rounding: a zero would miss an interval that begins at zero.
    """
    steps_WL = windows.end_W[index_W].astype(np.int64)[:, None] + 1 + np.arange(windows.horizon)
    targets = list(windows.targets)
    held_WL = np.minimum(steps_WL, len(observed_TNV) - 1)
    return Truth(values_WLNV=observed_TNV[held_WL][..., targets], good_WLNV=windows.good_TNV[steps_WL][..., targets])


def batches_of(windows: DomainWindows, index_W: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """The windows in pieces of about 32,768 rows (window, node)."""
    size = max(1, _NODES_PER_BATCH // max(1, len(windows.node_ids)))
    return [index_W[start : start + size] for start in range(0, len(index_W), size)]


GroundsOf = Callable[[NDArray[np.int64], NDArray[np.float32] | None], Grounds]
"""B windows of a domain, and the forecast (B, L, N, V) that anomalies are counted from -> their grounds."""


def evaluate_domain(
    windows: WindowSet,
    domain: str,
    models: Mapping[str, Forecaster],
    observed_TNV: NDArray[np.float32],
    index_W: NDArray[np.int64],
    advance: Callable[[int], None],
    *,
    grounds_of: GroundsOf | None = None,
    climate: Quantiles | None = None,
) -> Statistics:
    """The statistics of all models on the same windows of one domain; `advance` is told of windows done.

    `observed_TNV` are the domain's values in physical units on the windows' axis, without the horizon after the cut-off;
    the anomalies of a grid are counted from the median of `climate`.

    Raises:
        ContractError: A model's forecast has another shape than the targets, or not every cell was counted.
    """
    parts: list[Statistics] = []
    view = windows.domains[domain]
    for batch_W in batches_of(view, index_W):
        truth = truth_of(view, observed_TNV, batch_W)
        usual = climate(windows, domain, batch_W)[..., MEDIAN] if climate is not None and view.grid_shape is not None else None
        grounds = Grounds() if grounds_of is None else grounds_of(batch_W, usual)
        for name, model in models.items():
            made = model(windows, domain, batch_W)
            told = made if isinstance(made, Told) else Told(quantiles_BLNVQ=made, events={})
            scored = score_windows(
                domain=domain,
                axis=target_axis(view),
                model=name,
                issue_time_W=view.issue_time_W[batch_W],
                truth_WLNV=truth.values_WLNV,
                good_WLNV=truth.good_WLNV,
                quantiles_WLNVQ=_fitting(name, domain, told.quantiles_BLNVQ, truth),
                grounds=foretelling(grounds, told.events),
            )
            parts.append(scored)
        advance(len(batch_W))
    found = Statistics.added(parts)
    _complete(found, domain, models, len(index_W) * len(view.node_ids))
    return found


def _fitting(name: str, domain: str, quantiles: NDArray[np.float32], truth: Truth) -> NDArray[np.float32]:
    if quantiles.shape[:-1] != truth.good_WLNV.shape:
        raise ContractError(
            asked=f"evaluate {name} on {domain}",
            found=f"a forecast of shape {quantiles.shape} for targets {truth.good_WLNV.shape}",
            mend="mend the model's output",
        )
    return quantiles


def _complete(found: Statistics, domain: str, models: Mapping[str, Forecaster], cells: int) -> None:
    for name in models if domain in found.axes else ():
        expected = found.total(domain, name)[..., STATISTICS.index("expected")]
        if not (expected == cells).all():
            raise ContractError(
                asked=f"evaluate {name} on {domain}",
                found=f"{expected.min():.0f} of {cells} cells a lead counted",
                mend="report this fault",
            )

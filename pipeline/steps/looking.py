"""What the joint model looked at for the largest changes of a forecast: hidden inputs, and its attention."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pipeline.contracts.forecasts import JOINT, MEDIAN, DomainForecast
from pipeline.contracts.windows import WindowSet
from pipeline.windows.occlusion import blocks_of, regions_of, without_cells, without_history
from pipeline.windows.regimes import known_at

if TYPE_CHECKING:
    from models.api import Predictor

CHANGES, BLOCKS, REGIONS, ASKED = 3, 4, 8, 12
HISTORY = "history"
"""Name of the summaries of earlier seasons among the inputs that are hidden."""

Cells = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]
"""Lead, node and target of each change."""


def looked_at(windows: WindowSet, index_W: NDArray[np.int64], d: DomainForecast, joint: Predictor) -> dict[str, Any] | None:
    """The largest changes of a domain's forecast, each with what every hidden input does to it; None where it publishes no joint target.

    An effect is the median without the input minus the median with it, in the variable's unit. `region_N` names each
    node's region; `blocks` are spans of the context in seconds before its newest step.
    """
    cells, newest = _largest(windows, index_W, d)
    if not len(cells[0]):
        return None
    view = windows.domains[d.domain]
    end, step = int(view.end_W[index_W[0]]), view.step_seconds
    shown = _medians(joint, windows, d.domain, index_W, cells)

    def effect(hidden: WindowSet) -> NDArray[np.float64]:
        return _medians(joint, hidden, d.domain, index_W, cells) - shown

    blocks, region_N = blocks_of(view, BLOCKS), regions_of(view, REGIONS)
    time = [effect(without_cells(windows, d.domain, end + 1 - old, end + 1 - new)) for old, new in blocks]
    spots = [np.flatnonzero(region_N == r) for r in range(int(region_N.max()) + 1)]
    space = [effect(without_cells(windows, d.domain, end + 1 - view.context, end + 1, nodes)) for nodes in spots]
    others = {HISTORY: effect(without_history(windows, d.domain))} if view.history_names or view.coarse_count else {}
    told, attention = _model_looks(windows, index_W, d, joint, cells)
    changes = [
        {
            "variable": d.variables[v],
            "node": d.node_ids[n],
            "lead": int(lead),
            "last": float(newest[i]),
            "time": [float(x[i]) for x in time],
            "space": [float(x[i]) for x in space],
            "modality": {name: float(x[i]) for name, x in {**others, **told}.items()},
            "attention": attention[i],
        }
        for i, (lead, n, v) in enumerate(zip(*cells, strict=True))
    ]
    return {
        "blocks": [[old * step, new * step] for old, new in blocks],
        "regions": len(spots),
        "region_N": region_N.tolist(),
        "node_ids": list(d.node_ids),
        "changes": changes,
    }


def _largest(windows: WindowSet, index_W: NDArray[np.int64], d: DomainForecast) -> tuple[Cells, NDArray[np.float64]]:
    """The cells of each joint target that are forecast to move most, by the node's spread, one per node; and the newest values there."""
    view = windows.domains[d.domain]
    known_NV = known_at(view, index_W).newest_WNV[0][:, list(view.targets)].astype(np.float64)
    spread_NV = np.nan_to_num(_spread(windows, d.domain), nan=1.0)
    found: list[tuple[int, int, int]] = []
    for v in (v for v, model in enumerate(d.model_V) if model == JOINT):
        away_LN = np.abs(d.quantiles_LNVQ[:, :, v, MEDIAN] - known_NV[:, v]) / np.maximum(spread_NV[:, v], 1e-12)
        away_LN = np.nan_to_num(away_LN, nan=-1.0)
        best_N = away_LN.argmax(axis=0)
        top = np.argsort(-away_LN.max(axis=0), kind="stable")[:CHANGES]
        found += [(int(best_N[n]), int(n), v) for n in top if away_LN[best_N[n], n] > 0]
    lead, node, target = (np.array(axis, np.int64) for axis in (zip(*found, strict=True) if found else ((), (), ())))
    return (lead, node, target), known_NV[node, target]


def _spread(windows: WindowSet, domain: str) -> NDArray[np.float64]:
    """How far each node's targets usually go (N, target): a share of the newest value where they are scaled so."""
    view, targets = windows.domains[domain], list(windows.domains[domain].targets)
    relative_NV = view.scaler.relative_NV[:, targets].astype(np.float64)
    return np.where(relative_NV > 0, relative_NV, view.scaler.scale_NV[:, targets])


def _medians(joint: Predictor, windows: WindowSet, domain: str, index_W: NDArray[np.int64], cells: Cells) -> NDArray[np.float64]:
    return joint.predict(windows, domain, index_W, split=False).quantiles_BLNVQ[0, ..., MEDIAN][cells].astype(np.float64)


def _model_looks(
    windows: WindowSet, index_W: NDArray[np.int64], d: DomainForecast, joint: Predictor, cells: Cells
) -> tuple[dict[str, NDArray[np.float64]], list[dict[str, Any]]]:
    """Per modality the effect of its absence on each cell, and per cell the model's attention; nothing of a model that cannot tell."""
    from models.api import JointPredictor

    if not isinstance(joint, JointPredictor):
        return {}, [{} for _ in cells[0]]
    look = joint.look(windows, d.domain, index_W)
    effects = {name: moved[0][cells].astype(np.float64) for name, moved in look.occlusion.items()}
    return effects, [_attention(look, int(n), d.node_ids) for n in cells[1]]


def _attention(look: Any, node: int, node_ids: tuple[str, ...]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if look.time_BNP is not None:
        found["time"] = [[int(s), round(float(share), 4)] for s, share in zip(look.step_seconds_P, look.time_BNP[0, node], strict=True)]
    asked_N = None
    if look.nodes_BNN is not None:
        asked_N = look.nodes_BNN[0, node]
    elif look.hub_read_BNM is not None and look.hub_write_BMN is not None:
        asked_N = look.hub_read_BNM[0, node] @ look.hub_write_BMN[0]
    if asked_N is not None:
        top = np.argsort(-asked_N, kind="stable")[:ASKED]
        found["nodes"] = [[node_ids[int(n)], round(float(asked_N[n]), 4)] for n in top]
    return found

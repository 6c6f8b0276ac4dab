"""Page data: everything the forecast page draws, as one JSON-able document. Flat arrays are lead-major: index lead * N + node."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.contracts.forecasts import JOINT, MEDIAN, QUANTILES, DomainForecast
from pipeline.contracts.nodes import NodeSet
from pipeline.publishing.page_inputs import Earlier, PageInputs, last_good, numbers, one_per_node
from pipeline.publishing.page_looks import looked, part_text, weights
from pipeline.publishing.page_scores import scores
from pipeline.publishing.words import MODEL_NAMES, label_text, model_text, places_for, unit_text

MOST_NODES = 1500
"""Places of a domain that a page shows; the files have all."""

_MOST_HOLES = 120
_BAND = (QUANTILES.index(0.1), MEDIAN, QUANTILES.index(0.9))


def page_data(page: PageInputs) -> dict[str, Any]:
    """The JSON document of a page."""
    world = page.world
    return {
        "world": {"name": world.name, "title": world.title, "zone": world.timezone},
        "issue_time": page.forecast.issue_time,
        "levels": list(QUANTILES),
        "model_names": MODEL_NAMES,
        "domains": [_domain(page, name) for name in world.domains if name in page.forecast.domains],
    }


def _domain(page: PageInputs, name: str) -> dict[str, Any]:
    whole, cube, settings = page.forecast.domains[name], page.cubes[name], page.world.domains[name]
    keep, grid = kept_nodes(whole, cube.nodes)
    d = narrowed(whole, keep)
    order = page.order(d)
    shown = min(len(cube.valid_time), max(20, 2 * settings.horizon))
    past_PNV = page.past(d)
    titles = {other: page.world.domains[other].title for other in page.world.domains}
    newest = past_PNV[len(cube.valid_time) - shown :, :, 0]
    rank_N = np.isfinite(newest).sum(axis=0) * 1e6 + np.abs(np.nan_to_num(newest)).sum(axis=0)
    earlier = [e for e in page.earlier if name in e.forecast.domains]
    return {
        "name": name,
        "title": settings.title,
        "step": page.step_seconds(name),
        "nodes": list(d.node_ids),
        "all_nodes": len(whole.node_ids),
        "lat": numbers(cube.nodes.latitude[order]),
        "lon": numbers(cube.nodes.longitude[order]),
        "ends": None if cube.nodes.ends is None else [numbers(row) for row in cube.nodes.ends[order]],
        "grid": grid,
        "first": int(np.argmax(rank_N)),
        "valid": d.valid_time_L.tolist(),
        "lead": d.lead_time_L.tolist(),
        "past": cube.valid_time[len(cube.valid_time) - shown :].tolist(),
        "earlier": [{"issue_time": e.forecast.issue_time, "valid": e.forecast.domains[name].valid_time_L.tolist()} for e in earlier],
        "holes": cube.valid_time[-_MOST_HOLES:].tolist(),
        "parts": list(d.parts),
        "part_names": [part_text(part, titles) for part in d.parts],
        "explain": weights(page, d),
        "looked": looked(page, d),
        "variables": [_variable(page, d, v, past_PNV[..., v], shown, earlier, keep) for v in range(len(d.variables))],
    }


def kept_nodes(d: DomainForecast, nodes: NodeSet) -> tuple[NDArray[np.int64], tuple[int, int] | None]:
    """Places of the nodes that are shown, evenly spread, and the shape of the grid that they are then."""
    count = len(d.node_ids)
    if nodes.shape is not None and count == len(nodes):
        rows, columns = nodes.shape
        stride = max(1, int(np.ceil(np.sqrt(count / MOST_NODES))))
        picked = np.arange(count).reshape(rows, columns)[::stride, ::stride]
        return picked.ravel(), (picked.shape[0], picked.shape[1])
    stride = max(1, -(-count // MOST_NODES))
    return np.arange(0, count, stride), None


def narrowed(d: DomainForecast, keep: NDArray[np.int64]) -> DomainForecast:
    """A domain's forecast for some of its nodes."""
    if len(keep) == len(d.node_ids):
        return d
    return replace(
        d,
        node_ids=tuple(d.node_ids[i] for i in keep),
        quantiles_LNVQ=d.quantiles_LNVQ[:, keep],
        split_LNVP=d.split_LNVP[:, keep],
        rivals={},
    )


def _variable(
    page: PageInputs, d: DomainForecast, v: int, past_TN: NDArray[np.float32], shown: int, earlier: list[Earlier], keep: NDArray[np.int64]
) -> dict[str, Any]:
    name = d.variables[v]
    settings = page.world.domains[d.domain].variables[name]
    past_PN = past_TN[len(past_TN) - shown :]
    visible = np.concatenate([past_PN[np.isfinite(past_PN)], d.quantiles_LNVQ[:, :, v, MEDIAN].ravel()])
    low, high = np.percentile(visible, [2, 98])
    model = d.model_V[v]
    anchor = "the last value" if settings.anchor == "last" else "the value one season before"
    came = page.came.get(d.domain)
    places = 2 if settings.scale == "relative" else min(3, places_for(float(high - low)))
    return {
        "name": name,
        "label": label_text(name, settings.long_name),
        "unit": unit_text(d.units[v]),
        "places": places,
        "relative": settings.scale == "relative",
        "model": model,
        "anchor": anchor if model == JOINT else f"all of it: {model_text(model).lower()}",
        "q": [numbers(d.quantiles_LNVQ[:, :, v, q]) for q in range(len(QUANTILES))],
        "split": [numbers(d.split_LNVP[:, :, v, p]) for p in range(len(d.parts))],
        "past": numbers(past_PN),
        "last": numbers(last_good(past_PN)),
        "came": None if came is None else numbers(came[:, keep, v]),
        "earlier": [_before(e, d, name, places) for e in earlier],
        "holes": _holes(past_TN[-_MOST_HOLES:], d),
        **scores(page, d, name),
    }


def _before(earlier: Earlier, d: DomainForecast, variable: str, places: int) -> dict[str, Any] | None:
    """The band and the median of a forecast issued before, and what came, in this forecast's node order."""
    other = earlier.forecast.domains[d.domain]
    if variable not in other.variables:
        return None
    v, came = other.variables.index(variable), earlier.came.get(d.domain)
    return {
        "q": [numbers(one_per_node(other.quantiles_LNVQ[:, :, v, q], d, other), places) for q in _BAND],
        "came": None if came is None else numbers(one_per_node(came[:, :, v], d, other), places),
    }


def _holes(past_TN: NDArray[np.float32], d: DomainForecast) -> dict[str, Any]:
    """The share of places with a good value at each step, and the places that lack more than most do."""
    good_TN = np.isfinite(past_TN)
    share_N = good_TN.mean(axis=0) if len(good_TN) else np.zeros(good_TN.shape[1])
    worst = [int(n) for n in np.argsort(share_N, kind="stable")[:5] if share_N[n] < np.median(share_N)]
    return {"share": numbers(good_TN.mean(axis=1), 3), "worst": [[d.node_ids[n], round(float(share_N[n]), 3)] for n in worst]}

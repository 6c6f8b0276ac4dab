"""What a forecast rests on, for a page: how the model mixes, and what it looked at for the largest changes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from pipeline.contracts.forecasts import DomainForecast
from pipeline.publishing.page_inputs import PageInputs, numbers
from pipeline.publishing.words import label_text


def part_text(part: str, titles: Mapping[str, str]) -> str:
    """A part of the split in words."""
    names = {"anchor": "Anchor", "series": "Its own series", "space": "Neighbours in space", "future": "Forecasts by others"}
    names |= {"history": "Earlier seasons and long past"}
    stream = part.removeprefix("text_")
    return names.get(part) or titles.get(part) or (f"Texts: {label_text(stream).lower()}" if stream != part else label_text(part))


def weights(page: PageInputs, d: DomainForecast) -> dict[str, Any] | None:
    """Alpha (N), beta (L, N), w per modality (L) in the forecast's node order, and errors with each off; None where nothing was left."""
    found = page.explanation.get(d.domain)
    if not found:
        return None
    nodes, leads = len(d.node_ids), len(d.valid_time_L)
    at = {node: i for i, node in enumerate(found.get("node_ids", d.node_ids))}
    if any(node not in at for node in d.node_ids):
        return None
    order = [at[node] for node in d.node_ids]
    alpha, beta = np.asarray(found["alpha"], float).reshape(-1), np.asarray(found["beta"], float)
    turned = beta.shape[:1] == (len(at),) and beta.size == len(at) * leads
    beta_LN = beta.reshape(len(at), leads).T if turned else beta.reshape(leads, nodes)
    by_lead = {other: np.broadcast_to(np.asarray(w, float), (leads,)) for other, w in found.get("w_y", found.get("w", {})).items()}
    titles = {name: domain.title for name, domain in page.world.domains.items()}
    return {
        "alpha": numbers(alpha[order], 4),
        "beta": numbers(beta_LN[:, order], 4),
        "w": {other: numbers(w, 4) for other, w in by_lead.items()},
        "off": {k: {v: [row["mae"], row["mae_without"]] for v, row in of.items()} for k, of in found.get("outages", {}).items()},
        "names": {other: part_text(other, titles) for other in by_lead},
        "lead_times": [page.step_seconds(d.domain) * (lead + 1) for lead in range(leads)],
    }


def looked(page: PageInputs, d: DomainForecast) -> dict[str, Any] | None:
    """The largest changes with what each rests on, in the forecast's node order; None where nobody looked."""
    found = page.forecast.provenance.get("explanation", {}).get(d.domain)
    if not found or not found.get("changes"):
        return None
    at = {node: i for i, node in enumerate(d.node_ids)}
    titles = {name: domain.title for name, domain in page.world.domains.items()}
    region = dict(zip(found.get("node_ids", d.node_ids), found.get("region_N", []), strict=False))
    changes = [_change(change, d, at) for change in found["changes"] if change["node"] in at and change["variable"] in d.variables]
    named = {name: part_text(name, titles) for change in found["changes"] for name in change.get("modality", {})}
    return {
        "blocks": found.get("blocks", []),
        "regions": found.get("regions", 0),
        "region": [region.get(node, -1) for node in d.node_ids],
        "names": named,
        "changes": changes,
    }


def _change(change: Mapping[str, Any], d: DomainForecast, at: Mapping[str, int]) -> dict[str, Any]:
    attention = change.get("attention", {})
    asked = [[at[node], round(share, 4)] for node, share in attention.get("nodes", []) if node in at]
    return {
        "v": d.variables.index(change["variable"]),
        "n": at[change["node"]],
        "l": change["lead"],
        "last": _rounded(change["last"]),
        "time": [_rounded(x) for x in change.get("time", [])],
        "space": [_rounded(x) for x in change.get("space", [])],
        "modality": {name: _rounded(x) for name, x in change.get("modality", {}).items()},
        "asked_time": [[seconds, round(share, 4)] for seconds, share in attention.get("time", [])],
        "asked_nodes": asked,
    }


def _rounded(x: float) -> float:
    return float(f"{x:.5g}")

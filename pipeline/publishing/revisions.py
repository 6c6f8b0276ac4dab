"""Revisions: what a forecast that was issued again says otherwise than the one before it."""

from __future__ import annotations

from typing import Any

import numpy as np

from pipeline.contracts.forecasts import MEDIAN, DomainForecast, Forecast
from pipeline.publishing.words import duration_text

_CAUSES = ("world_digest", "code_version", "snapshot", "model_id", "promoted_as_of", "config_digest", "seed", "window_digest")
_STATE = {"init_time": "run of", "documents": "documents", "age_seconds": "age", "share_present": "present"}
"""What is compared of the state of an input, in words."""


def changes(old: Forecast, new: Forecast) -> dict[str, Any]:
    """What changed from one revision to the next, JSON-able; keys without a change are left out.

    `causes` are the parts of the provenance that differ, old and new; `inputs` the age and share of each domain's inputs
    that differ; `values` per target the mean and the largest change of the median, in its units.
    """
    both = [name for name in old.domains if name in new.domains]
    inputs = {name: _inputs(old, new, name) for name in sorted({*_states(old), *_states(new)})}
    found = {
        "causes": {key: [old.provenance.get(key), new.provenance.get(key)] for key in _CAUSES if _differs(old, new, key)},
        "inputs": {name: change for name, change in inputs.items() if change},
        "domains_added": sorted(set(new.domains) - set(old.domains)),
        "domains_gone": sorted(set(old.domains) - set(new.domains)),
        "models": {k: v for name in both for k, v in _models(old.domains[name], new.domains[name]).items()},
        "values": {k: v for name in both for k, v in _values(old.domains[name], new.domains[name]).items()},
    }
    return {key: value for key, value in found.items() if value}


def change_lines(found: dict[str, Any]) -> list[str]:
    """The same for people, one sentence each."""
    lines = [f"another {key.replace('_', ' ')}: {new}" for key, (_, new) in found.get("causes", {}).items()]
    for name, change in found.get("inputs", {}).items():
        lines += [f"{name}: {_STATE[key]} {_told(key, old)} → {_told(key, new)}" for key, (old, new) in change.items()]
    lines += [f"{name}: now forecast" for name in found.get("domains_added", [])]
    lines += [f"{name}: no more forecast" for name in found.get("domains_gone", [])]
    lines += [f"{target}: {new} is published instead of {old}" for target, (old, new) in found.get("models", {}).items()]
    for target, change in found.get("values", {}).items():
        lines.append(f"{target}: median changed by {change['mean']:.3g} {change['units']} on average, at most {change['largest']:.3g}")
    return lines


def _states(forecast: Forecast) -> dict[str, Any]:
    """The state of each input, of a run of others' forecasts (one that was not there: empty) and of each stream of documents."""
    found = forecast.provenance
    inputs: dict[str, Any] = found.get("inputs", {})
    runs = {f"forecasts by others for {name}": run or {} for name, run in found.get("future", {}).items()}
    return inputs | runs | {f"documents of {name}": seen for name, seen in found.get("texts", {}).items()}


def _differs(old: Forecast, new: Forecast, key: str) -> bool:
    return bool(old.provenance.get(key) != new.provenance.get(key))


def _inputs(old: Forecast, new: Forecast, name: str) -> dict[str, Any]:
    before, after = (_states(f).get(name, {}) for f in (old, new))
    return {key: [before.get(key), after.get(key)] for key in _STATE if before.get(key) != after.get(key)}


def _told(key: str, value: Any) -> str:
    if value is None:
        return "none"
    return duration_text(value) if key == "age_seconds" else f"{value:.1%}" if key == "share_present" else str(value)


def _models(old: DomainForecast, new: DomainForecast) -> dict[str, list[str]]:
    before, after = (dict(zip(d.variables, d.model_V, strict=True)) for d in (old, new))
    return {f"{new.domain}/{v}": [before[v], after[v]] for v in after if v in before and before[v] != after[v]}


def _values(old: DomainForecast, new: DomainForecast) -> dict[str, dict[str, Any]]:
    """Over the nodes and leads that both have."""
    nodes = [node for node in new.node_ids if node in set(old.node_ids)]
    at = [{node: i for i, node in enumerate(d.node_ids)} for d in (old, new)]
    leads = min(len(old.lead_time_L), len(new.lead_time_L))
    found = {}
    for name in (v for v in new.variables if v in old.variables and nodes):
        medians = [
            d.quantiles_LNVQ[:leads, [index[n] for n in nodes], d.variables.index(name), MEDIAN]
            for d, index in zip((old, new), at, strict=True)
        ]
        away = np.abs(medians[1].astype(np.float64) - medians[0])
        if away.any():
            units = new.units[new.variables.index(name)]
            found[f"{new.domain}/{name}"] = {"mean": float(away.mean()), "largest": float(away.max()), "units": units}
    return found

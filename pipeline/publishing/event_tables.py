"""Event tables: how probable each declared event is, one row per node, event and lead; and those to warn of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from pipeline.contracts.forecasts import DomainForecast, Forecast
from pipeline.contracts.judging import Event
from pipeline.publishing.tables import joined

if TYPE_CHECKING:
    import pyarrow as pa


def told_of(d: DomainForecast, declared: Mapping[str, Event]) -> dict[str, Event]:
    """The declared events that a domain's forecast gives a probability of, in the order of the declaration."""
    return {name: event for name, event in declared.items() if name in d.events and event.variable in d.variables}


def event_table(
    forecast: Forecast,
    domain: str,
    declared: Mapping[str, Event],
    *,
    revision: int,
    nodes: Sequence[int] | None = None,
    least: float | None = 0.0,
) -> pa.Table:
    """One domain's events in long format, sorted by event, node, lead; of some of its nodes, or of all.

    `probability` is that of the event at the valid time `ds`, as published; `warned` says whether it reaches `warn_at`. Rows
    below `least` are left out; None leaves out all but warnings.
    """
    import pyarrow as pa

    d = forecast.domains[domain]
    events = told_of(d, declared)
    chosen_N = np.arange(len(d.node_ids)) if nodes is None else np.asarray(nodes, np.int64)
    leads = len(d.lead_time_L)
    e, n, lead = (index.ravel() for index in np.indices((len(events), len(chosen_N), leads)))
    n = chosen_N[n]
    probability = np.stack([d.events[name].T[chosen_N].ravel() for name in events]).ravel() if events else np.zeros(0, np.float32)
    warn_at = np.array([event.warn_at for event in events.values()], np.float32)
    keep = probability >= (warn_at[e] if least is None else np.float32(least))
    e, n, lead, probability = e[keep], n[keep], lead[keep], probability[keep]
    at_V = [d.variables.index(event.variable) for event in events.values()]

    def each(values: Sequence[str]) -> pa.Array:
        return pa.array(values, pa.string()).take(pa.array(e))

    stamp = pa.timestamp("s", tz="UTC")
    node, event_name = pa.array(d.node_ids, pa.string()).take(pa.array(n)), each(list(events))
    columns = {
        "unique_id": joined(node, event_name),
        "node": node,
        "event": event_name,
        "variable": each([event.variable for event in events.values()]),
        "condition": each([event.condition for event in events.values()]),
        "threshold": pa.array([event.threshold for event in events.values()], pa.float64()).take(pa.array(e)),
        "units": each([d.units[v] for v in at_V]),
        "ds": pa.array(d.valid_time_L[lead]).cast(stamp),
        "cutoff": pa.array(np.full(len(e), forecast.issue_time)).cast(stamp),
        "lead_s": pa.array(d.lead_time_L[lead]),
        "probability": pa.array(probability),
        "warn_at": pa.array(warn_at).take(pa.array(e)),
        "warned": pa.array(probability >= warn_at[e]),
        "model": each([d.model_V[v] for v in at_V]),
        "model_id": pa.array([str(forecast.provenance.get("model_id", ""))] * len(e), pa.string()),
        "snapshot": pa.array([str(forecast.provenance.get("snapshot", ""))] * len(e), pa.string()),
        "revision": pa.array(np.full(len(e), revision, np.int32)),
    }
    return pa.table(columns)

"""Tables: a forecast as tidy rows for people and programs, one row per node, variable and lead."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from pipeline.contracts.forecasts import QUANTILES, DomainForecast, Forecast

if TYPE_CHECKING:
    import pyarrow as pa

QUANTILE_COLUMNS: tuple[str, ...] = tuple(f"q{round(100 * level):02d}" for level in QUANTILES)


def forecast_table(
    forecast: Forecast, domain: str, *, revision: int, nodes: Sequence[int] | None = None, variables: Sequence[int] | None = None
) -> pa.Table:
    """One domain in long format, sorted by variable, node, lead; some of its nodes and variables, or all.

    `unique_id` names a series (`node/variable`), `ds` its valid time and `cutoff` the issue time (UTC), `lead_s` the
    lead in seconds; q05 … q95 are quantiles in `units`; `model` made the row; `snapshot` is the cube state read.
    """
    import pyarrow as pa

    d = forecast.domains[domain]
    chosen_N = np.arange(len(d.node_ids)) if nodes is None else np.asarray(nodes, np.int64)
    chosen_V = np.arange(len(d.variables)) if variables is None else np.asarray(variables, np.int64)
    leads = len(d.lead_time_L)
    rows = leads * len(chosen_N) * len(chosen_V)
    v, n, lead = (index.ravel() for index in np.indices((len(chosen_V), len(chosen_N), leads)))
    v, n = chosen_V[v], chosen_N[n]
    stamp = pa.timestamp("s", tz="UTC")
    node = pa.array(d.node_ids).take(pa.array(n))
    variable = pa.array(d.variables).take(pa.array(v))
    columns = {
        "unique_id": joined(node, variable),
        "node": node,
        "variable": variable,
        "ds": pa.array(d.valid_time_L[lead]).cast(stamp),
        "cutoff": pa.array(np.full(rows, forecast.issue_time)).cast(stamp),
        "lead_s": pa.array(d.lead_time_L[lead]),
        **{name: pa.array(d.quantiles_LNVQ[lead, n, v, q]) for q, name in enumerate(QUANTILE_COLUMNS)},
        "units": pa.array(d.units).take(pa.array(v)),
        "model": pa.array(d.model_V).take(pa.array(v)),
        "model_id": pa.array([str(forecast.provenance.get("model_id", ""))] * rows),
        "snapshot": pa.array([str(forecast.provenance.get("snapshot", ""))] * rows),
        "revision": pa.array(np.full(rows, revision, np.int32)),
    }
    return pa.table(columns)


def parquet_bytes(table: pa.Table) -> bytes:
    """The table as one Parquet file (zstd, page checksums), the same bytes for the same rows."""
    import pyarrow.parquet as pq

    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd", write_page_checksum=True, row_group_size=1 << 20)
    return sink.getvalue()


def joined(node: pa.Array, name: pa.Array) -> pa.Array:
    """The name of a series: `node/name`."""
    import pyarrow.compute as pc

    return pc.binary_join_element_wise(node, name, "/")


def headline(domain: DomainForecast) -> list[str]:
    """One line per variable for a terminal: the median now and at the last lead, over all nodes."""
    from pipeline.contracts.forecasts import MEDIAN

    medians_LV = np.median(domain.quantiles_LNVQ[..., MEDIAN], axis=1)
    return [
        f"{variable}: median over nodes {medians_LV[0, v]:.3g} -> {medians_LV[-1, v]:.3g} {domain.units[v]} ({domain.model_V[v]})"
        for v, variable in enumerate(domain.variables)
    ]

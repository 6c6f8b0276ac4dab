"""Which rows of a delivery are taken at all: forecasts of a run, documents with a text."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.contracts.nodes import NodeSet
from pipeline.contracts.worlds import Source
from pipeline.errors import ContractError
from pipeline.quality.acceptance import document_faults, run_faults
from pipeline.quality.places import Area, place_faults
from pipeline.sources.adapter import Readings, RejectedRows
from pipeline.sources.grids import grid_of
from pipeline.sources.mends import mend_of


def accepted(source: Source, readings: Readings, file: str) -> Readings:
    """The readings without those that no source of their kind may deliver, which are rejected.

    Raises:
        ContractError: The adapter does not say of which run a forecast is, or what a document says.
    """
    if (source.runs is None) != (readings.init_time is None) or (source.text is None) != (readings.text is None):
        wanted = "readings of no run" if source.runs is None else "the run of each row"
        raise ContractError(
            asked=f"{wanted if source.text is None else 'documents'} in {file}",
            found=f"adapter '{source.adapter}' delivers others",
            mend="correct runs, text or adapter of the source in the world file",
        )
    faults: dict[str, NDArray[np.bool_]] = {}
    if source.runs is not None and readings.init_time is not None:
        faults = run_faults(readings.init_time, readings.valid_time, int(source.runs.total_seconds()))
    if source.text is not None and readings.text is not None:
        faults = document_faults(readings.text, source.text.longest)
    bad = np.flatnonzero(np.any([np.zeros(len(readings), np.bool_), *faults.values()], axis=0))
    if not len(bad):
        return readings
    reason = tuple(next(rule for rule, where in faults.items() if where[i]) for i in bad)
    refused = RejectedRows(file=(file,) * len(bad), row=tuple(readings.row[bad].tolist()), reason=reason, raw=_shown(readings, bad))
    keep = np.setdiff1d(np.arange(len(readings)), bad)
    return _rows(readings, keep, readings.rejected + refused)


def _rows(readings: Readings, keep: NDArray[np.int64], rejected: RejectedRows) -> Readings:
    """These rows only, the others being among the rejected."""
    published, init, text = readings.published_time, readings.init_time, readings.text
    return replace(
        readings,
        node=readings.node[keep],
        valid_time=readings.valid_time[keep],
        published_time=None if published is None else published[keep],
        values={name: column[keep] for name, column in readings.values.items()},
        row=readings.row[keep],
        rejected=rejected,
        init_time=None if init is None else init[keep],
        text=None if text is None else text.take(pa.array(keep)),
    )


def _shown(readings: Readings, rows: NDArray[np.int64]) -> tuple[str, ...]:
    """The text of some readings, as far as it is short."""
    shown = []
    for row in rows.tolist():
        words = [readings.node_ids[readings.node[row]], f"valid {readings.valid_time[row]}"]
        words += [f"{name}={column[row]:g}" for name, column in readings.values.items()]
        words += [] if readings.init_time is None else [f"run {readings.init_time[row]}"]
        words += [] if readings.text is None else [str(readings.text[row].as_py() or "")[:200].replace("\0", "\\0")]
        shown.append(" ".join(words))
    return tuple(shown)


def check_whole(source: Source, readings: Readings, places: NodeSet | None, where: str) -> None:
    """Refuse a delivery of which too many rows are rejected, or whose grid is not the one that its nodes were made of.

    Raises:
        ContractError: Naming the commonest rule, or both grids.
    """
    bad, raw = len(readings.rejected), readings.raw_rows
    if bad > source.most_rejected * raw:
        rule, count = Counter(readings.rejected.reason).most_common(1)[0]
        found = f"{bad:,} of {raw:,} rows rejected, {count:,} of them for: {rule}"
        mend = f"{mend_of(rule)}; or raise most_rejected"
        raise ContractError(asked=f"{where}, at most {source.most_rejected:.0%} rejected", found=found, mend=mend)
    known = None if places is None else grid_of(places)
    if readings.grid is not None and known is not None and not np.allclose(np.array(readings.grid), np.array(known), atol=1e-4):
        shown = [f"{g[0]:g} x {g[1]:g} cells from {g[2]:g}, {g[3]:g} to {g[4]:g}, {g[5]:g}" for g in (known, readings.grid)]
        mend = "give the new grid a source of its own, with a start of its own"
        raise ContractError(asked=f"the grid of {where}: {shown[0]}", found=shown[1], mend=mend)


def check_places(places: NodeSet, area: Area | None, where: str) -> None:
    """Refuse a node table with a node that is no place on Earth, outside the area, or swapped.

    Raises:
        ContractError: Naming the nodes.
    """
    faults = place_faults(places, area)
    if faults:
        first, *others = (f"node {node}: {fault}" for node, fault in faults.items())
        found = first + (f", and {len(others)} more" if others else "")
        mend = "correct the node table, or the columns and the area of nodes in the world file"
        raise ContractError(asked=f"places of the nodes of {where}", found=found, mend=mend)

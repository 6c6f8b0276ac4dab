"""Which rows of a delivery are taken at all: forecasts of a run, documents with a text."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.contracts.worlds import Source
from pipeline.errors import ContractError
from pipeline.quality.acceptance import document_faults, run_faults
from pipeline.sources.adapter import Readings, RejectedRows


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

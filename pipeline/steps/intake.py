"""Taking in one delivery: parsed, converted, flagged, and every row accounted for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline.contracts.observations import REJECTION_SCHEMA, RowCounts
from pipeline.contracts.worlds import Source
from pipeline.errors import ContractError
from pipeline.quality.availability import available_times, settled
from pipeline.quality.screen import Screened, screen
from pipeline.quality.versions import unrepeated, value_bits
from pipeline.sources.adapter import Adapter, Readings
from pipeline.stores.landing import Landed, LandingStore
from pipeline.stores.observation_tables import dictionary_column

STAMP = pa.timestamp("s", tz="UTC")


@dataclass(frozen=True, kw_only=True)
class Work:
    """A source whose deliveries are taken in; those numbered in `replaced` have a newer one of the same name.

    `first_received` is when this store began to receive the source, int64 seconds UTC.
    """

    source: Source
    adapter: Adapter
    landing: LandingStore
    first_received: int
    replaced: frozenset[int]


@dataclass(frozen=True, kw_only=True, eq=False)
class Taken:
    """One delivery, parsed and screened: the readings that stay, and the rows that do not."""

    landed: Landed
    ids: tuple[str, ...]
    node: NDArray[np.int32]
    valid_time: NDArray[np.int64]
    available_time: NDArray[np.int64]
    declared: NDArray[np.bool_]
    row: NDArray[np.int64]
    values: dict[str, NDArray[np.float32]]
    flags: dict[str, NDArray[np.uint16]]
    rejected: pa.Table
    counts: RowCounts


def take_in(work: Work, landed: Landed) -> Taken | None:
    """A delivery's readings; None where it is unreadable and replaced by a newer one."""
    parts = work.landing.read(landed)
    try:
        readings = work.adapter.parse(work.source, parts)
    except ContractError as error:
        if landed.number in work.replaced:
            return None
        raise ContractError(asked=f"source {landed.source}: {error.asked}", found=error.found, mend=error.mend) from error
    received = landed.received_time
    latency = int(work.source.latency.total_seconds())
    available, declared = available_times(
        readings.valid_time, readings.published_time, latency=latency, received_time=received, first_received=work.first_received
    )
    punctual = ~declared | (available <= readings.valid_time + latency)
    if any(v.spike or v.stuck_after for v in work.source.variables.values()):
        available = settled(available, readings.node, readings.valid_time, punctual)
    screened = screen(
        readings.values,
        work.source.variables,
        node=readings.node,
        valid_time=readings.valid_time,
        punctual=punctual,
        received_time=received + int(work.source.ahead.total_seconds()),
    )
    keep = unrepeated(readings.node, readings.valid_time, available, value_bits([s.values for s in screened.values()]))
    return _taken(landed, readings, available, declared, screened, keep)


def _taken(
    landed: Landed,
    readings: Readings,
    available: NDArray[np.int64],
    declared: NDArray[np.bool_],
    screened: dict[str, Screened],
    keep: NDArray[np.bool_],
) -> Taken:
    values = {name: s.values for name, s in screened.items()}
    file = landed.parts[0].name
    again = ~keep
    duplicates = duplicate_rows(
        dictionary_column(readings.node[again], readings.node_ids),
        readings.valid_time[again],
        {n: v[again] for n, v in values.items()},
        pa.array([landed.id] * int(again.sum()), pa.string()),
        pa.array([file] * int(again.sum()), pa.string()),
        readings.row[again],
    )
    bad = readings.rejected
    rejected = pa.table(
        {"delivery": [landed.id] * len(bad), "file": bad.file, "row": bad.row, "reason": bad.reason, "raw": bad.raw},
        schema=REJECTION_SCHEMA,
    )
    kept = int(keep.sum())
    return Taken(
        landed=landed,
        ids=readings.node_ids,
        node=readings.node[keep],
        valid_time=readings.valid_time[keep],
        available_time=available[keep],
        declared=declared[keep],
        row=readings.row[keep],
        values={n: v[keep] for n, v in values.items()},
        flags={n: s.flags[keep] for n, s in screened.items()},
        rejected=pa.concat_tables([rejected, duplicates]),
        counts=RowCounts(raw=readings.raw_rows, observations=kept, duplicates=len(keep) - kept, rejected=len(bad)),
    )


def duplicate_rows(
    node: pa.Array,
    valid_time: NDArray[np.int64],
    values: dict[str, NDArray[np.float32]],
    delivery: pa.Array,
    file: pa.Array,
    row: NDArray[np.int64],
) -> pa.Table:
    """Repeated readings as rejection rows whose text is the reading."""
    texts = [node.cast(pa.string()), pa.array(valid_time, pa.int64()).cast(STAMP).cast(pa.string())]
    for name, value in values.items():
        texts.append(pc.binary_join_element_wise(name, pa.array(value).cast(pa.string()), "=", null_handling="replace"))
    raw = pc.binary_join_element_wise(*texts, " ", null_handling="replace")
    reason = pa.array(["duplicate"] * len(row), pa.string())
    return pa.table(
        {"delivery": delivery, "file": file, "row": pa.array(row, pa.int64()), "reason": reason, "raw": raw}, schema=REJECTION_SCHEMA
    )

"""The plan of a build: pure, the same list on every worker, and refused before work starts where it does not fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from pipeline.alignment.time_grid import DAY
from pipeline.contracts.nodes import NodeSet
from pipeline.errors import ConfigError

BYTES_PER_CELL = 10
"""float32 value, uint16 flag, int32 latency."""

CELL_BYTES = 40
"""One cell in memory while it is made: its arrays, their encoded chunks, what compares them."""

ROW_BYTES = 200
"""One observation in memory while it is read, sorted and met with the axis."""

KEPT_BYTES = 32 * 2**20
"""What a process keeps of the files that it has read, for the regions that come."""

BASE_BYTES = 288 * 2**20 + KEPT_BYTES
"""A process with all libraries loaded, before it works on a region."""

HEARD_BYTES = 64
"""One node of regions that are made and wait to be handed over: when each first heard of it."""

_CHUNK_BYTES = 512 * 1024
_LONGEST_DAYS = 32


@dataclass(frozen=True, kw_only=True)
class Region:
    """Steps start .. stop-1 of one domain, all its nodes: one time chunk, written by one worker."""

    domain: str
    chunk: int
    start: int
    stop: int


@dataclass(frozen=True, kw_only=True, eq=False)
class DomainPlan:
    """What one domain's group will look like after the build, and which regions must be made for it.

    Attributes:
        edge: The label before the first of the axis, where the first interval begins.
        chunk_nodes: Nodes of a chunk; those beyond have chunks of their own.
        moved: The coordinates stored are not those of `nodes`.
    """

    domain: str
    axis_T: NDArray[np.int64]
    edge: int
    nodes: NodeSet
    variables: tuple[str, ...]
    chunk_steps: int
    chunk_nodes: int
    regions: tuple[Region, ...]
    moved: bool = False


@dataclass(frozen=True, kw_only=True)
class PlanSize:
    """What a plan costs; bytes are uncompressed.

    Attributes:
        tasks: Regions.
        rows: Observations that all of them read.
        peak_bytes: Of one process that works on `threads` of the largest regions at once, or of the one that takes in documents.
        text_bytes: Of documents that are taken in, and of their sentence encoders.
    """

    tasks: int
    cells: int
    rows: int
    written_bytes: int
    threads: int
    peak_bytes: int
    text_bytes: int = 0

    def __str__(self) -> str:
        work = f"{self.tasks:,} regions, {self.cells:,} cells from {self.rows:,} rows, {_mib(self.written_bytes)}"
        texts = f", {_mib(self.text_bytes)} of it for documents and their encoders" if self.text_bytes else ""
        return f"{work}; at its peak {_mib(self.peak_bytes)} in a process that works on {self.threads} at once{texts}"


def choose_chunk_steps(step_s: int, nodes: int, asked: int | None = None) -> int:
    """Steps of a time chunk over all nodes: about half a MiB per array, whole days where possible, a month at most."""
    if asked is not None:
        return asked
    per_day = max(DAY // step_s, 1)
    fitting = max(_CHUNK_BYTES // (4 * max(nodes, 1)), 1)
    if fitting < per_day:
        return fitting
    return max(min(fitting // per_day, _LONGEST_DAYS if per_day > 1 else 256) * per_day, 1)


def plan_regions(domain: str, steps: int, chunk_steps: int, chunks: NDArray[np.int64]) -> tuple[Region, ...]:
    """The regions of these chunks, in order of time; the last one ends where the axis ends."""
    found = [int(c) for c in np.unique(chunks)]
    return tuple(Region(domain=domain, chunk=c, start=c * chunk_steps, stop=min((c + 1) * chunk_steps, steps)) for c in found)


def touched_chunks(
    axis_T: NDArray[np.int64],
    edge: int,
    chunk_steps: int,
    *,
    stored_steps: int,
    days: Sequence[int],
    reach: int,
    ahead: int = 0,
) -> NDArray[np.int64]:
    """Chunks that new observations or new steps change.

    Args:
        axis_T: The axis as it will be.
        edge: The label before its first.
        chunk_steps: Steps of a chunk.
        stored_steps: Steps that the cube holds already.
        days: Starts (seconds UTC) of the days of `valid_time` that received rows since the cube was last built.
        reach: Seconds that a reading serves beyond its own cell (`max_age`).
        ahead: Seconds after a label of which readings still belong to its cell (runs).
    """
    steps = len(axis_T)
    fresh = np.arange(stored_steps // chunk_steps, -(-steps // chunk_steps)) if steps > stored_steps else np.zeros(0, np.int64)
    day = np.asarray(sorted(days), np.int64)
    # A day's rows meet the steps (begin, label] with label + ahead >= its start and begin < its end + reach; the first begins at `edge`.
    first = np.searchsorted(axis_T, day - ahead, side="left")
    last = np.searchsorted(axis_T, day + DAY + reach - 1, side="left")
    last = np.where(edge < day + DAY + reach - 1, np.minimum(last, steps - 1), -1)
    spans = [np.arange(a // chunk_steps, b // chunk_steps + 1) for a, b in zip(first, last, strict=True) if a <= b]
    return np.unique(np.concatenate([fresh, *spans])).astype(np.int64)


def measure_plan(
    plans: Sequence[DomainPlan],
    rows: Mapping[Region, int],
    *,
    threads: int,
    decoding: Mapping[Region, int] | None = None,
    texts: int = 0,
    isolated: bool = False,
) -> PlanSize:
    """Count tasks, cells, rows and bytes, for processes that work on so many regions at once.

    `decoding` are the bytes that whole grids take in each region, `texts` those that documents and their
    encoders take beside them, or in a process without regions where these are made in `isolated` ones.
    """
    cells = {r: (r.stop - r.start) * len(p.nodes) * len(p.variables) for p in plans for r in p.regions}
    more = decoding or {}
    named = max((len(p.nodes) for p in plans if p.regions and p.nodes.shape is None), default=0)
    needs = sorted((CELL_BYTES * n + ROW_BYTES * rows[r] + more.get(r, 0) for r, n in cells.items()), reverse=True)
    total = sum(cells.values())
    regions = BASE_BYTES + HEARD_BYTES * named + sum(needs[:threads])
    return PlanSize(
        tasks=len(cells),
        cells=total,
        rows=sum(rows[r] for r in cells),
        written_bytes=total * BYTES_PER_CELL,
        threads=threads,
        peak_bytes=max(regions, BASE_BYTES + texts) if isolated else regions + texts,
        text_bytes=texts,
    )


def fit_plan(
    plans: Sequence[DomainPlan],
    rows: Mapping[Region, int],
    *,
    threads: int,
    spare: int,
    limit_bytes: int,
    decoding: Mapping[Region, int] | None = None,
    texts: int = 0,
    isolated: bool = False,
) -> PlanSize:
    """`measure_plan` for `threads` regions at once, or for up to `spare` more where they fit."""
    measure = partial(measure_plan, plans, rows, decoding=decoding, texts=texts, isolated=isolated)
    sizes = (measure(threads=threads + more) for more in range(spare, -1, -1))
    size = next(sizes)
    while size.peak_bytes > limit_bytes and size.threads > threads:
        size = next(sizes)
    return size


def check_plan(size: PlanSize, *, limit_bytes: int) -> None:
    """Refuse a plan whose peak does not fit.

    Raises:
        ConfigError: With the numbers.
    """
    if size.peak_bytes > limit_bytes:
        raise ConfigError(
            asked=f"a cube build of {size}",
            found=f"{_mib(limit_bytes)} are allowed for a process",
            mend="set a smaller chunk_steps in the domain, let fewer threads share a process (CUBECAST_DASK=processes:N), "
            + ("take a smaller encoder for texts, " if size.text_bytes else "")
            + "or raise CUBECAST_MEMORY",
        )


def _mib(size: int) -> str:
    return f"{size / 2**20:,.0f} MiB"

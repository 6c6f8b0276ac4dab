"""What a file of grids or of series holds: values at stamps, of the cells of a grid or of named nodes. T stamps, P cells or nodes."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.contracts.worlds import Source
from pipeline.errors import ContractError
from pipeline.sources.adapter import SLAB_NODE, Readings, Slabs
from pipeline.sources.files import FileAdapter
from pipeline.sources.grids import Cells, GridOptions, consecutive, gridded_readings, stamped


@dataclass(frozen=True, kw_only=True, eq=False)
class Fields:
    """The values of one delivery.

    Attributes:
        where: The cells of a grid, row by row, or the names of nodes.
        stamps: (T,) int64 seconds UTC, NO_TIME: none; `published` likewise, None where the file does not say.
        values: Per variable (T, P) float64; NaN where there is none.
        faults: The rule that a stamp breaks, by its place.
        rows: The numbers of the grids that it is of, ascending, where only some were read.
    """

    where: Cells | tuple[str, ...]
    stamps: NDArray[np.int64]
    values: Mapping[str, NDArray[np.float64]]
    options: GridOptions
    file: str
    published: NDArray[np.int64] | None = None
    faults: Mapping[int, str] | None = None
    rows: NDArray[np.int64] | None = None

    def readings(self) -> Readings:
        """A row per stamp and node.

        Raises:
            ContractError: The cells are too many to have names.
        """
        nodes = self.where.nodes if isinstance(self.where, Cells) else self.where
        return gridded_readings(nodes, self.stamps, dict(self.values), self.options, self.file, self.published, self.faults)

    def slab_times(self) -> Readings:
        """A row per grid, without values.

        Raises:
            ContractError: There is no grid.
        """
        cells = len(self._grid().row) * len(self._grid().column)
        taken, rejected = stamped(self.stamps, self.options, self.file, cells, self.faults)
        content = [
            hashlib.blake2b(b"".join(_finite(table[t].copy()).tobytes() for table in self.values.values()), digest_size=8).digest()
            for t in taken.slab.tolist()
        ]
        return Readings(
            node_ids=(SLAB_NODE,),
            node=np.zeros(len(content), np.int32),
            valid_time=taken.valid_time,
            published_time=None if self.published is None else self.published[taken.slab],
            values={},
            row=np.arange(1, len(content) + 1),
            rejected=rejected,
            raw_rows=len(content) + len(rejected),
            content=np.frombuffer(b"".join(content), "<i8").astype(np.int64),
            cells=cells,
        )

    def slabs(self, rows: NDArray[np.int64]) -> Slabs:
        """The grids of these numbers among those whose stamp is one; raises as `slab_times` does."""
        grid = self._grid()
        taken, _ = stamped(self.stamps, self.options, self.file, 0, self.faults)
        number = rows - 1 if self.rows is None else np.searchsorted(self.rows, rows)
        values = {name: _finite(table[taken.slab[number]]) for name, table in self.values.items()}
        return Slabs(latitude=grid.latitude, longitude=grid.longitude, values=values)

    def _grid(self) -> Cells:
        if not isinstance(self.where, Cells):
            found = "series of nodes, no grid"
            raise ContractError(asked=f"grids in {self.file}", found=found, mend="drop slabs = true of the source")
        return self.where


def steps_of(stamps: NDArray[np.int64], rows: NDArray[np.int64] | None, options: GridOptions) -> slice | NDArray[np.int64]:
    """Which of the stamps are those of the grids of these (ascending) numbers; all of them without numbers."""
    if rows is None:
        return slice(0, len(stamps))
    steps = stamped(stamps, options, "", 0)[0].slab[rows - 1]
    runs = consecutive(steps) if len(steps) else [slice(0, 0)]
    return runs[0] if len(runs) == 1 else steps


def _finite(values: NDArray[np.float64]) -> NDArray[np.float64]:
    values[np.isinf(values)] = np.nan
    return values


class FieldAdapter(FileAdapter):
    """An adapter that says of a delivery which fields it holds; rows, and whole grids, follow from that.

    Attributes:
        unpacked_bytes: What each value takes while it is read: as it lies there, as a number, scaled.
    """

    unpacked_bytes = 28

    def fields(self, source: Source, parts: Mapping[str, bytes], rows: NDArray[np.int64] | None = None) -> Fields:
        """What a delivery holds; where numbers of grids are given (ascending), it may be these alone (`Fields.rows`).

        Raises:
            ContractError: The file as a whole cannot be read.
        """
        raise NotImplementedError

    def parse(self, source: Source, parts: Mapping[str, bytes]) -> Readings:
        """The readings in a delivery's bytes; raises as `fields` does."""
        return self.fields(source, parts).readings()

    def slab_times(self, source: Source, parts: Mapping[str, bytes]) -> Readings:
        """Which grids a delivery holds, a row each; raises as `fields` does."""
        return self.fields(source, parts).slab_times()

    def slabs(self, source: Source, parts: Mapping[str, bytes], rows: NDArray[np.int64]) -> Slabs:
        """The grids of these numbers; raises as `fields` does."""
        return self.fields(source, parts, np.unique(rows)).slabs(rows)

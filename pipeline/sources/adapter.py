"""What every source adapter gives: deliveries as the provider names them, and readings in columns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from pipeline.contracts.deliveries import Delivery
from pipeline.contracts.nodes import NodeSet
from pipeline.contracts.worlds import Source
from pipeline.settings import Settings

if TYPE_CHECKING:
    import pyarrow as pa

NO_TIME = np.int64(np.iinfo(np.int64).min)
"""Where an array of instants (int64 seconds UTC) holds none."""

SLAB_NODE = "grid"
"""The node that every whole grid is of."""


@dataclass(frozen=True, kw_only=True)
class RejectedRows:
    """Rows that could not be taken, each with its file, its 1-based data row, the rule it broke and its text."""

    file: tuple[str, ...] = ()
    row: tuple[int, ...] = ()
    reason: tuple[str, ...] = ()
    raw: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.row)

    def __add__(self, other: RejectedRows) -> RejectedRows:
        return RejectedRows(
            file=self.file + other.file, row=self.row + other.row, reason=self.reason + other.reason, raw=self.raw + other.raw
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Readings:
    """The readings of one delivery in delivered units; R rows.

    Attributes:
        node_ids: Identities that `node` points into.
        node: (R,) int32.
        valid_time: (R,) int64 seconds UTC, never earlier than the stamp (parts of a second are rounded up).
        published_time: (R,) int64 seconds UTC by the feed's own column, NO_TIME where it says nothing; None: no such column.
        grid: Cells of a grid: rows, columns, and latitude and longitude of the first and of the last cell.
        init_time: Forecasts: (R,) int64 seconds UTC, the start of the run that each is of.
        text: Documents: (R,) what each says; None where it says nothing.
        content: Whole grids: (R,) int64, 64 bits of a digest of each, equal only where two say the same; `cells` of each. A row is a
            slab then, of the node SLAB_NODE, and without values.
        values: Per variable (R,) float64; NaN where nothing was delivered.
        row: (R,) int64, the 1-based data row in the delivery.
        rejected: The rows that are not among the R.
        raw_rows: How many rows were delivered: R + rejected.
    """

    node_ids: tuple[str, ...]
    node: NDArray[np.int32]
    valid_time: NDArray[np.int64]
    published_time: NDArray[np.int64] | None
    values: dict[str, NDArray[np.float64]]
    row: NDArray[np.int64]
    rejected: RejectedRows = field(default_factory=RejectedRows)
    raw_rows: int
    grid: tuple[float, ...] | None = None
    init_time: NDArray[np.int64] | None = None
    text: pa.Array | None = None
    content: NDArray[np.int64] | None = None
    cells: int = 0

    def __len__(self) -> int:
        return len(self.row)


class Adapter(Protocol):
    """One provider or format; its entry in `contracts.observations.PARSER_VERSIONS` says when the same bytes parse differently."""

    def check(self, source: Source) -> None:
        """Refuse options that make no sense.

        Raises:
            ConfigError: Naming the option, its value, what is allowed.
        """

    def deliveries(self, source: Source, settings: Settings, as_of: datetime) -> Iterator[Delivery]:
        """What the provider has handed over by `as_of`, in a fixed order.

        Raises:
            NotYetAvailable: Nothing is there yet.
            ConfigError: The location can never be read.
        """

    def parse(self, source: Source, parts: Mapping[str, bytes]) -> Readings:
        """The readings in a delivery's bytes (file name -> content); a pure function of them.

        Raises:
            ContractError: The file as a whole cannot be read (truncated, a column missing).
        """

    def parse_places(self, source: Source, parts: Mapping[str, bytes]) -> NodeSet:
        """The nodes and places in a delivery of role `nodes`, in its order.

        Raises:
            ContractError: The file as a whole cannot be read.
        """


@dataclass(frozen=True, kw_only=True, eq=False)
class Slabs:
    """Whole grids in delivered units.

    Attributes:
        latitude, longitude: Degrees of each row and of each column.
        values: Per variable (S, rows * columns) float64; NaN where nothing was delivered.
    """

    latitude: NDArray[np.float64]
    longitude: NDArray[np.float64]
    values: dict[str, NDArray[np.float64]]


@runtime_checkable
class SlabAdapter(Protocol):
    """An adapter that gives whole grids without making a row of each cell; of others the rows are put together again."""

    def slab_times(self, source: Source, parts: Mapping[str, bytes]) -> Readings:
        """Which grids a delivery holds, a row each; their values are not decoded.

        Raises:
            ContractError: The file as a whole cannot be read.
        """

    def slabs(self, source: Source, parts: Mapping[str, bytes], rows: NDArray[np.int64]) -> Slabs:
        """The grids of these numbers.

        Raises:
            ContractError: The file as a whole cannot be read.
        """

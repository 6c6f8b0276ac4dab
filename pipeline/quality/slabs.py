"""The rules over whole grids: values in canonical units and one flag word per cell, some rows at a time. Y rows, X columns."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from pipeline.contracts.worlds import RawVariable
from pipeline.quality.screen import screen

_CELLS = 1 << 16
"""At once: what a processor's cache holds."""


def screened_bands(
    delivered_YX: NDArray[np.float64], variable: RawVariable, *, valid_time: int, received_time: int
) -> Iterator[tuple[int, NDArray[np.float32], NDArray[np.uint16]]]:
    """The first of some rows that follow each other, and their values and flags, until all rows have come; infinite is missing."""
    height, width = delivered_YX.shape
    rows = max(_CELLS // max(width, 1), 1)
    for first in range(0, height, rows):
        cells = delivered_YX[first : first + rows].reshape(-1)
        if np.isinf(cells).any():
            cells = np.where(np.isinf(cells), np.nan, cells)
        found = screen(
            {"slab": cells},
            {"slab": variable},
            node=np.zeros(len(cells), np.int32),
            valid_time=np.full(len(cells), valid_time),
            punctual=np.zeros(len(cells), np.bool_),
            received_time=received_time,
        )["slab"]
        shape = (-1, width)
        yield first, found.values.reshape(shape), found.flags.reshape(shape)

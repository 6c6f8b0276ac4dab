"""The rules over whole grids: values in canonical units and one flag word per cell, some rows at a time. Y rows, X columns."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from pipeline.contracts.flags import Flag
from pipeline.contracts.units import conversion, floor_of
from pipeline.contracts.worlds import RawVariable
from pipeline.quality import rules
from pipeline.quality.screen import screen

_CELLS = 1 << 16
"""At once: what a processor's cache holds."""
_LARGEST = float(np.finfo(np.float32).max)


def screened_bands(
    delivered_YX: NDArray[np.float64], variable: RawVariable, *, valid_time: int, received_time: int
) -> Iterator[tuple[int, NDArray[np.float32], NDArray[np.uint16]]]:
    """The first of some rows that follow each other, and their values and flags, until all rows have come; infinite is missing.

    Says what `screen` says of each cell. It is asked only about those that are neither within bounds nor one of the variable's fill codes.
    """
    height, width = delivered_YX.shape
    rows = max(_CELLS // max(width, 1), 1)
    quick = _Quick(variable, bool(rules.future(np.array([valid_time]), received_time)[0]))
    for first in range(0, height, rows):
        cells = delivered_YX[first : first + rows].reshape(-1)
        values, flags, doubtful = quick.screened(cells)
        if len(doubtful):
            rest = cells[doubtful]
            found = screen(
                {"slab": np.where(np.isinf(rest), np.nan, rest)},
                {"slab": variable},
                node=np.zeros(len(rest), np.int32),
                valid_time=np.full(len(rest), valid_time),
                punctual=np.zeros(len(rest), np.bool_),
                received_time=received_time,
            )["slab"]
            values[doubtful], flags[doubtful] = found.values, found.flags
        yield first, values.reshape(-1, width), flags.reshape(-1, width)


class _Quick:
    """What `screen` says of the cells that no rule but the fill codes and the stamp is about."""

    def __init__(self, variable: RawVariable, future: bool) -> None:
        self._change = conversion(variable.unit, variable.to)
        low = floor_of(variable.to or variable.unit) if variable.valid_min is None else variable.valid_min
        self._low = -_LARGEST if low is None else max(low, -_LARGEST)
        self._high = _LARGEST if variable.valid_max is None else min(variable.valid_max, _LARGEST)
        self._codes = [code for code in variable.missing if math.isfinite(code)]
        self._common = np.uint16(Flag.FUTURE if future else 0)

    def screened(self, cells: NDArray[np.float64]) -> tuple[NDArray[np.float32], NDArray[np.uint16], NDArray[np.int64]]:
        """Values and flags, and the places where they are not true: of all other cells."""
        values = cells * self._change.factor if self._change.factor != 1 else cells
        values = values + self._change.offset if self._change.offset else values
        within = values >= self._low
        within &= values <= self._high
        with np.errstate(over="ignore"):
            narrow = values.astype(np.float32)
        narrow += np.float32(0)  # -0 is 0
        flags = np.full(len(cells), self._common)
        for code in self._codes:
            held = cells == code
            np.copyto(narrow, np.float32(np.nan), where=held)
            np.bitwise_or(flags, held * np.uint16(Flag.FILL_CODE), out=flags)
            within |= held
        return narrow, flags, np.zeros(0, np.int64) if within.all() else np.flatnonzero(~within)

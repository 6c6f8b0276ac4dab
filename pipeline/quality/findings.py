"""What a delivery's flags say to people: which node, which variable, which unit, how often."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from pipeline.contracts.flags import Flag
from pipeline.contracts.worlds import RawVariable
from pipeline.quality.screen import Screened

MOST = 5
"""Lines about one kind of finding in one delivery."""


def findings(
    screened: Mapping[str, Screened],
    variables: Mapping[str, RawVariable],
    delivered: Mapping[str, NDArray[np.float64]],
    node: NDArray[np.int32],
    ids: tuple[str, ...],
    *,
    early: NDArray[np.bool_] | None = None,
    unpublished: NDArray[np.bool_] | None = None,
) -> Iterator[str]:
    """Lines about what looks like a mistake of the provider or of the world file.

    `early` are the readings stamped later than received, `unpublished` those that say they were published after that; None in a recorded
    world, whose files go on where its clock has stopped.
    """
    said = {name: int(np.bitwise_or.reduce(found.flags)) for name, found in screened.items()}
    for name, found in screened.items():
        yield from _units(name, found, variables[name].unit, node, ids)
        codes = delivered[name][found.flags & Flag.FILL_CODE > 0] if said[name] & Flag.FILL_CODE else np.zeros(0)
        for code in variables[name].missing:
            codes = codes[codes != code]
        for value, count in zip(*np.unique(codes, return_counts=True), strict=True) if len(codes) else ():
            yield f"{name}: {count:,} readings of {value:g}, out of bounds and a usual code for none: list it in missing"
    fast = [found.flags & Flag.CADENCE > 0 for name, found in screened.items() if said[name] & Flag.CADENCE]
    told = {"stamped later than received": early, "published later than received": unpublished}
    told |= {"sooner after the last than the declared cadence allows": np.any(fast, axis=0)}
    for words, where in told.items():
        if where is not None and where.any():
            yield f"{int(where.sum()):,} readings {words}, the first of node {ids[int(node[np.argmax(where)])]}"


def _units(name: str, found: Screened, declared: str, node: NDArray[np.int32], ids: tuple[str, ...]) -> Iterator[str]:
    if not found.suspect.any():
        return
    where = np.flatnonzero(found.suspect)
    pairs = np.stack([node[where], found.suspect[where]], axis=1)
    kinds, counts = np.unique(pairs, axis=0, return_counts=True)
    for (place, code), count in list(zip(kinds.tolist(), counts.tolist(), strict=True))[:MOST]:
        yield f"{name} of node {ids[place]}: {count:,} readings look like {found.mistakes[code - 1].unit}, not {declared}"
    if len(kinds) > MOST:
        yield f"{name}: so do readings of {len(kinds) - MOST} more nodes"

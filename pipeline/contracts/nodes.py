"""NodeSet: the rows of a domain, in a fixed order."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True, eq=False)
class NodeSet:
    """The nodes of one domain in the order that every array of it keeps.

    Attributes:
        ids: Identity of each node, unique.
        latitude: (node,) degrees north, NaN where unknown.
        longitude: (node,) degrees east in [-180, 180), NaN where unknown.
        shape: (y, x) where the nodes are the cells of a grid in row-major order, else None.
        ends: (node, 4) start latitude, start longitude, end latitude, end longitude of a segment, else None.
    """

    ids: tuple[str, ...]
    latitude: NDArray[np.float64]
    longitude: NDArray[np.float64]
    shape: tuple[int, int] | None = None
    ends: NDArray[np.float64] | None = None

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def digest(self) -> str:
        """sha256 over identities, order, places and shape."""
        state = hashlib.sha256(json.dumps([self.ids, self.shape]).encode())
        for array in (self.latitude, self.longitude, *([] if self.ends is None else [self.ends])):
            state.update(np.ascontiguousarray(array, dtype="<f8").tobytes())
        return state.hexdigest()

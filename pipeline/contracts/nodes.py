"""NodeSet: the rows of a domain, in a fixed order."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Link = tuple[str, str, float]
"""The identities of a source and a target, and how much the source tells about the target."""


def links_among(links: tuple[Link, ...], ids: Collection[str]) -> tuple[Link, ...]:
    """The links both ends of which are among these nodes."""
    known = set(ids)
    return tuple(link for link in links if link[0] in known and link[1] in known)


@dataclass(frozen=True, kw_only=True, eq=False)
class NodeSet:
    """The nodes of one domain in the order that every array of it keeps.

    Attributes:
        ids: Identity of each node, unique.
        latitude: (node,) degrees north, NaN where unknown.
        longitude: (node,) degrees east in [-180, 180), NaN where unknown.
        shape: (y, x) where the nodes are the cells of a grid in row-major order, else None.
        links: Which node tells about which, where a matrix says it.
        ends: (node, 4) start latitude, start longitude, end latitude, end longitude of a segment, else None.
    """

    ids: tuple[str, ...]
    latitude: NDArray[np.float64]
    longitude: NDArray[np.float64]
    shape: tuple[int, int] | None = None
    ends: NDArray[np.float64] | None = None
    links: tuple[Link, ...] = ()

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def digest(self) -> str:
        """sha256 over identities, order, places, shape and links."""
        state = hashlib.sha256(json.dumps([self.ids, self.shape, *([sorted(self.links)] if self.links else [])]).encode())
        for array in (self.latitude, self.longitude, *([] if self.ends is None else [self.ends])):
            state.update(np.ascontiguousarray(array, dtype="<f8").tobytes())
        return state.hexdigest()

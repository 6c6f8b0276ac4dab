"""DomainCube: what `open(as_of=T)` returns, and the constants of the format at rest."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from pipeline.contracts.nodes import NodeSet

NEVER = np.int32(np.iinfo(np.int32).max)
"""Latency of a cell that holds nothing (no value could ever be known)."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Revisions:
    """Superseded values, oldest first within a cell: what a reader at an earlier `as_of` would have seen.

    A record was the visible one from `available_time` until `superseded_time` (exclusive).

    Attributes:
        step: (record,) int32 index on the domain's axis.
        node: (record,) int32 index in the NodeSet.
        variable: (record,) int16 index in the cube's variables.
        value: (record,) float32, physical units, NaN where it was missing.
        flag: (record,) uint16 quality flags of that value.
        available_time: (record,) int64 seconds UTC.
        superseded_time: (record,) int64 seconds UTC.
    """

    step: NDArray[np.int32]
    node: NDArray[np.int32]
    variable: NDArray[np.int16]
    value: NDArray[np.float32]
    flag: NDArray[np.uint16]
    available_time: NDArray[np.int64]
    superseded_time: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.step)

    @staticmethod
    def empty() -> Revisions:
        """No record at all."""
        return Revisions(
            step=np.zeros(0, np.int32),
            node=np.zeros(0, np.int32),
            variable=np.zeros(0, np.int16),
            value=np.zeros(0, np.float32),
            flag=np.zeros(0, np.uint16),
            available_time=np.zeros(0, np.int64),
            superseded_time=np.zeros(0, np.int64),
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class DomainCube:
    """One domain of a world as it was known at `as_of`.

    T counts the axis steps with `valid_time` <= `as_of`, N nodes, V variables.

    Attributes:
        valid_time: (T,) int64 seconds UTC, strictly increasing.
        units: Unit of each variable.
        values_TNV: float32 in physical units; NaN where nothing good is known: missing, flagged, or not yet available.
        flags_TNV: uint16 quality flags; MISSING where nothing was available by `as_of`.
        latency_TNV: int32 seconds, `available_time` - `valid_time` of the version shown; NEVER where there is none.
        revisions: Versions superseded by `as_of` (those a window issued earlier must see instead).
        snapshot: Identity of the immutable state that was read.
        node_known_time_N: int64 seconds UTC, when each node was first heard of; None where all were there throughout.
    """

    domain: str
    as_of: int
    snapshot: str
    valid_time: NDArray[np.int64]
    nodes: NodeSet
    variables: tuple[str, ...]
    units: tuple[str, ...]
    values_TNV: NDArray[np.float32]
    flags_TNV: NDArray[np.uint16]
    latency_TNV: NDArray[np.int32]
    revisions: Revisions
    node_known_time_N: NDArray[np.int64] | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class TextCube:
    """The documents of one stream as they were known at `as_of`, in the order in which they became known.

    Attributes:
        places: What documents are about, sorted by name; those of the documents that are there.
        available_time_D, valid_time_D: (D,) int64 seconds UTC.
        place_D: (D,) int32 index in `places`.
        token_start_D: (D+1,) int64; the tokens of document d are token[token_start_D[d]:token_start_D[d + 1]].
        token: int32 hashed words and sequences of words.
        vector_DW: (D, W) float16 by the stream's sentence encoder; W = 0 without one.
        snapshot: Identity of the immutable state that was read.
    """

    stream: str
    as_of: int
    snapshot: str
    places: NodeSet
    available_time_D: NDArray[np.int64]
    valid_time_D: NDArray[np.int64]
    place_D: NDArray[np.int32]
    token_start_D: NDArray[np.int64]
    token: NDArray[np.int32]
    vector_DW: NDArray[np.float16] = field(default_factory=lambda: np.zeros((0, 0), np.float16))

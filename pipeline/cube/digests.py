"""Digests of time chunks: the same whether a cube had all its nodes from the start or gained some later. S steps, N node."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.contracts.cubes import NEVER, Revisions
from pipeline.contracts.flags import Flag

_EMPTY: dict[str, Any] = {"uint16": np.uint16(Flag.MISSING), "int32": NEVER}


class ChunkDigest:
    """sha256 of a time chunk's arrays in order; nodes after the last that holds anything count as not there."""

    def __init__(self) -> None:
        self._state = hashlib.sha256()

    def add(self, array_SN: NDArray[Any]) -> None:
        """Take in the next array: values, flags or latencies."""
        width = _width(array_SN)
        self._state.update(width.to_bytes(8, "little"))
        if width:
            self._state.update(np.ascontiguousarray(array_SN[:, :width]).data)

    @property
    def bytes(self) -> bytes:
        """The digest of what was added so far."""
        return self._state.digest()


def chunk_digest(arrays_SN: Iterable[NDArray[Any]]) -> bytes:
    """The digest of a whole time chunk: values, flags and latencies of each variable in turn."""
    digest = ChunkDigest()
    for array in arrays_SN:
        digest.add(array)
    return digest.bytes


def revisions_digest(revisions: Revisions) -> bytes:
    """sha256 over the columns of one time chunk's superseded versions."""
    state = hashlib.sha256()
    for field in fields(Revisions):
        state.update(np.ascontiguousarray(getattr(revisions, field.name)).data)
    return state.digest()


def _width(array_SN: NDArray[Any]) -> int:
    """Nodes up to the last that holds anything."""
    if not array_SN.size:
        return 0
    if not _empty(array_SN[:, -1]).all():
        return int(array_SN.shape[1])
    held = np.flatnonzero(~_empty(array_SN).all(axis=0))
    return int(held[-1]) + 1 if len(held) else 0


def _empty(cells: NDArray[Any]) -> NDArray[np.bool_]:
    return np.asarray(np.isnan(cells) if cells.dtype.kind == "f" else cells == _EMPTY[cells.dtype.name])

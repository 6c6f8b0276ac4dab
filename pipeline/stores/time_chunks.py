"""Time chunks of a domain's big arrays as they lie in a store: encoded, proved together, decoded to where they belong.

A proof is the sha256 of all that is stored of a time chunk. It is taken of the bytes as they are stored, which are fewer than the cells,
and tells what no checksum within a chunk can: that an index leads to another chunk. S steps and W nodes of a chunk, N nodes.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import StoreError
from pipeline.stores.cube_format import BIG, CODEC, MEND, GroupTemplate
from pipeline.stores.together import put_together

_CHECKSUM = 4
"""Bytes of the crc32c behind each chunk."""

Stored = Sequence[NDArray[np.uint8] | None]


@dataclass(frozen=True, kw_only=True)
class TimeChunks:
    """How the big arrays of a domain are cut.

    Attributes:
        steps: Steps of a chunk.
        width: Nodes of a chunk; of a grid all its cells.
        grid: Whether a step is a grid, so that the name of a chunk has one more part.
    """

    domain: str
    variables: tuple[str, ...]
    steps: int
    width: int
    grid: bool

    @staticmethod
    def of_book(domain: str, book: Mapping[str, Any]) -> TimeChunks:
        """As the attributes of a group at rest say."""
        return TimeChunks(
            domain=domain,
            variables=tuple(book["variables"]),
            steps=book["chunk_steps"],
            width=max(book["nodes"] if book["grid_shape"] else book["chunk_nodes"], 1),
            grid=book["grid_shape"] is not None,
        )

    @staticmethod
    def of_template(template: GroupTemplate) -> TimeChunks:
        """As a group is about to be."""
        return TimeChunks(
            domain=template.domain,
            variables=tuple(v.name for v in template.variables),
            steps=template.chunk_steps,
            width=max(len(template.nodes) if template.nodes.shape else template.chunk_nodes, 1),
            grid=template.nodes.shape is not None,
        )

    def keys(self, chunk: int, nodes: int) -> list[str]:
        """Where a time chunk lies that was written when there were so many nodes: array by array."""
        tail = [f"{n}/0" if self.grid else f"{n}" for n in range(-(-nodes // self.width))]
        return [f"{self.domain}/{name}{suffix}/c/{chunk}/{t}" for name in self.variables for suffix in BIG for t in tail]

    def write(self, store: Any, chunk: int, arrays_SN: Mapping[str, NDArray[Any]]) -> bytes:
        """Store the arrays of one time chunk, which may be short of steps or nodes; returns its proof."""
        from numcodecs import Blosc

        nodes = len(next(iter(arrays_SN.values()))[0])
        encoded: list[bytes] = []
        for name in self.variables:
            for suffix, (dtype, fill) in BIG.items():
                codec = Blosc(**CODEC, shuffle=Blosc.BITSHUFFLE, typesize=np.dtype(dtype).itemsize)
                blocks = _blocks(arrays_SN[name + suffix], self.steps, self.width, fill)
                encoded += [_checked(codec.encode(block)) for block in blocks]
        put_together(store, dict(zip(self.keys(chunk, nodes), encoded, strict=True)))
        return proof_of(encoded)

    def prove(self, stored: Stored, proof: bytes, chunk: int, nodes: int) -> None:
        """Refuse what is not stored as it was written.

        Raises:
            StoreError: Naming the chunks that are damaged or absent.
        """
        held = [part for part in stored if part is not None]
        if len(held) == len(stored) and proof_of(held) == proof:
            return
        named = zip(self.keys(chunk, nodes), stored, strict=True)
        broken = [f"{key} {'is absent' if part is None else 'is damaged'}" for key, part in named if part is None or not _whole(part)]
        raise StoreError(
            asked=f"read time chunk {chunk} of cube {self.domain}",
            found=", ".join(broken) or "whole chunks, but others than were written: an index or what it leads to is damaged",
            mend=MEND,
        )

    def decode(self, stored: Stored, targets: Sequence[NDArray[Any]], rows: slice, *, nodes: int, heard: NDArray[np.int64] | None) -> None:
        """Put cells of a time chunk where they belong; nodes that were not there yet hold nothing.

        Args:
            stored: What was proved.
            targets: (step, node) of each array, those that are asked for.
            rows: The steps of the chunk that are asked for.
            nodes: How many nodes there are now.
            heard: Those of them that are asked for, ascending; None: all.
        """
        from numcodecs import blosc

        each = len(stored) // len(targets)
        for k, (target, (dtype, fill)) in enumerate(zip(targets, itertools.cycle(BIG.values()))):
            for n, low in enumerate(range(0, nodes, self.width)):
                high = min(low + self.width, nodes)
                place = slice(low, high) if heard is None else slice(*np.searchsorted(heard, (low, high)))
                cells = target[:, place]
                part = stored[k * each + n] if n < each else None
                if part is None:
                    cells[...] = fill
                elif cells.shape == (self.steps, self.width) and cells.flags.c_contiguous:
                    blosc.decompress(part[:-_CHECKSUM], cells)
                else:
                    room = np.empty(self.steps * self.width * cells.itemsize, np.uint8)
                    blosc.decompress(part[:-_CHECKSUM], room)
                    block = room.view(dtype).reshape(self.steps, self.width)[rows]
                    cells[...] = block[:, : high - low] if heard is None else block[:, heard[place] - low]


def _blocks(array_SN: NDArray[Any], steps: int, width: int, fill: Any) -> Iterator[NDArray[Any]]:
    """The chunks of an array, side by side, each whole."""
    for low in range(0, array_SN.shape[1], width):
        block = array_SN[:, low : low + width]
        if block.shape != (steps, width):
            held, block = block, np.full((steps, width), fill, array_SN.dtype)
            block[: len(held), : held.shape[1]] = held
        yield np.ascontiguousarray(block)


def _checked(encoded: bytes) -> bytes:
    """A chunk with its checksum behind it, as the codec crc32c has it."""
    return encoded + _checksum(encoded)


def _whole(part: NDArray[np.uint8]) -> bool:
    return part[-_CHECKSUM:].tobytes() == _checksum(part[:-_CHECKSUM].tobytes())


def _checksum(encoded: bytes) -> bytes:
    from google_crc32c import value

    return int(value(encoded)).to_bytes(_CHECKSUM, "little")


def proof_of(stored: Iterable[NDArray[np.uint8] | bytes]) -> bytes:
    """sha256 over the lengths and bytes of the stored chunks of a time chunk."""
    state = hashlib.sha256()
    for part in stored:
        state.update(len(part).to_bytes(8, "little"))
        state.update(part if isinstance(part, bytes) else part.data)
    return state.digest()

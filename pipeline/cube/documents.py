"""Observed documents as a cube keeps them: tokens instead of words. D document, P place, W width of a vector."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline.contracts.modalities import TextStream
from pipeline.contracts.nodes import NodeSet
from pipeline.cube.tokens import hashed_tokens

_BYTES = 16

Encode = Callable[[Sequence[str]], NDArray[np.float16]]
"""Of documents (D, W) vectors, each of its own words alone."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Documents:
    """Documents of one stream, in any order.

    Attributes:
        places: What they may be about.
        key_D: (D,) uint64, blake2b of the text.
        count_D: (D,) int32 tokens of each.
        token: int32, those of one document after the other.
        vector_DW: (D, W) float16; W = 0 without an encoder.
    """

    places: NodeSet
    available_time_D: NDArray[np.int64]
    valid_time_D: NDArray[np.int64]
    place_D: NDArray[np.int32]
    key_D: NDArray[np.uint64]
    count_D: NDArray[np.int32]
    token: NDArray[np.int32]
    vector_DW: NDArray[np.float16]

    def __len__(self) -> int:
        return len(self.key_D)

    @property
    def digest(self) -> int:
        """The sum of one hash per document: the same for any order, and for parts added up (modulo 2^128)."""
        starts = np.concatenate([[0], np.cumsum(self.count_D)])
        times = np.stack([self.available_time_D, self.valid_time_D, self.key_D.astype(np.int64)], axis=1).astype("<i8")
        token, vector_DW = self.token.astype("<i4"), self.vector_DW.astype("<f2")
        total = 0
        for d, place in enumerate(self.place_D.tolist()):
            state = hashlib.blake2b(times[d].tobytes(), digest_size=_BYTES, person=b"document")
            state.update(self.places.ids[place].encode())
            state.update(token[starts[d] : starts[d + 1]].tobytes())
            state.update(vector_DW[d].tobytes())
            total += int.from_bytes(state.digest(), "little")
        return int(total % 2 ** (8 * _BYTES))


def documents_of(rows: pa.Table, stream: TextStream, places: NodeSet, encode: Encode | None = None) -> Documents:
    """The good documents among observed rows, hashed.

    Args:
        rows: `node`, `valid_time`, `available_time`, `text` and `text_flag` of observations.
        stream: How they are hashed.
        places: All nodes of the source.
        encode: The stream's encoder, where it has one.
    """
    good = rows.filter(pc.equal(rows["text_flag"], 0))
    texts: list[str] = good["text"].cast(pa.string()).to_pylist()
    count, token = hashed_tokens(texts, buckets=stream.buckets, words=stream.words, longest=stream.longest)
    index = {name: k for k, name in enumerate(places.ids)}
    keys = b"".join(hashlib.blake2b(text.encode(), digest_size=8).digest() for text in texts)
    available, valid = (good[name].cast(pa.int64()).to_numpy() for name in ("available_time", "valid_time"))
    return Documents(
        places=places,
        available_time_D=available,
        valid_time_D=valid,
        place_D=np.array([index[name] for name in good["node"].cast(pa.string()).to_pylist()], np.int32),
        key_D=np.frombuffer(keys, "<u8").astype(np.uint64),
        count_D=count,
        token=token,
        vector_DW=encode(texts) if encode is not None else np.zeros((len(texts), 0), np.float16),
    )

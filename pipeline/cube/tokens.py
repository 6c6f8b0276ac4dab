"""Texts as hashed words and sequences of words, the same on every machine and in every run.

A text is NFKC-normalised and case-folded; a word is a run of letters, digits and underscores, with a `#`, `$` or `@`
before it. The hash of a word is the first 8 bytes of its blake2b, little-endian; that of a sequence of n words mixes
the hash of its first n-1 with that of its last. The bucket is the hash modulo their count.
Shape suffixes: D document, W word.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

_WORD = re.compile(r"[#$@]?\w+|\n")
_MULTIPLIERS = (np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))
"""Source: Steele et al., splitmix64 (2014)."""


def hashed_tokens(texts: Sequence[str], *, buckets: int, words: int, longest: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """(D,) how many tokens each document has, and all of them one document after the other.

    A document's words come first, in their order, then its sequences of two words, then of three …; `longest` are kept.
    """
    document_W, hash_W = _words(texts)
    tokens, documents, orders = [], [], []
    grown = hash_W
    for size in range(1, words + 1):
        if size > 1:
            grown = _mixed(grown[:-1] if len(grown) else grown, hash_W[size - 1 :])
        whole = document_W[: len(grown)] == document_W[size - 1 : size - 1 + len(grown)]
        tokens.append((grown[whole] % np.uint64(buckets)).astype(np.int32))
        documents.append(document_W[: len(grown)][whole])
        orders.append(np.full(int(whole.sum()), size))
    token, document = np.concatenate(tokens), np.concatenate(documents)
    order = np.lexsort((np.concatenate(orders), document))
    token, document = token[order], document[order]
    count = np.bincount(document, minlength=len(texts))
    place = np.arange(len(token)) - np.repeat(np.cumsum(count) - count, count)
    kept = place < longest
    return np.minimum(count, longest).astype(np.int32), token[kept]


def _words(texts: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.uint64]]:
    """Of every word its document and its hash."""
    joined = "\n".join(unicodedata.normalize("NFKC", text).casefold().replace("\n", " ") for text in texts)
    coded = pa.array(_WORD.findall(joined), pa.string()).dictionary_encode()
    distinct: list[str] = coded.dictionary.to_pylist()
    codes: NDArray[np.int32] = coded.indices.to_numpy(zero_copy_only=False)
    digests = b"".join(hashlib.blake2b(word.encode(), digest_size=8).digest() for word in distinct)
    between = codes == (distinct.index("\n") if "\n" in distinct else -1)
    document = np.cumsum(between)
    return document[~between], np.frombuffer(digests, "<u8").astype(np.uint64)[codes[~between]]


def _mixed(first: NDArray[np.uint64], last: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Hashes of sequences, from those of all but the last word and of the last one."""
    step, one, two = _MULTIPLIERS
    mixed = first * step + last
    mixed = (mixed ^ (mixed >> np.uint64(30))) * one
    mixed = (mixed ^ (mixed >> np.uint64(27))) * two
    return mixed ^ (mixed >> np.uint64(31))

"""Rows that a source of forecasts or of documents must not deliver, and what tells apart two rows of one node and instant."""

from __future__ import annotations

import hashlib

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

_NO_TIME = np.iinfo(np.int64).min


def run_faults(init_time: NDArray[np.int64], valid_time: NDArray[np.int64], cycle: int) -> dict[str, NDArray[np.bool_]]:
    """Per rule the forecasts (R,) that break it; runs start every `cycle` seconds from midnight UTC on."""
    known = init_time != _NO_TIME
    return {
        "no start of the run": ~known,
        f"a run that starts off the cycle of {cycle} s": known & (init_time % cycle != 0),
        "valid before its run starts": known & (valid_time < init_time),
    }


def document_faults(text: pa.Array, longest: int) -> dict[str, NDArray[np.bool_]]:
    """Per rule the documents (R,) that break it."""
    plain = text.fill_null("")
    found = {
        "no text": pc.equal(pc.utf8_length(pc.utf8_trim_whitespace(plain)), 0),
        f"a text of more than {longest} characters": pc.greater(pc.utf8_length(plain), longest),
        "a NUL character in the text": pc.match_substring(plain, "\0"),
    }
    return {rule: where.to_numpy(zero_copy_only=False) for rule, where in found.items()}


def document_keys(text: pa.Array) -> NDArray[np.int64]:
    """(R,) 64 bits of each text's blake2b: two documents of one node and instant are the same where their texts are."""
    coded = text.dictionary_encode()
    digests = b"".join(hashlib.blake2b(word.encode(), digest_size=8).digest() for word in coded.dictionary.to_pylist())
    codes: NDArray[np.int32] = coded.indices.to_numpy(zero_copy_only=False)
    return np.frombuffer(digests, "<i8").astype(np.int64)[codes]


def series_codes(node: NDArray[np.int32], key: NDArray[np.int64]) -> NDArray[np.int32]:
    """(R,) one code per pair of node and key: rows of one code are versions of each other where their instants agree."""
    keys, code = np.unique(key, return_inverse=True)
    pair = node.astype(np.int64) * max(len(keys), 1) + code.reshape(-1)
    codes: NDArray[np.int32] = np.unique(pair, return_inverse=True)[1].reshape(-1).astype(np.int32)
    return codes

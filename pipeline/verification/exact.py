"""Exact sums: numbers as integers in units of 2^-72, so that no order and no split of the terms can change a sum.

A number is four int64 limbs, the lowest first, each worth 2^32 of the one below. Normal form: all but the highest in
[0, 2^32), the highest signed; equal numbers then have equal limbs.
"""

from __future__ import annotations

import base64
import functools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import ContractError

LIMBS = 4
FINE = 72
_BITS = 32
_MASK = np.int64(2**_BITS - 1)
_TOP_LIMIT = 2.0**61
_STORED: tuple[np.dtype[np.integer[Any]], ...] = (
    *[np.dtype(np.uint32).newbyteorder("<")] * (LIMBS - 1),
    np.dtype(np.int64).newbyteorder("<"),
)
_UNITS = tuple(2.0 ** (_BITS * k - FINE) for k in range(LIMBS))

Limbs = NDArray[np.int64]


def limbs_of(values: NDArray[np.float64]) -> Limbs:
    """Each value rounded to 2^-72 once, (..., 4), not in normal form: every limb has the value's sign.

    Raises:
        ContractError: A value is not finite, or beyond 2^85.
    """
    peak = float(np.abs(values).max(initial=0))
    if not peak < _TOP_LIMIT * _UNITS[-1]:
        raise ContractError(
            asked="sum the errors of a window", found=f"a sum of {peak:g}", mend="check the unit of the variable and the model's bounds"
        )
    found = np.zeros((*values.shape, LIMBS), np.int64)
    rest = values.copy()
    for k in range(LIMBS - 1, 0, -1):
        if peak < _UNITS[k]:
            continue
        whole = np.trunc(rest * (1 / _UNITS[k]))
        found[..., k] = whole
        rest -= whole * _UNITS[k]
    found[..., 0] = np.rint(rest * (1 / _UNITS[0]))
    return found


def normal(limbs: Limbs) -> Limbs:
    """The same numbers in normal form.

    Raises:
        ContractError: A number is beyond what four limbs hold.
    """
    found = limbs.copy()
    for k in range(LIMBS - 1):
        found[..., k + 1] += found[..., k] >> _BITS
        found[..., k] &= _MASK
    if found.size and np.abs(found[..., -1]).max() >= _TOP_LIMIT:
        raise ContractError(asked="add statistics", found="a sum beyond 2^85", mend="use a larger unit for the variable")
    return found


def total(parts: Sequence[Limbs]) -> Limbs:
    """The sum of numbers in normal form, of any count, in normal form.

    Raises:
        ContractError: A sum is beyond what four limbs hold.
    """
    if len(parts) == 1:
        return parts[0]
    stacked = np.stack(parts)
    if stacked.size and np.abs(stacked[..., -1]).max() >= _TOP_LIMIT / len(parts):
        return functools.reduce(lambda a, b: normal(a + b), parts)
    return normal(stacked.sum(axis=0))


def grouped_sum(limbs: Limbs, code_M: NDArray[np.int64]) -> dict[int, Limbs]:
    """The sums over the first axis (M, ..., 4) of the rows with equal code, each in normal form."""
    order = np.argsort(code_M, kind="stable")
    codes, starts = np.unique(code_M[order], return_index=True)
    sums = np.add.reduceat(limbs[order], starts, axis=0)
    return {int(code): normal(sums[g]) for g, code in enumerate(codes)}


def integers(limbs: Limbs) -> NDArray[np.object_]:
    """The numbers as Python integers in units of 2^-72."""
    total = limbs[..., -1].astype(object)
    for k in range(LIMBS - 2, -1, -1):
        total = total * 2**_BITS + limbs[..., k].astype(object)
    return np.asarray(total, dtype=object)


def rounded(limbs: Limbs) -> NDArray[np.float64]:
    """The numbers as floats, each correctly rounded."""
    exact = integers(limbs)
    return np.array([value / 2**FINE for value in exact.ravel()], dtype=np.float64).reshape(exact.shape)


def to_text(limbs: Limbs) -> str:
    """Numbers in normal form as base64: limb by limb which are not zero, a bit each, and those, little-endian."""
    parts: list[bytes] = []
    for k, stored in enumerate(_STORED):
        plane = limbs[..., k].ravel()
        there = plane != 0
        parts += [np.packbits(there).tobytes(), plane[there].astype(stored).tobytes()]
    return base64.b64encode(b"".join(parts)).decode()


def from_text(text: str, shape: tuple[int, ...]) -> Limbs:
    """What `to_text` wrote.

    Raises:
        ContractError: It holds another number of numbers.
    """
    found, at = np.zeros((math.prod(shape), LIMBS), np.int64), 0
    size = -(-len(found) // 8)
    try:
        data = base64.b64decode(text, validate=True)
        for k, stored in enumerate(_STORED if size else ()):
            there = np.unpackbits(np.frombuffer(data, np.uint8, size, at), count=len(found)).astype(np.bool_)
            found[there, k] = held = np.frombuffer(data, stored, int(there.sum()), at + size)
            at += size + held.nbytes
        if at != len(data):
            raise ValueError(f"{len(data)} bytes, not {at}")
    except ValueError as error:
        raise ContractError(asked="read statistics", found=f"no numbers of shape {shape}: {error}", mend="score again") from error
    return found.reshape(*shape, LIMBS)

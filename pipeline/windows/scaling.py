"""Scalers: fitted on the training fold only. Shape suffixes: T axis steps, N node, V variable."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields

import numpy as np
from numpy.typing import NDArray

from pipeline.contracts.windows import Scaler
from pipeline.contracts.worlds import Domain
from pipeline.errors import ContractError

_BLOCK = 1024
_SPREAD_OF_NORMAL = 1.4826
"""Standard deviation over median absolute deviation of a normal distribution."""

_LEAST_READINGS = 8


def fit_scaler(domain: Domain, values_TNV: NDArray[np.float32]) -> Scaler:
    """Center and spread of each node and variable over the steps given, which must lie in the training fold.

    `variable`: one mean and standard deviation for all nodes; `node`: each its own, the variable's where it has fewer
    than 8 readings or never changes; `relative`: center 0 and scale 1, and the robust spread of the relative change
    from one step to the next.

    Args:
        domain: Its variables, in the order of V.
        values_TNV: Physical values, NaN where not good.
    """
    nodes = values_TNV.shape[1]
    center, scale = np.zeros((nodes, len(domain.variables))), np.ones((nodes, len(domain.variables)))
    relative = np.zeros((nodes, len(domain.variables)))
    for v, variable in enumerate(domain.variables.values()):
        values = values_TNV[:, :, v]
        if variable.scale == "relative":
            relative[:, v] = _relative_spread(values)
        else:
            center[:, v], scale[:, v] = _moments(values, each=variable.scale == "node")
    return Scaler(center_NV=center.astype(np.float32), scale_NV=scale.astype(np.float32), relative_NV=relative.astype(np.float32))


def scale_values(values_TNV: NDArray[np.float32], scaler: Scaler) -> NDArray[np.float32]:
    """Scaled values in place of physical ones, the same array; 0 where NaN."""
    values_TNV -= scaler.center_NV
    values_TNV /= scaler.scale_NV
    np.nan_to_num(values_TNV, copy=False, nan=0.0)
    return values_TNV


def dump_scalers(scalers: Mapping[str, Scaler]) -> bytes:
    """Scalers by domain as safetensors bytes."""
    from safetensors.numpy import save

    named = {
        f"{domain}/{f.name}": np.ascontiguousarray(getattr(s, f.name)) for domain, s in sorted(scalers.items()) for f in fields(Scaler)
    }
    return bytes(save(named))


def load_scalers(data: bytes) -> dict[str, Scaler]:
    """What `dump_scalers` wrote.

    Raises:
        ContractError: The bytes are no such thing.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        named = load(data)
        domains = sorted({key.split("/")[0] for key in named})
        return {d: Scaler(**{f.name: named[f"{d}/{f.name}"] for f in fields(Scaler)}) for d in domains}
    except (SafetensorError, KeyError) as error:
        raise ContractError(asked="scalers", found=f"bytes that are none: {error}", mend="train the model again") from error


def _moments(values_TN: NDArray[np.float32], *, each: bool) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and standard deviation per node, or of all nodes together for each node; 0 and 1 where nothing is known."""
    count, total, square = _sums(values_TN, np.zeros(values_TN.shape[1]))
    whole = float(total.sum() / max(count.sum(), 1))
    mean = np.where(count > 0, total / np.maximum(count, 1), whole) if each else np.full(len(count), whole)
    count, total, square = _sums(values_TN, mean)
    everywhere = np.sqrt(square.sum() / max(count.sum(), 1))
    if not each:
        return mean, np.full(len(count), everywhere if everywhere > 0 else 1.0)
    spread = np.sqrt(square / np.maximum(count, 1))
    usual = float(np.median(spread[spread > 0])) if (spread > 0).any() else 1.0
    own = (count >= _LEAST_READINGS) & (spread > 1e-6 * max(usual, 1e-30))
    return np.where(count >= _LEAST_READINGS, mean, whole), np.where(own, spread, usual)


def _sums(
    values_TN: NDArray[np.float32], about_N: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """Per node: count, sum of the values, sum of squares about a center; blockwise, so that no float64 copy of all is made."""
    count, total, square = np.zeros(len(about_N), np.int64), np.zeros(len(about_N)), np.zeros(len(about_N))
    for start in range(0, len(values_TN), _BLOCK):
        block = values_TN[start : start + _BLOCK].astype(np.float64)
        good = ~np.isnan(block)
        count += good.sum(axis=0)
        total += np.where(good, block, 0.0).sum(axis=0)
        square += (np.where(good, block - about_N, 0.0) ** 2).sum(axis=0)
    return count, total, square


def _relative_spread(values_TN: NDArray[np.float32]) -> NDArray[np.float64]:
    """Per node: robust standard deviation of (next - this) / |this|; the median node's where too little is known."""
    spread = np.full(values_TN.shape[1], np.nan)
    for n in range(values_TN.shape[1]):
        series = values_TN[:, n].astype(np.float64)
        before, after = series[:-1], series[1:]
        usable = ~np.isnan(before) & ~np.isnan(after) & (before != 0)
        if usable.sum() >= _LEAST_READINGS:
            change = (after[usable] - before[usable]) / np.abs(before[usable])
            spread[n] = _SPREAD_OF_NORMAL * np.median(np.abs(change - np.median(change)))
    known = spread[~np.isnan(spread) & (spread > 0)]
    usual = float(np.median(known)) if len(known) else 0.01
    return np.where(np.isnan(spread) | (spread <= 0), usual, spread)

"""Profiles: what a domain's variables were like over the time that its champion was trained on.

Shape suffixes: T axis steps, K blocks, N node, V variable, R region, Q order statistics.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.alignment.time_grid import DAY, step_seconds
from pipeline.contracts.cubes import DomainCube
from pipeline.contracts.flags import Flag
from pipeline.contracts.worlds import Domain
from pipeline.monitoring.distances import ks, psi, thinned
from pipeline.monitoring.runs import common_values, longest_gaps, longest_runs
from pipeline.verification.grounds import regions_of

FORMAT = 1
MOST_NODES = 2048
SAMPLE = 4096
EARLIER = 6
"""Blocks whose median a price is held against: its level has no meaning, its jump has."""

_LEAST_STEPS, _LEAST_BLOCKS, _LEAST_STRETCHES, _WEEK = 20, 7, 4, 7
_COMMON = 0.05
_FLOOR = 0.1
"""Least spread of a node's days, in deviations of its values."""

SUSPECTS = (Flag.STUCK, Flag.UNIT_SUSPECT)
"""Flags of the quality rules whose share per node is told of; along the last axis of `flagged_NVF`."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Profile:
    """The reference that the newest values are held against. A block is a day, or 20 steps where a step is long.

    Attributes:
        nodes: Of a domain with more than 2,048 nodes so many, evenly spaced.
        block, stretch: Steps of a block and of what drift is judged over: seven blocks, or one where the time is too short for that.
        blocks, stretches: How many there were; with fewer than four stretches drift is not judged.
        present_NV: Usual share of good cells of a block.
        center_NV, scale_NV: Median and robust deviation of the values; of relative variables of the logarithms about the blocks before.
        spread_NV, widest_NV: Of block medians off the center and off what all nodes do, in `scale_NV`: the usual and the greatest.
        common_KV: What all nodes did together, block by block, in `scale_NV`.
        gap_NV: Most steps in a row without a good value.
        longest_NV, repeats_NV, common_value_NV: See `runs`.
        flagged_NVF: Greatest share of a block that a suspect flag had.
        sample_RVQ: Sorted values, NaN at the end; of relative variables changes from step to step.
        psi_RV, ks_RV: The greatest distance of any stretch from all of them.
    """

    nodes: tuple[str, ...]
    variables: tuple[str, ...]
    regions: tuple[str, ...]
    region_N: NDArray[np.int64]
    block: int
    stretch: int
    blocks: int
    stretches: int
    present_NV: NDArray[np.float64]
    center_NV: NDArray[np.float64]
    scale_NV: NDArray[np.float64]
    spread_NV: NDArray[np.float64]
    widest_NV: NDArray[np.float64]
    common_KV: NDArray[np.float64]
    gap_NV: NDArray[np.int64]
    longest_NV: NDArray[np.int64]
    repeats_NV: NDArray[np.float64]
    common_value_NV: NDArray[np.float32]
    flagged_NVF: NDArray[np.float64]
    sample_RVQ: NDArray[np.float64]
    psi_RV: NDArray[np.float64]
    ks_RV: NDArray[np.float64]

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Its arrays by name."""
        return {f.name: getattr(self, f.name) for f in fields(self) if isinstance(getattr(self, f.name), np.ndarray)}

    def words(self) -> dict[str, Any]:
        """All else, as JSON content."""
        return {f.name: getattr(self, f.name) for f in fields(self) if not isinstance(getattr(self, f.name), np.ndarray)}


def block_steps(domain: Domain) -> int:
    """Steps of one block."""
    return max(DAY // step_seconds(domain.clock), _LEAST_STEPS)


def stretch_steps(domain: Domain, steps: int) -> int:
    """Steps that drift is judged over, given how many there are to compare with."""
    block = block_steps(domain)
    return block * (_WEEK if steps >= _WEEK * _LEAST_STRETCHES * block else 1)


def node_choice(count: int) -> NDArray[np.int64]:
    """Which nodes of a domain are looked at one by one."""
    return np.unique(np.linspace(0, count - 1, min(count, MOST_NODES)).round().astype(np.int64)) if count else np.zeros(0, np.int64)


def profile_of(domain: Domain, cube: DomainCube) -> Profile:
    """The profile of all steps of a cube, which must lie in the training fold."""
    chosen = node_choice(len(cube.nodes))
    regions, region_N = regions_of(domain, cube.nodes)
    values_TNV = cube.values_TNV[:, chosen]
    flags_TNV = cube.flags_TNV[:, chosen]
    block, stretch = block_steps(domain), stretch_steps(domain, len(values_TNV))
    per_variable = [_variable(domain, v, values_TNV, flags_TNV, block) for v in range(len(cube.variables))]
    drift = [_drift(domain, v, values_TNV, region_N[chosen], len(regions), stretch) for v in range(len(cube.variables))]
    return Profile(
        nodes=tuple(cube.nodes.ids[n] for n in chosen),
        variables=cube.variables,
        regions=regions,
        region_N=region_N[chosen],
        block=block,
        stretch=stretch,
        blocks=len(values_TNV) // block,
        stretches=len(values_TNV) // stretch,
        **{name: np.stack([found[name] for found in per_variable], axis=1) for name in per_variable[0]},
        sample_RVQ=np.stack([found[0] for found in drift], axis=1),
        psi_RV=np.stack([found[1] for found in drift], axis=1),
        ks_RV=np.stack([found[2] for found in drift], axis=1),
    )


def judges_drift(profile: Profile) -> bool:
    """Whether there were stretches enough to know how far one may lie off."""
    return profile.stretches >= _LEAST_STRETCHES


def judges_shifts(profile: Profile) -> bool:
    """Whether there were days enough to know how much those of a node differ."""
    return profile.blocks >= _LEAST_BLOCKS


def in_blocks(array_TX: NDArray[np.generic], block: int) -> NDArray[np.generic]:
    """(K, block, …) of the newest whole blocks."""
    count = len(array_TX) // block
    return array_TX[len(array_TX) - count * block :].reshape(count, block, *array_TX.shape[1:])


def median_over(values: NDArray[np.float64] | NDArray[np.float32], axis: int) -> NDArray[np.float64]:
    """The median of what is there along an axis, NaN where nothing is."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return np.asarray(np.nanmedian(values, axis=axis), np.float64)


def levels_of(values_TN: NDArray[np.float32], block: int, *, relative: bool) -> NDArray[np.float64]:
    """(K, N) the median of each block; of a relative variable its logarithm, off the median of the blocks before."""
    levels = median_over(np.asarray(in_blocks(values_TN, block), np.float64), axis=1)
    if not relative:
        return levels
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.where(levels > 0, np.log(levels), np.nan)
    return np.stack([logs[k] - median_over(logs[max(0, k - EARLIER) : k], axis=0) if k else logs[k] * np.nan for k in range(len(logs))])


def changes_of(values_TN: NDArray[np.float32], *, relative: bool) -> NDArray[np.float64]:
    """What drift is judged by: the values, or of a relative variable their changes from step to step."""
    values = values_TN.astype(np.float64)
    if not relative:
        return values
    with np.errstate(divide="ignore", invalid="ignore"):
        found = values[1:] / values[:-1] - 1
    return np.where(np.isfinite(found), found, np.nan)


def suspect_shares(flags_TN: NDArray[np.uint16]) -> NDArray[np.float64]:
    """(N, F) the share of steps that carry each suspect flag."""
    return np.stack([((flags_TN & int(flag)) != 0).mean(axis=0) for flag in SUSPECTS], axis=-1)


def _variable(
    domain: Domain, v: int, values_TNV: NDArray[np.float32], flags_TNV: NDArray[np.uint16], block: int
) -> dict[str, NDArray[Any]]:
    values, flags = values_TNV[:, :, v], flags_TNV[:, :, v]
    relative = list(domain.variables.values())[v].scale == "relative"
    present_KN = np.asarray(in_blocks(np.isfinite(values), block)).mean(axis=1)
    levels = levels_of(values, block, relative=relative)
    center = np.zeros(values.shape[1]) if relative else median_over(values, axis=0)
    scale = _scale(levels if relative else values.astype(np.float64), center)
    common, off = off_center(levels, center, scale)
    spread = np.maximum(1.4826 * median_over(np.abs(off), axis=0), _FLOOR)
    widest = np.nanmax(np.where(np.isnan(off), 0.0, np.abs(off)), axis=0, initial=0.0) / np.where(np.isnan(spread), 1.0, spread)
    longest, repeats = longest_runs(values)
    suspects = [suspect_shares(part) for part in np.asarray(in_blocks(flags, block))]
    return {
        "present_NV": median_over(present_KN, axis=0) if len(present_KN) else np.isfinite(values).mean(axis=0),
        "center_NV": center,
        "scale_NV": scale,
        "spread_NV": spread,
        "widest_NV": widest,
        "common_KV": common,
        "gap_NV": longest_gaps(values),
        "longest_NV": longest,
        "repeats_NV": repeats,
        "common_value_NV": common_values(values, _COMMON),
        "flagged_NVF": np.max(suspects, axis=0) if suspects else np.zeros((values.shape[1], len(SUSPECTS))),
    }


def _scale(values: NDArray[np.float64], center_N: NDArray[np.float64]) -> NDArray[np.float64]:
    """Robust deviation of each node's values, at least a hundredth of its center; the usual one where too little is known."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        low, high = np.nanquantile(values, [0.25, 0.75], axis=0) if len(values) else np.full((2, values.shape[1]), np.nan)
        own = np.maximum((high - low) / 1.349, np.nanstd(values, axis=0) if len(values) else 0.0)
    known = own[np.isfinite(own) & (own > 0)]
    usual = float(np.median(known)) if len(known) else 1.0
    return np.maximum(np.where(np.isfinite(own) & (own > 0), own, usual), 0.01 * np.abs(np.nan_to_num(center_N)))


def off_center(
    levels_KN: NDArray[np.float64], center_N: NDArray[np.float64], scale_N: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What all nodes do together (K,), from four nodes on, and what each does beyond that (K, N), in its deviations."""
    z = (levels_KN - center_N) / scale_N
    common = median_over(z, axis=1) if levels_KN.shape[1] else np.zeros(len(z))
    return common, z - np.where(np.isnan(common), 0.0, common)[:, None] * (levels_KN.shape[1] >= 4)


def _drift(
    domain: Domain, v: int, values_TNV: NDArray[np.float32], region_N: NDArray[np.int64], regions: int, stretch: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    relative = list(domain.variables.values())[v].scale == "relative"
    sample, most_psi, most_ks = np.full((regions, SAMPLE), np.nan), np.zeros(regions), np.zeros(regions)
    for r in range(regions):
        values = changes_of(values_TNV[:, region_N == r, v], relative=relative)
        known = thinned(values, SAMPLE)
        sample[r, : len(known)] = known
        parts = [part for part in np.asarray(in_blocks(values, stretch)) if np.isfinite(part).any()]
        most_psi[r] = max((psi(known, thinned(part, SAMPLE)) for part in parts), default=0.0)
        most_ks[r] = max((ks(known, thinned(part, SAMPLE)) for part in parts), default=0.0)
    return sample, most_psi, most_ks


def from_parts(arrays: Mapping[str, NDArray[Any]], words: Mapping[str, Any]) -> Profile:
    """What `arrays` and `words` gave."""
    given: dict[str, Any] = {**arrays, **{name: tuple(value) if isinstance(value, list) else value for name, value in words.items()}}
    return Profile(**given)

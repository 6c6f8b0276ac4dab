"""Profiles: what a domain's variables were like over the time that its champion was trained on.

Shape suffixes: T axis steps, K blocks, N node, V variable, S season, R region, Q order statistics.
"""

from __future__ import annotations

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
from pipeline.monitoring.levels import in_blocks, kind_of, leaps_of, levels_of, logarithms, median_over, off_center, scale_of, spread_of
from pipeline.monitoring.runs import common_values, longest_gaps, longest_runs
from pipeline.verification.grounds import regions_of

FORMAT = 3
MOST_NODES = 2048
SAMPLE = 2048
PAST, LEAST_PAST = 28, 7
"""Blocks before a stretch that it is held against besides: four weeks of days; and how many there must be."""

LEAST_BLOCKS = 7
"""Blocks with a level that a node needs before its level is judged."""

SEASONS, YEAR = 24, 365.2425 * DAY
"""Parts of a year; the sample of one is of it and of those beside it: six weeks."""

_LEAST_STEPS, _LEAST_STRETCHES, _WEEK = 20, 4, 7
_COMMON = 0.05
_AXES = {"sample_SRQ": 2, "psi_R": 1, "ks_R": 1, "past_psi_R": 1, "past_ks_R": 1}
"""What is known of the drift of one variable, and where the variables' axis comes in."""

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
        days_NV: Blocks that have a level.
        center_NV, scale_NV: Median and robust deviation of the values; of amounts of their logarithms, of changes of those of the blocks.
        spread_NV, widest_NV: Of block medians off the center and off what all nodes do, in `scale_NV`: the usual and the greatest.
        stride_NV, leap_NV: The same, off where the node stood of late instead of off the center.
        common_KV: What all nodes did together, block by block, in `scale_NV`.
        gap_NV: Most steps in a row without a good value.
        longest_NV, repeats_NV, common_value_NV: See `runs`.
        flagged_NVF: Greatest share of a block that a suspect flag had.
        sample_SRVQ: Sorted values, NaN at the end, by season; no season where the time holds no year; of prices changes from step to step.
        psi_RV, ks_RV: The greatest distance of any stretch from its season.
        past_psi_RV, past_ks_RV: The greatest distance of any stretch from those before it.
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
    days_NV: NDArray[np.int64]
    center_NV: NDArray[np.float64]
    scale_NV: NDArray[np.float64]
    spread_NV: NDArray[np.float64]
    widest_NV: NDArray[np.float64]
    stride_NV: NDArray[np.float64]
    leap_NV: NDArray[np.float64]
    common_KV: NDArray[np.float64]
    gap_NV: NDArray[np.int64]
    longest_NV: NDArray[np.int64]
    repeats_NV: NDArray[np.float64]
    common_value_NV: NDArray[np.float32]
    flagged_NVF: NDArray[np.float64]
    sample_SRVQ: NDArray[np.float64]
    psi_RV: NDArray[np.float64]
    ks_RV: NDArray[np.float64]
    past_psi_RV: NDArray[np.float64]
    past_ks_RV: NDArray[np.float64]

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
    places = region_N[chosen], len(regions)
    by_variable = [_drift(domain, v, cube.valid_time, values_TNV[..., v], places, stretch) for v in range(len(cube.variables))]
    drift: dict[str, Any] = {name.replace("R", "RV"): np.stack([f[name] for f in by_variable], axis=axis) for name, axis in _AXES.items()}
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
        **drift,
    )


def judges_drift(profile: Profile) -> bool:
    """Whether there were stretches enough to know how far one may lie off."""
    return profile.stretches >= _LEAST_STRETCHES


def judges_shifts(profile: Profile) -> bool:
    """Whether there were days enough to know how much those of a node differ."""
    return profile.blocks >= LEAST_BLOCKS


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
    kind = kind_of(list(domain.variables.values())[v])
    present_KN = np.asarray(in_blocks(np.isfinite(values), block)).mean(axis=1)
    levels = levels_of(values, block, kind)
    like = levels if kind == "change" else logarithms(values) if kind == "ratio" else values.astype(np.float64)
    center = np.zeros(values.shape[1]) if kind == "change" else median_over(like, axis=0)
    scale = scale_of(like, center if kind == "value" else np.zeros(len(center)))
    common, off = off_center(levels, center, scale)
    spread, widest = spread_of(off)
    stride, leap = (spread, widest) if kind == "change" else spread_of(leaps_of(off))
    longest, repeats = longest_runs(values)
    suspects = [suspect_shares(part) for part in np.asarray(in_blocks(flags, block))]
    return {
        "present_NV": median_over(present_KN, axis=0) if len(present_KN) else np.isfinite(values).mean(axis=0),
        "days_NV": np.isfinite(levels).sum(axis=0),
        "center_NV": center,
        "scale_NV": scale,
        "spread_NV": spread,
        "widest_NV": widest,
        "stride_NV": stride,
        "leap_NV": leap,
        "common_KV": common,
        "gap_NV": longest_gaps(values),
        "longest_NV": longest,
        "repeats_NV": repeats,
        "common_value_NV": common_values(values, _COMMON),
        "flagged_NVF": np.max(suspects, axis=0) if suspects else np.zeros((values.shape[1], len(SUSPECTS))),
    }


def season_of(times: NDArray[np.int64], seasons: int) -> NDArray[np.int64]:
    """The part of the year that each instant lies in, of so many."""
    return (times % YEAR / YEAR * seasons).astype(np.int64)


def _drift(
    domain: Domain, v: int, times: NDArray[np.int64], values_TN: NDArray[np.float32], places: tuple[NDArray[np.int64], int], stretch: int
) -> dict[str, NDArray[np.float64]]:
    """Of one variable what the newest stretch is held against: samples by season and region, and how far stretches lay off.

    `places` are the region of each node, and how many there are.
    """
    relative = kind_of(list(domain.variables.values())[v]) == "change"
    region_N, regions = places
    block = block_steps(domain)
    seasons = SEASONS if len(times) and times[-1] - times[0] >= YEAR else 0
    sample_SRQ = np.full((seasons, regions, SAMPLE), np.nan)
    distances = np.zeros((4, regions))
    reach, least = -(-PAST * block // stretch), -(-LEAST_PAST * block // stretch)
    changes, when = changes_of(values_TN, relative=relative), times[int(relative) :]
    season_T = season_of(when, seasons)
    season_K = season_of(np.asarray(in_blocks(when, stretch))[:, stretch // 2], seasons)
    for r in range(regions):
        values = changes[:, region_N == r]
        for s in range(seasons):
            beside = np.abs((season_T - s + seasons // 2) % seasons - seasons // 2) <= 1
            known = thinned(values[beside], SAMPLE)
            sample_SRQ[s, r, : len(known)] = known
        parts = [thinned(part, SAMPLE) for part in np.asarray(in_blocks(values, stretch))]
        for k, part in enumerate(parts):
            past = np.concatenate([part[:0], *parts[max(0, k - reach) : k]] if k >= least else [part[:0]])
            one = sample_SRQ[season_K[k], r] if seasons else part[:0]
            found = (psi(one, part), ks(one, part), psi(past, part), ks(past, part))
            distances[:, r] = np.maximum(distances[:, r], found)
    return dict(zip(_AXES, (sample_SRQ, *distances), strict=True))


def from_parts(arrays: Mapping[str, NDArray[Any]], words: Mapping[str, Any]) -> Profile:
    """What `arrays` and `words` gave."""
    given: dict[str, Any] = {**arrays, **{name: tuple(value) if isinstance(value, list) else value for name, value in words.items()}}
    return Profile(**given)

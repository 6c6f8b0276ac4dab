"""Grounds: by what the cells of a batch of windows are told apart, and judged by beyond their errors; all of it declared.

Shape suffixes: W windows, L lead, N node, V target variable.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from pipeline.alignment.time_grid import DAY, local_slots, step_seconds
from pipeline.contracts.judging import AVAILABILITY, AVAILABILITY_LABELS, REGIME_LABELS, Event
from pipeline.contracts.nodes import NodeSet
from pipeline.contracts.worlds import Domain

EVERYWHERE = "all"
REST = "rest"
UNPLACED = "unplaced"
HOURS = 3
"""Hours of one slot of the local day."""

_LEAST_PLACES = 8
_QUADRANTS = ("south west", "south east", "north west", "north east")


@dataclass(frozen=True, kw_only=True, eq=False)
class Watched:
    """One event of a domain: the target it is about, and the probability given to it where that does not come from quantiles."""

    event: Event
    variable: int
    probability_WLN: NDArray[np.float32] | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Grounds:
    """What is known of a batch besides forecasts and what came; whatever is left out is not scored.

    Attributes:
        regions, region_N: Names of the node groups and each node's; together they are all nodes.
        hour_WL: Slot of `HOURS` hours of the local day of each valid time.
        regimes: Per regime the names of its codes and the code of each node (W, N) at the issue time.
        events: By name and threshold.
        ratio_V: Targets with a true zero, of which shares of the value have a meaning.
        relative_V: Targets of which only changes have a meaning (prices), from `origin_WNV`, the newest value at the issue time.
        weight_N: Cosine of the latitude of a grid's cells; `climate_WLNV` is the forecast that anomalies are counted from.
    """

    regions: tuple[str, ...] = (EVERYWHERE,)
    region_N: NDArray[np.int64] | None = None
    hour_WL: NDArray[np.int64] | None = None
    regimes: Mapping[str, tuple[tuple[str, ...], NDArray[np.int8]]] = field(default_factory=dict)
    events: Mapping[str, Watched] = field(default_factory=dict)
    ratio_V: tuple[bool, ...] = ()
    relative_V: tuple[bool, ...] = ()
    origin_WNV: NDArray[np.float32] | None = None
    weight_N: NDArray[np.float64] | None = None
    climate_WLNV: NDArray[np.float32] | None = None


def regions_of(domain: Domain, nodes: NodeSet) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """The node groups of a domain and each node's: those that the world declares, else the quadrants about the median place.

    Nodes in no declared group are the `rest`, those without a place are `unplaced`; too few places make one group of all.
    """
    if domain.groups:
        names = (*domain.groups, REST)
        patterns = list(domain.groups.values())
        code = [next((g for g, ids in enumerate(patterns) if any(fnmatchcase(node, i) for i in ids)), len(patterns)) for node in nodes.ids]
        return _used(names, np.array(code, np.int64))
    placed = np.isfinite(nodes.latitude) & np.isfinite(nodes.longitude)
    if placed.sum() < _LEAST_PLACES:
        return (EVERYWHERE,), np.zeros(len(nodes), np.int64)
    north, east = (np.where(placed, axis, np.nan) > np.median(axis[placed]) for axis in (nodes.latitude, nodes.longitude))
    return _used((*_QUADRANTS, UNPLACED), np.where(placed, 2 * north.astype(np.int64) + east, len(_QUADRANTS)))


def _used(names: tuple[str, ...], code_N: NDArray[np.int64]) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """Only the groups that have a node, renumbered."""
    found, again = np.unique(code_N, return_inverse=True)
    return tuple(names[g] for g in found), again.astype(np.int64)


def hours_of(domain: Domain, valid_time_WL: NDArray[np.int64], zone: ZoneInfo) -> NDArray[np.int64] | None:
    """The slot of the local day of each valid time; None where a step is a day or a session."""
    if step_seconds(domain.clock) >= DAY:
        return None
    slots, _ = local_slots(valid_time_WL.ravel(), zone, HOURS * 3600)
    return slots.astype(np.int64).reshape(valid_time_WL.shape)


def hour_label(slot: int) -> str:
    """The name of a slot of the local day: `06-09`."""
    return f"{HOURS * slot:02d}-{HOURS * (slot + 1):02d}"


def event_label(name: str, event: Event, unit: str) -> str:
    """An event's name with its threshold, so that another threshold is another event: `slow below 20 km/h`."""
    side, value = ("above", event.above) if event.above is not None else ("below", event.below)
    return f"{name} {side} {value:g} {unit}".strip()


def foretelling(grounds: Grounds, probabilities: Mapping[str, NDArray[np.float32]]) -> Grounds:
    """The same grounds with a forecast's own probabilities (W, L, N) of events, by the names of the world."""
    given = {label: probabilities.get(label.partition(" ")[0]) for label in grounds.events}
    events = {
        label: watched if given[label] is None else replace(watched, probability_WLN=given[label])
        for label, watched in grounds.events.items()
    }
    return replace(grounds, events=events)


def weights_of(domain: Domain, nodes: NodeSet) -> NDArray[np.float64] | None:
    """Cosine of each cell's latitude over its mean; None where the domain is no grid, or its places are not known."""
    if domain.kind != "grid" or not np.isfinite(nodes.latitude).all() or not len(nodes):
        return None
    cosine = np.cos(np.deg2rad(nodes.latitude))
    return np.asarray(cosine / cosine.mean(), np.float64)


def grounds_of(
    domain: Domain,
    nodes: NodeSet,
    *,
    variables: tuple[str, ...],
    units: tuple[str, ...],
    valid_time_WL: NDArray[np.int64],
    zone: ZoneInfo,
    regimes: Mapping[str, NDArray[np.int8]],
    origin_WNV: NDArray[np.float32] | None = None,
    climate_WLNV: NDArray[np.float32] | None = None,
    probabilities: Mapping[str, NDArray[np.float32]] | None = None,
) -> Grounds:
    """The grounds of some windows of a domain, as its declaration has them.

    `regimes` are codes (W, N) by name; `probabilities` (W, L, N) are those of events, by the names of the world.
    """
    regions, region_N = regions_of(domain, nodes)
    declared = [domain.variables[name] for name in variables]
    given = probabilities or {}
    events = {
        event_label(name, event, units[variables.index(event.variable)]): Watched(
            event=event, variable=variables.index(event.variable), probability_WLN=given.get(name)
        )
        for name, event in domain.events.items()
        if event.variable in variables
    }
    weights = weights_of(domain, nodes)
    return Grounds(
        regions=regions,
        region_N=region_N,
        hour_WL=hours_of(domain, valid_time_WL, zone),
        regimes={name: (AVAILABILITY_LABELS if name == AVAILABILITY else REGIME_LABELS, codes) for name, codes in regimes.items()},
        events=events,
        ratio_V=tuple(variable.lower == 0 for variable in declared),
        relative_V=tuple(variable.scale == "relative" for variable in declared),
        origin_WNV=origin_WNV,
        weight_N=weights,
        climate_WLNV=climate_WLNV if weights is not None else None,
    )

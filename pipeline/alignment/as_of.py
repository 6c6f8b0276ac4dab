"""As-of: of a domain's cells and their versions, those that were known at an instant. T axis steps, N node, V variable."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
from numpy.typing import NDArray

from pipeline.contracts.cubes import NEVER, DomainCube, Revisions
from pipeline.contracts.flags import Flag
from pipeline.contracts.nodes import NodeSet, links_among
from pipeline.contracts.times import format_instant, from_seconds
from pipeline.errors import ContractError


def earlier(cube: DomainCube, as_of: int, *, first: int = 0, stop: int | None = None) -> DomainCube:
    """The same domain as it was known at an earlier instant: what the store's `open(as_of)` gives, from memory.

    Arrays are shared with the cube wherever nothing in them became known later.

    Args:
        cube: As it was known at `as_of` or later.
        as_of: The instant, seconds UTC.
        first: The first step of the cube to take.
        stop: The first one after it to leave out.

    Raises:
        ContractError: The cube was read as of an earlier instant.
    """
    if as_of > cube.as_of:
        raise ContractError(
            asked=f"{cube.domain} as of {format_instant(from_seconds(as_of))}",
            found=f"a cube read as of {format_instant(from_seconds(cube.as_of))}",
            mend="open the cube with a later as_of",
        )
    steps = len(cube.valid_time) if stop is None else stop
    if as_of == cube.as_of and (first, steps) == (0, len(cube.valid_time)):
        return cube
    part = slice(first, min(steps, int(np.searchsorted(cube.valid_time, as_of, side="right"))))
    heard = None if cube.node_known_time_N is None else np.flatnonzero(cube.node_known_time_N <= as_of)
    if heard is not None and len(heard) == len(cube.nodes):
        heard = None
    axis = cube.valid_time[part]
    mine = slice(None) if heard is None else heard
    values, flags, latency = cube.values_TNV[part][:, mine], cube.flags_TNV[part][:, mine], cube.latency_TNV[part][:, mine]
    records = _records(cube.revisions, part, heard, len(cube.nodes))
    if _later(axis, latency, as_of).any():
        values, flags, latency = values.copy(), flags.copy(), latency.copy()
        hide_later(axis, values, flags, latency, as_of)
        show_older(records, axis, values, flags, latency, as_of)
    return replace(
        cube,
        as_of=as_of,
        valid_time=axis,
        nodes=cube.nodes if heard is None else take_nodes(cube.nodes, heard),
        values_TNV=values,
        flags_TNV=flags,
        latency_TNV=latency,
        revisions=take_revisions(records, records.superseded_time <= as_of),
        node_known_time_N=cube.node_known_time_N if cube.node_known_time_N is None or heard is None else cube.node_known_time_N[heard],
    )


def hide_later(
    axis: NDArray[np.int64], values: NDArray[np.float32], flags: NDArray[np.uint16], latency: NDArray[np.int32], as_of: int
) -> None:
    """Take away, in place, what became known after `as_of`."""
    late = _later(axis, latency, as_of)
    values[late] = np.nan
    flags[late] = np.uint16(Flag.MISSING)
    latency[late] = NEVER


def show_older(
    records: Revisions,
    axis: NDArray[np.int64],
    values: NDArray[np.float32],
    flags: NDArray[np.uint16],
    latency: NDArray[np.int32],
    as_of: int,
) -> None:
    """Put back, in place, the versions that were the shown ones at `as_of`; records count their steps on this axis."""
    seen = take_revisions(records, (records.available_time <= as_of) & (records.superseded_time > as_of))
    cell = (seen.step, seen.node, seen.variable)
    values[cell] = seen.value
    flags[cell] = seen.flag
    latency[cell] = np.minimum(seen.available_time - axis[seen.step], int(NEVER) - 1).astype(np.int32)


def take_revisions(records: Revisions, keep: NDArray[np.bool_] | NDArray[np.int64]) -> Revisions:
    """These records only."""
    return Revisions(**{f.name: getattr(records, f.name)[keep] for f in fields(Revisions)})


def take_nodes(nodes: NodeSet, index: NDArray[np.int64]) -> NodeSet:
    """These nodes only; the same set where they are all."""
    if len(index) == len(nodes):
        return nodes
    return NodeSet(
        ids=tuple(nodes.ids[i] for i in index),
        latitude=nodes.latitude[index],
        longitude=nodes.longitude[index],
        ends=None if nodes.ends is None else nodes.ends[index],
        links=links_among(nodes.links, [nodes.ids[i] for i in index]),
    )


def _later(axis: NDArray[np.int64], latency: NDArray[np.int32], as_of: int) -> NDArray[np.bool_]:
    """(T, N, V) the cells whose version became known after `as_of`."""
    room = np.clip(as_of - axis, -1, int(NEVER) - 1).astype(np.int32)
    found: NDArray[np.bool_] = (latency > room[:, None, None]) & (latency != NEVER)
    return found


def _records(records: Revisions, part: slice, heard: NDArray[np.int64] | None, nodes: int) -> Revisions:
    """Those of the steps of `part`, counted from its first, and of these nodes, counted among them."""
    inside = (records.step >= part.start) & (records.step < part.stop)
    if heard is not None:
        place = np.full(nodes, -1, np.int32)
        place[heard] = np.arange(len(heard), dtype=np.int32)
        inside &= place[records.node] >= 0
    kept = take_revisions(records, inside)
    node = kept.node if heard is None else place[kept.node]
    return replace(kept, step=kept.step - np.int32(part.start), node=node)

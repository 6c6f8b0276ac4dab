"""A cube brought to the nodes that a model was trained on, so that sensors may come and go."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from pipeline.contracts.cubes import NEVER, DomainCube, Revisions
from pipeline.contracts.flags import Flag
from pipeline.contracts.nodes import NodeSet, links_among


def fit_nodes(cube: DomainCube, ids: tuple[str, ...]) -> DomainCube:
    """The same cube with exactly these nodes in this order; one that the cube does not know (yet) is missing throughout."""
    if cube.nodes.ids == ids:
        return cube
    place = {name: k for k, name in enumerate(cube.nodes.ids)}
    wanted = np.array([place.get(i, -1) for i in ids], np.int64)
    known, source = np.flatnonzero(wanted >= 0), wanted[wanted >= 0]
    shape = (len(cube.valid_time), len(ids), len(cube.variables))
    values, flags = np.full(shape, np.nan, np.float32), np.full(shape, np.uint16(Flag.MISSING), np.uint16)
    latency = np.full(shape, NEVER, np.int32)
    values[:, known], flags[:, known] = cube.values_TNV[:, source], cube.flags_TNV[:, source]
    latency[:, known] = cube.latency_TNV[:, source]
    latitude, longitude = np.full(len(ids), np.nan), np.full(len(ids), np.nan)
    latitude[known], longitude[known] = cube.nodes.latitude[source], cube.nodes.longitude[source]
    ends = None if cube.nodes.ends is None else np.full((len(ids), 4), np.nan)
    if ends is not None and cube.nodes.ends is not None:
        ends[known] = cube.nodes.ends[source]
    return replace(
        cube,
        nodes=NodeSet(ids=ids, latitude=latitude, longitude=longitude, ends=ends, links=links_among(cube.nodes.links, ids)),
        values_TNV=values,
        flags_TNV=flags,
        latency_TNV=latency,
        node_known_time_N=None,
        revisions=_fit_revisions(cube.revisions, len(cube.nodes), known, source),
    )


def _fit_revisions(old: Revisions, nodes: int, known: NDArray[np.int64], source: NDArray[np.int64]) -> Revisions:
    target = np.full(nodes, -1, np.int32)
    target[source] = known
    keep = target[old.node] >= 0
    order = np.flatnonzero(keep)
    order = order[np.lexsort((old.available_time[order], old.variable[order], target[old.node[order]], old.step[order]))]
    return Revisions(
        step=old.step[order],
        node=target[old.node[order]],
        variable=old.variable[order],
        value=old.value[order],
        flag=old.flag[order],
        available_time=old.available_time[order],
        superseded_time=old.superseded_time[order],
    )

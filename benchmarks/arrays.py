"""Windows of one domain made of a plain array, by the pipeline's own code, without any storage: for benchmarks of models."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.contracts.cubes import NEVER, DomainCube, Revisions
from pipeline.contracts.flags import Flag
from pipeline.contracts.nodes import Link, NodeSet
from pipeline.contracts.windows import WindowSet
from pipeline.contracts.worlds import World

DOMAIN = "series"


def made_world(
    *,
    rows: int,
    step: timedelta,
    cuts: tuple[int, int],
    domain: Mapping[str, Any],
    variables: tuple[str, ...] = ("value",),
    declared: Mapping[str, Any] | None = None,
    zone: str = "UTC",
    start: datetime = datetime(2016, 7, 1, tzinfo=UTC),
) -> World:
    """A world of one domain whose first validation and test targets are the rows `cuts`.

    Args:
        rows: Steps of the axis.
        step: Of its clock.
        cuts: The first row of validation and of test.
        domain: Keys of the domain: context, horizon, and others than the usual.
        variables: Their names.
        declared: Keys of each variable.
        zone: Of calendar features.
        start: When the first row is.
    """
    first, second = ((cut - 1) / (rows - 1) for cut in cuts)
    graph = {"kind": "matrix"} if domain.get("graph") == "matrix" else {"kind": "none"}
    return World.model_validate(
        {
            "name": "bench",
            "title": "A benchmark",
            "timezone": zone,
            "start": start.isoformat(),
            "folds": {"train": first, "validation": second - first, "test": 1 - second},
            "sources": {
                "made": {
                    "adapter": "csv",
                    "variables": {name: {"unit": "1"} for name in variables},
                    "nodes": {"matrix": "data://matrix.csv", "location": "data://nodes.csv"},
                }
            },
            "domains": {
                DOMAIN: {
                    "title": "Series",
                    "clock": {"step": step},
                    "variables": {name: {"source": "made", **(declared or {})} for name in variables},
                    **domain,
                    "graph": graph | ({"neighbours": 16} if graph["kind"] == "matrix" else {}),
                }
            },
        }
    )


def cube_of(world: World, values_TNV: NDArray[np.float32], links: tuple[Link, ...] = (), ids: tuple[str, ...] = ()) -> DomainCube:
    """The cube of these values, known the moment they are measured; NaN is missing."""
    domain = world.domains[DOMAIN]
    steps, nodes, _ = values_TNV.shape
    seconds = int(domain.clock.step.total_seconds()) if domain.clock.step is not None else 0
    valid_time = int(world.start.timestamp()) + seconds * np.arange(steps, dtype=np.int64)
    missing = np.isnan(values_TNV)
    return DomainCube(
        domain=DOMAIN,
        as_of=int(valid_time[-1]),
        snapshot="made",
        valid_time=valid_time,
        nodes=NodeSet(
            ids=ids or tuple(f"n{k:05d}" for k in range(nodes)),
            latitude=np.full(nodes, np.nan),
            longitude=np.full(nodes, np.nan),
            links=links,
        ),
        variables=tuple(domain.variables),
        units=("1",) * len(domain.variables),
        values_TNV=values_TNV,
        flags_TNV=np.where(missing, np.uint16(Flag.MISSING), np.uint16(0)),
        latency_TNV=np.where(missing, NEVER, np.int32(0)),
        revisions=Revisions.empty(),
    )


def windows_from(world: World, cube: DomainCube) -> WindowSet:
    """All its windows, scaled on the training fold."""
    from pipeline.windows.reader import build_windows

    return build_windows(world, {DOMAIN: cube}, as_of=cube.as_of, scalers=None, live=False)


def city(steps: int, nodes: int, variables: int, seed: int = 0) -> NDArray[np.float32]:
    """Made-up counts with a daily rhythm, noise that lasts, and a tenth of all cells missing."""
    chance = np.random.default_rng(seed)
    rhythm = 10 + 6 * np.sin(2 * np.pi * np.arange(steps) / 288)[:, None, None]
    values = chance.standard_normal((steps, nodes, variables), dtype=np.float32)
    for row in range(1, steps):
        values[row] += 0.8 * values[row - 1]
    values += rhythm.astype(np.float32)
    values[chance.random(values.shape, np.float32) < 0.1] = np.nan
    return values

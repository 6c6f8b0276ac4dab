"""A world of one domain, for what needs no more of it than its clock."""

from __future__ import annotations

from datetime import timedelta

from pipeline.contracts.world_files import parse_world
from pipeline.contracts.worlds import World


def little_world(
    *,
    step: timedelta = timedelta(hours=1),
    context: int = 4,
    horizon: int = 3,
    latency: timedelta = timedelta(minutes=10),
) -> World:
    """One domain `road` from 2024-03-04 on."""
    text = f"""
name = "little"
title = "Little"
timezone = "UTC"
start = "2024-03-04T00:00Z"
[sources.road]
adapter = "csv"
latency = "{int(latency.total_seconds()) // 60}min"
[sources.road.variables]
flow = {{ unit = "count" }}
[domains.road]
title = "Roads"
clock = {{ step = "{int(step.total_seconds()) // 60}min" }}
context = {context}
horizon = {horizon}
seasons = ["1d"]
[domains.road.variables]
flow = {{ source = "road" }}
"""
    return parse_world(text, "little.toml")

"""A tiny made-up world with a known truth, for tests: nine days over the end of summer time, all faults planted."""

from __future__ import annotations

from pathlib import Path

MEASURED = ("weather", "roads", "prices")
"""Its sources of readings; `outlook` are forecasts by others, `notices` documents."""

_TINY = """
name = "{name}"
title = "A tiny made-up city"
timezone = "Europe/Copenhagen"
recipe = "tiny"
start = "2025-10-22T00:00Z"

[recorded]
end = "{end}"
as_of = "{as_of}"

[sources.weather]
adapter = "synthetic"
latency = "10min"
options = {{ feed = "weather", {made} }}
[sources.weather.variables]
temperature = {{ unit = "degC", valid_min = -40.0, valid_max = 50.0 }}
rain = {{ unit = "mm/h", to = "mm h-1", valid_min = 0.0, valid_max = 200.0 }}

[sources.roads]
adapter = "synthetic"
latency = "5min"
options = {{ feed = "roads", {made} }}
[sources.roads.variables]
speed = {{ unit = "km/h", missing = [-999.0], valid_min = 1.0, valid_max = 180.0, spike = 55.0, stuck_after = 6 }}
count = {{ unit = "count", missing = [-999.0], valid_min = 0.0, valid_max = 2000.0 }}

[sources.prices]
adapter = "synthetic"
latency = "1min"
options = {{ feed = "prices", {made} }}
[sources.prices.variables]
price = {{ unit = "EUR", valid_min = 0.01 }}

[sources.outlook]
adapter = "synthetic"
latency = "3h"
runs = "6h"
ahead = "18h"
options = {{ feed = "outlook", {made} }}
[sources.outlook.variables]
temperature = {{ unit = "degC", valid_min = -40.0, valid_max = 50.0 }}
rain = {{ unit = "mm/h", to = "mm h-1", valid_min = 0.0, valid_max = 200.0 }}

[sources.notices]
adapter = "synthetic"
latency = "1min"
text = {{ column = "text" }}
options = {{ feed = "notices", {made} }}

[texts.notices]
source = "notices"
reach = "3h"
buckets = 64
links = {{ traffic = {{ by = "id" }} }}

[domains.weather]
title = "Weather"
kind = "grid"
clock = {{ step = "1h" }}
context = 12
horizon = 4
seasons = ["1d"]
graph = {{ kind = "none" }}
[domains.weather.variables]
temperature = {{ source = "weather" }}
rain = {{ source = "weather", lower = 0.0 }}

[domains.traffic]
title = "Roads"
clock = {{ step = "15min" }}
context = 12
horizon = 4
seasons = ["1d"]
coarse = {{ steps = 4, count = 6 }}
graph = {{ kind = "distance", neighbours = 3 }}
[domains.traffic.variables]
speed = {{ source = "roads", scale = "node", lower = 0.0 }}
count = {{ source = "roads", scale = "node", lower = 0.0 }}
[domains.traffic.future]
source = "outlook"
[domains.traffic.future.variables]
rain = {{ interpolate = "1h" }}

[domains.market]
title = "Prices"
clock = {{ step = "1h" }}
context = 12
horizon = 4
seasons = ["1d"]
graph = {{ kind = "none" }}
[domains.market.variables]
price = {{ source = "prices", aggregate = "last", scale = "relative", lower = 0.0 }}
"""


def tiny_world(
    folder: Path, *, name: str = "tiny", seed: int = 7, days: int = 9, delivery: str = "1d", faults: bool = True, as_of: str | None = None
) -> Path:
    """Writes `<name>.toml` into a folder; steps take its path as their world. 4 x 4 cells, 6 sensors, 2 instruments."""
    end = 22 + days
    last = f"2025-10-{end:02d}" if end <= 31 else f"2025-11-{end - 31:02d}"
    before = f"2025-10-{end - 1:02d}" if end <= 32 else f"2025-11-{end - 32:02d}"
    made = (
        f'seed = {seed}, start = "2025-10-22T00:00Z", days = {days}, rows = 4, columns = 4, sensors = 6, instruments = 2, '
        f'delivery = "{delivery}", faults = {str(faults).lower()}'
    )
    path = folder / f"{name}.toml"
    path.write_text(_TINY.format(name=name, made=made, end=f"{last}T00:00Z", as_of=as_of or f"{before}T12:00Z").lstrip(), encoding="utf-8")
    return path

"""inputs: whether a forecast's inputs are there, or had better be waited for. Reads only."""

from __future__ import annotations

from pipeline.api import InputsRequest, Receipt
from pipeline.contracts.times import format_instant, to_seconds
from pipeline.contracts.world_files import load_world
from pipeline.errors import NotYetAvailable
from pipeline.monitoring.freshness import late
from pipeline.settings import Settings
from pipeline.steps import reading
from pipeline.telemetry import Progress


def run(request: InputsRequest, settings: Settings, progress: Progress) -> Receipt:
    """Done where every variable's newest value that is due by `as_of` is in the cube as of it.

    Raises:
        NotYetAvailable: A source is late, or no cube was built yet.
    """
    world = load_world(request.world)
    moment = to_seconds(request.as_of)
    with progress.stage("inputs", None):
        cubes = reading.open_cubes(world, settings, request.as_of, start=reading.needed_from(world, moment), absent_is_fine=True)
        missing = late(world, cubes, as_of=moment)
    if missing:
        raise NotYetAvailable(
            asked=f"inputs of world {world.name} as of {format_instant(request.as_of)}",
            found="; ".join(missing),
            mend="wait for these sources, or forecast with what there is",
        )
    return Receipt(step=request.step, world=world.name, as_of=request.as_of, outcome="unchanged", counts={"domains": len(cubes)})

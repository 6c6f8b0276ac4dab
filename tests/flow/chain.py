"""The nine steps in one process, as `cubecast run` calls them, for tests."""

from datetime import datetime
from importlib import import_module
from pathlib import Path

from pipeline.api import Receipt, Request, flow
from pipeline.contracts.world_files import load_world
from pipeline.settings import Settings
from pipeline.telemetry import QUIET


def requests(world_file: Path, as_of: datetime | None = None) -> list[Request]:
    """The nine requests for one issue time (default: the world's own)."""
    world = load_world(str(world_file))
    assert world.recorded is not None
    return list(flow(str(world_file), issue_time=as_of or world.recorded.as_of, now=world.recorded.end))


def run_step(request: Request, settings: Settings) -> Receipt:
    """One step in this process."""
    return import_module(f"pipeline.steps.{request.step}").run(request, settings, QUIET)


def run_chain(world_file: Path, settings: Settings, as_of: datetime | None = None) -> dict[str, Receipt]:
    """All nine steps; receipts by step."""
    return {r.step: run_step(r, settings) for r in requests(world_file, as_of)}


def settings_for(store: Path, dask: str | None = None) -> Settings:
    """Settings with a store of their own and no shared data."""
    return Settings(store=str(store), data=None, dask=dask)

"""Replays of the tiny world: how they are asked, and what they leave."""

import hashlib
from pathlib import Path

from pipeline.api import BuildCubeRequest, LandRequest, ObserveRequest, Receipt, ReplayRequest
from pipeline.contracts.times import parse_instant
from pipeline.contracts.world_files import load_world
from pipeline.steps import replay
from pipeline.stores.forecasts import ForecastStore
from pipeline.stores.objects import ObjectStore
from pipeline.telemetry import QUIET
from tests.flow.chain import run_step
from tests.world import tiny_world

ROOT = Path(__file__).resolve().parents[2]
QUICK = 'recipe = "tiny"\nrecipe_options = { epochs = 2, patience = 2, steps = 12 }\n'
LIVED = [parse_instant(f"2025-10-{day}T12:00Z") for day in (28, 29)]


def asked(world_file, first, last, **more):
    world = load_world(str(world_file))
    return ReplayRequest(world=str(world_file), as_of=world.recorded.end, first=first, last=last, **({"workers": 1} | more))


def run(request, settings) -> Receipt:
    return replay.run(request, settings, QUIET)


def make_world(folder):
    file = tiny_world(folder)
    file.write_text(file.read_text().replace('recipe = "tiny"\n', QUICK))
    return file


def ingest(world_file, settings):
    end = load_world(str(world_file)).recorded.end
    for kind, more in ((LandRequest, {"received_time": end}), (ObserveRequest, {}), (BuildCubeRequest, {})):
        run_step(kind(world=str(world_file), as_of=end, **more), settings)


def digests(root) -> dict[int, str]:
    store = ForecastStore(ObjectStore(str(root)), "tiny")
    return {t: store.newest(t).digest for t in store.issue_times()}


def files(root, without="replays") -> dict[str, str]:
    found = [p for p in Path(root).rglob("*") if p.is_file() and without not in p.relative_to(root).parts[:2]]
    return {str(p.relative_to(root)): hashlib.sha256(p.read_bytes()).hexdigest() for p in found}

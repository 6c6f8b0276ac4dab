"""What a reader finds in a store, in one word per unit: the deliveries of a source, its observations, the cube.

A unit changes in one commit, so while a step runs each of its units is as before or as after, and nothing else.
"""

from __future__ import annotations

import hashlib
import io
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa

from pipeline.api import BuildCubeRequest, LandRequest, ObserveRequest, Request
from pipeline.contracts.provenance import digest_bytes, digest_json
from pipeline.contracts.times import from_seconds
from pipeline.contracts.worlds import World
from pipeline.errors import NotYetAvailable
from pipeline.stores.cubes import CubeStore
from pipeline.stores.landing import LandingStore
from pipeline.stores.objects import ObjectStore
from pipeline.stores.observations import ObservationStore

FIRST = datetime(2025, 10, 22, tzinfo=UTC)
STEPS = ("land", "observe", "build_cube")
_EVER = from_seconds(10**10)


def request_of(step: str, world_file: str, day: int) -> Request:
    """What is asked at the end of a day of the tiny world, from 1."""
    moment = FIRST + timedelta(days=day)
    if step == "land":
        return LandRequest(world=world_file, as_of=moment, received_time=moment)
    return (ObserveRequest if step == "observe" else BuildCubeRequest)(world=world_file, as_of=moment)


def units_of(world: World, step: str) -> tuple[str, ...]:
    """The units that a step changes."""
    return ("cube",) if step == "build_cube" else tuple(f"{step}:{source}" for source in world.sources)


def state_of(store: str, world: World, unit: str) -> str:
    """What a unit holds: every value that a reader of it gets, proved as readers prove it."""
    kind, _, source = unit.partition(":")
    if kind == "land":
        return _landed(LandingStore(ObjectStore(store), world.name, source))
    if kind == "observe":
        return _observed(ObjectStore(store), world, source)
    return _cube(CubeStore(store, world.name))


def _landed(landing: LandingStore) -> str:
    manifest = landing.manifest()
    found = [[d.name, d.id, d.received_time, {name: digest_bytes(data) for name, data in landing.read(d).items()}] for d in manifest]
    return f"{len(manifest)} {digest_json(found)[:12]}"


def _observed(objects: ObjectStore, world: World, source: str) -> str:
    commits = ObservationStore(objects, world, source).totals().commits
    store = ObservationStore(objects, world, source, at=commits)
    table, rejected = store.read(0, 2**35), store.rejections()
    assert table.num_rows == store.counts().observations
    return f"{commits} {digest_json([store.digest, _bytes_of(table), _bytes_of(rejected)])[:12]}"


def _bytes_of(table: pa.Table) -> str:
    sink = io.BytesIO()
    whole = table.combine_chunks()
    with pa.ipc.new_stream(sink, whole.schema) as stream:
        stream.write_table(whole)
    return digest_bytes(sink.getvalue())


def _cube(store: CubeStore) -> str:
    found = hashlib.sha256()
    try:
        parts: list[Any] = [store.open(_EVER, domain) for domain in store.domains()]
        parts += [store.open_texts(_EVER, stream) for stream in store.texts()]
    except NotYetAvailable:
        return "nothing"
    for part in parts:
        for name, value in sorted(vars(part).items()):
            if name not in ("snapshot", "as_of"):
                found.update(f"{name}={_text(value)};".encode())
    return found.hexdigest()[:12] if parts else "nothing"


def _text(value: Any) -> str:
    if hasattr(value, "tobytes"):
        return digest_bytes(value.tobytes())
    if hasattr(value, "__dataclass_fields__"):
        return ",".join(f"{name}={_text(getattr(value, name))}" for name in sorted(value.__dataclass_fields__))
    return repr(value)

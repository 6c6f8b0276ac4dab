"""What children of the zygote do."""

from __future__ import annotations

import json
import os
import resource
from typing import Any

from pipeline.errors import ConflictError, CubecastError
from pipeline.settings import Settings
from tests.flow.chain import run_step
from tests.torture.states import request_of


def step(*, step: str, world_file: str, day: int, store: str, source: str | None = None, most_bytes: int | None = None) -> Any:
    """One step at the end of one day; no file may grow beyond `most_bytes`."""
    if most_bytes is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, most_bytes))
    request = request_of(step, world_file, day)
    if source is not None:
        request = request.model_copy(update={"source": source})
    receipt = run_step(request, Settings(store=store, data=None, dask=None))
    return {"outcome": receipt.outcome, "ids": {k: v for k, v in receipt.ids.items() if k != "snapshot"}, "notes": receipt.notes}


def race(*, of: list[dict[str, Any]]) -> Any:
    """Several children at once, each with its function and arguments; what each answers or raises."""
    ready, go = os.pipe()
    pipes = []
    for job in of:
        down, up = os.pipe()
        if os.fork() == 0:
            os.close(go)
            os.read(ready, 1)  # until the parent lets all go
            os.write(up, json.dumps(_said(**job)).encode())
            os._exit(0)
        os.close(up)
        pipes.append(down)
    os.close(go)
    answers = []
    for down in pipes:
        with os.fdopen(down) as pipe:
            answers.append(json.loads(pipe.read() or '{"error": "died"}'))
    for _ in of:
        os.wait()
    return answers


def _said(*, call: str, **arguments: Any) -> dict[str, Any]:
    try:
        return {"answer": globals()[call](**arguments)}
    except ConflictError as error:
        return {"conflict": str(error)}
    except CubecastError as error:
        return {"error": str(error)}


def commits(*, store: str, writer: int, count: int) -> Any:
    """So many commits to a cube, each a cell of its own in the same array; how often another writer came first."""
    import zarr

    from pipeline.stores.cube_writer import CubeWriter

    conflicts = 0
    for number in range(count):
        while True:
            cube = CubeWriter(store, "contested")
            cube.merge([])
            root: Any = zarr.open_group(cube.store, mode="a", zarr_format=3)
            if "marks" not in root:
                root.create_array("marks", shape=(8, count), chunks=(1, 1), dtype="int32", fill_value=0)
            root["marks"][writer, number] = 1
            try:
                cube.commit(f"{writer} {number}", {"mark": [writer, number]})
                break
            except ConflictError:
                conflicts += 1
    return conflicts


def records(*, store: str, writer: int, count: int) -> Any:
    """So many records in the same log; how often another writer came first."""
    from pipeline.stores.objects import ObjectStore
    from pipeline.stores.sealed import SealedLog

    log, conflicts = SealedLog(ObjectStore(store), "scores/contested/log"), 0
    for number in range(count):
        while True:
            try:
                log.append({"mark": [writer, number]}, expected=len(log.read()))
                break
            except ConflictError:
                conflicts += 1
    return conflicts

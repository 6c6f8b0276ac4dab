"""The read-only HTTP service: forecasts, observations and scores of the worlds on a shelf."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError

from pipeline.errors import CubecastError
from pipeline.serving.answers import Refused, json_bytes, refusal_of
from pipeline.serving.forecast_routes import forecast_routes
from pipeline.serving.guards import App, Guards
from pipeline.serving.record_routes import record_routes
from pipeline.serving.shelf import Shelf
from pipeline.serving.warning_routes import warning_routes
from pipeline.serving.world_routes import world_routes
from pipeline.settings import VERSION

DESCRIPTION = """Published forecasts, observations and scores, read only.

Times are ISO 8601 with an offset, such as `2014-09-30T06:00Z`; `latest` names the newest issue time. Every answer of a
forecast has an `ETag`; send it back as `If-None-Match`, and an unchanged answer costs 304 and no body."""


def create_app(
    shelf: Shelf,
    *,
    tokens: tuple[str, ...] = (),
    hosts: tuple[str, ...] = (),
    refresh_seconds: float = 1.0,
    tell: Callable[[str], None] = print,
) -> App:
    """The service behind its guards. It looks for newer forecasts every `refresh_seconds`, and tells of faults.

    Args:
        shelf: What is served.
        tokens: Accepted tokens; none for no question asked.
        hosts: Names that a request may be addressed to; none for any.
        refresh_seconds: How long a new forecast may stay unseen.
        tell: Where faults are told.
    """

    @contextlib.asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[None]:
        await asyncio.to_thread(shelf.renew)
        watching = asyncio.create_task(_watch(shelf, refresh_seconds, tell))
        yield
        watching.cancel()

    app = FastAPI(
        title="Cubecast",
        version=VERSION,
        description=DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        lifespan=life,
        openapi_url="/openapi.json",
    )
    private = bool(tokens)
    for router in (
        world_routes(shelf, app),
        forecast_routes(shelf, private=private),
        warning_routes(shelf, private=private),
        record_routes(shelf),
    ):
        app.include_router(router)
    app.add_exception_handler(Refused, _refused)
    app.add_exception_handler(CubecastError, _refused)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(404, _no_route)
    return Guards(app, tokens, hosts)


async def _watch(shelf: Shelf, seconds: float, tell: Callable[[str], None]) -> None:
    told: dict[str, str | None] = {}
    while True:
        await asyncio.sleep(seconds)
        await asyncio.to_thread(shelf.renew)
        for name, world in shelf.worlds.items():
            if world.fault != told.get(name):
                told[name] = world.fault
                tell(f"world {name}: {world.fault or 'whole again'}")


async def _refused(_: Request, error: Exception) -> Response:
    refused = error if isinstance(error, Refused) else refusal_of(error) if isinstance(error, CubecastError) else None
    if refused is None:
        raise error
    return _fault(refused)


async def _invalid(_: Request, error: Exception) -> Response:
    faults = error.errors() if isinstance(error, RequestValidationError) else []
    named = "; ".join(f"{'.'.join(str(part) for part in fault['loc'][1:])}: {fault['msg']}" for fault in faults)[:500]
    return _fault(Refused(422, asked="these parameters", found=named, mend="GET /docs says what each may be"))


async def _no_route(request: Request, _: Exception) -> Response:
    return _fault(Refused(404, asked=request.url.path[:200], found="nothing at this address", mend="GET /docs lists the addresses"))


def _fault(refused: Refused) -> Response:
    return Response(json_bytes(refused.body), refused.status, {"cache-control": "no-store"}, "application/json")

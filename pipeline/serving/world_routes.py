"""Routes of worlds: which there are, their domains, nodes and issue times; health; and the page that explains all routes."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, FastAPI, Query, Response

from pipeline.contracts.times import format_instant, from_seconds, to_seconds
from pipeline.publishing.words import label_text
from pipeline.serving.answers import Refused, unknown
from pipeline.serving.docs_page import docs_page
from pipeline.serving.forecast_routes import DOMAIN, WORLD
from pipeline.serving.schemas import FAULTS, Health, IssueTimes, Nodes, WorldAnswer, Worlds
from pipeline.serving.shelf import Shelf, WorldShelf, instant
from pipeline.stores.forecast_arrays import ForecastArrays

LIMIT = Annotated[int, Query(description="At most so many.", ge=1, le=10_000)]
OFFSET = Annotated[int, Query(description="Leave out so many at the beginning.", ge=0, le=100_000_000)]
TIME = Annotated[
    str | None, Query(description="An instant, ISO 8601 with an offset.", max_length=60, json_schema_extra={"format": "date-time"})
]


def world_routes(shelf: Shelf, app: FastAPI) -> APIRouter:
    """The routes; `app` is the one that they become part of, for its own description."""
    router = APIRouter(tags=["worlds"])
    faults: dict[int | str, dict[str, Any]] = FAULTS

    @router.get("/", include_in_schema=False)
    @router.get("/docs", include_in_schema=False)
    def docs() -> Response:
        headers = {"content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"}
        return Response(docs_page(app.openapi(), list(shelf.worlds)), 200, headers, "text/html; charset=utf-8")

    @router.get("/health", responses={200: {"model": Health}})
    def health() -> dict[str, Any]:
        """Whether every world can be answered, and how new what is held is."""
        worlds = {name: _health(world) for name, world in shelf.worlds.items()}
        return {"status": "ok" if all(w["fault"] is None for w in worlds.values()) else "degraded", "worlds": worlds}

    @router.get("/worlds", responses={200: {"model": Worlds}})
    def worlds() -> dict[str, Any]:
        """The worlds that are served."""
        return {"worlds": [_entry(world) for world in shelf.worlds.values()]}

    @router.get("/worlds/{world}", responses={200: {"model": WorldAnswer}, **faults})
    def one_world(world: WORLD) -> dict[str, Any]:
        """A world's domains, variables, units and leads."""
        found = shelf.of(world)
        domains = {name: _domain(found, name) for name in found.world.domains}
        return {**_entry(found), "description": found.world.description, "domains": domains}

    @router.get("/worlds/{world}/page", responses={200: {"content": {"text/html": {}}, "description": "The page"}, **faults})
    def page(world: WORLD) -> Response:
        """The forecast page of the newest issue time, for people."""
        found = shelf.of(world)
        found.latest()
        return Response(found.published.read_view("page/index.html"), 200, {"cache-control": "no-cache"}, "text/html; charset=utf-8")

    @router.get("/worlds/{world}/issue-times", responses={200: {"model": IssueTimes}, **faults})
    def issue_times(world: WORLD, start: TIME = None, end: TIME = None, limit: LIMIT = 100) -> dict[str, Any]:
        """The published issue times from `start` to `end`, newest first."""
        found = shelf.of(world)
        found.latest()
        first, last = (None if text is None else to_seconds(instant(text)) for text in (start, end))
        times = [t for t in found.published.issue_times(first) if last is None or t <= last]
        named = [format_instant(from_seconds(t)) for t in times[::-1][:limit]]
        return {"world": world, "count": len(times), "issue_times": named}

    @router.get("/worlds/{world}/domains/{domain}/nodes", responses={200: {"model": Nodes}, **faults})
    def nodes(world: WORLD, domain: DOMAIN, limit: LIMIT = 1000, offset: OFFSET = 0) -> dict[str, Any]:
        """The nodes of a domain that were ever forecast, with their places."""
        found = shelf.of(world)
        found.latest()
        if domain not in found.world.domains:
            raise unknown("domain", domain, list(found.world.domains), f"GET /worlds/{world} lists them")
        dataset = ForecastArrays(found.store, world).open(domain)
        part = dataset.isel(node=slice(offset, offset + limit))
        places = zip(part["node"].values, part["latitude"].values, part["longitude"].values, strict=True)
        listed = [{"node": str(node), "latitude": _number(lat), "longitude": _number(lon)} for node, lat, lon in places]
        return {"world": world, "domain": domain, "count": int(dataset.sizes["node"]), "nodes": listed}

    return router


def _number(value: Any) -> float | None:
    return float(value) if value == value else None


def _health(world: WorldShelf) -> dict[str, Any]:
    return {"latest_issue_time": _newest(world), "fault": world.fault}


def _newest(world: WorldShelf) -> str | None:
    try:
        return format_instant(from_seconds(world.latest().forecast.issue_time))
    except Refused:
        return None


def _entry(world: WorldShelf) -> dict[str, Any]:
    w = world.world
    return {"world": w.name, "title": w.title, "timezone": w.timezone, "latest_issue_time": _newest(world)}


def _domain(world: WorldShelf, name: str) -> dict[str, Any]:
    """What is declared of a domain, and what its newest forecast holds."""
    settings = world.world.domains[name]
    forecast = world.latest().forecast.domains.get(name) if _newest(world) else None
    variables = {
        variable: {
            "long_name": label_text(variable, declared.long_name),
            "units": forecast.units[forecast.variables.index(variable)] if forecast and variable in forecast.variables else None,
            "model": forecast.model_V[forecast.variables.index(variable)] if forecast and variable in forecast.variables else None,
        }
        for variable, declared in settings.variables.items()
        if declared.target
    }
    return {
        "title": settings.title,
        "nodes": len(forecast.node_ids) if forecast else None,
        "lead_s": [int(s) for s in forecast.lead_time_L] if forecast else None,
        "variables": variables,
    }

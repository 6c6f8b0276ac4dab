"""Routes of forecasts: by world, issue time, domain and node, as JSON, CSV or Parquet."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Header, Path, Query, Response

from pipeline.contracts.times import format_instant, from_seconds
from pipeline.publishing.tables import forecast_table
from pipeline.serving.answers import MEDIA_TYPES, Format, Refused, json_bytes, table_bytes, unknown
from pipeline.serving.schemas import FAULTS, UNCHANGED, ForecastEntry, Rows, table_of
from pipeline.serving.shelf import LATEST, Held, Shelf, WorldShelf

WORLD = Annotated[str, Path(description="A world's name.", max_length=40, examples=["synthetic"])]
ISSUE_TIME = Annotated[
    str,
    Path(
        description="An issue time, or `latest`.",
        pattern=r"^(latest|[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}(:[0-9]{2})?([Zz]|[+-][0-9]{2}:[0-9]{2}))$",
        examples=["latest"],
    ),
]
DOMAIN = Annotated[str, Path(description="A domain of the world.", max_length=40)]
NODE = Annotated[str, Path(description="A node's name.", max_length=200)]
FORMAT = Annotated[Format, Query(alias="format", description="How the rows are written.")]
VARIABLES = Annotated[list[str] | None, Query(alias="variable", description="A variable; may be repeated; by default all.", max_length=20)]
REVISION = Annotated[int | None, Query(description="A revision; by default the newest.", ge=0, le=100_000)]
IF_NONE_MATCH = Annotated[str | None, Header(include_in_schema=False)]


def forecast_routes(shelf: Shelf, *, private: bool) -> APIRouter:
    """The routes; `private` where answers must not be kept by shared caches."""
    router = APIRouter(tags=["forecasts"], responses=FAULTS)

    @router.get("/worlds/{world}/forecasts/{issue_time}", responses={200: {"model": ForecastEntry}, **UNCHANGED})
    async def one_forecast(
        world: WORLD, issue_time: ISSUE_TIME, revision: REVISION = None, if_none_match: IF_NONE_MATCH = None
    ) -> Response:
        """A forecast's provenance: its model, its inputs and their age, and what a re-issue changed."""
        held = await held_of(shelf.of(world), issue_time, revision)
        body = held.body("entry", lambda: json_bytes(_entry(held)))
        return answer_of(body, "json", f'"{held.etag}"', if_none_match, issue_time, private)

    @router.get("/worlds/{world}/forecasts/{issue_time}/{domain}", responses={**table_of(Rows), **UNCHANGED})
    async def domain_forecast(
        world: WORLD,
        issue_time: ISSUE_TIME,
        domain: DOMAIN,
        variable: VARIABLES = None,
        form: FORMAT = "json",
        revision: REVISION = None,
        if_none_match: IF_NONE_MATCH = None,
    ) -> Response:
        """A domain's forecast at every node."""
        held = await held_of(shelf.of(world), issue_time, revision)
        chosen = _variables(held, domain, variable)
        etag = f'"{held.etag}-{form}"'
        if matches(etag, if_none_match):
            return answer_of(b"", form, etag, if_none_match, issue_time, private)
        body = await asyncio.to_thread(_table, held, domain, None, chosen, form)
        return answer_of(body, form, etag, if_none_match, issue_time, private)

    @router.get("/worlds/{world}/forecasts/{issue_time}/{domain}/{node:path}", responses={**table_of(Rows), **UNCHANGED})
    async def node_forecast(
        world: WORLD,
        issue_time: ISSUE_TIME,
        domain: DOMAIN,
        node: NODE,
        variable: VARIABLES = None,
        form: FORMAT = "json",
        revision: REVISION = None,
        if_none_match: IF_NONE_MATCH = None,
    ) -> Response:
        """One node's forecast."""
        held = await held_of(shelf.of(world), issue_time, revision)
        chosen = _variables(held, domain, variable)
        at = held.at[domain].get(node)
        if at is None:
            raise await asyncio.to_thread(
                unknown, "node", node, list(held.at[domain]), f"GET /worlds/{world}/domains/{domain}/nodes lists them"
            )
        body = held.body((domain, at, chosen, form), lambda: _table(held, domain, at, chosen, form))
        return answer_of(body, form, f'"{held.etag}-{form}"', if_none_match, issue_time, private)

    return router


async def held_of(world: WorldShelf, issue_time: str, revision: int | None) -> Held:
    """The forecast asked for, from memory where it is there.

    Raises:
        Refused: There is none.
    """
    found = world.known(issue_time, revision)
    return found if found is not None else await asyncio.to_thread(world.find, issue_time, revision)


def _variables(held: Held, domain: str, asked: list[str] | None) -> tuple[int, ...] | None:
    """Places of the variables asked for, None for all.

    Raises:
        Refused: There is no such domain or variable in this forecast.
    """
    d = held.forecast.domains.get(domain)
    if d is None:
        absent = held.forecast.provenance.get("absent", [])
        if domain in absent:
            raise Refused(
                404,
                asked=f"forecast of domain {domain}",
                found="its inputs had not arrived at this issue time: no value in its context",
                mend="ask for another issue time; the forecast's provenance says which inputs were there",
                nearest=list(held.forecast.domains),
            )
        raise unknown("domain", domain, list(held.forecast.domains), f"GET /worlds/{held.forecast.world} lists them")
    if asked is None:
        return None
    for name in asked:
        if name not in d.variables:
            raise unknown("variable", name, list(d.variables), f"GET /worlds/{held.forecast.world} lists them")
    return tuple(sorted({d.variables.index(name) for name in asked}))


def _table(held: Held, domain: str, node: int | None, variables: tuple[int, ...] | None, form: Format) -> bytes:
    revision = int(held.record["revision"])
    table = forecast_table(held.forecast, domain, revision=revision, nodes=None if node is None else [node], variables=variables)
    if form == "json":
        table = table.drop_columns(["model_id", "snapshot", "revision"])
    head = {"world": held.forecast.world, "domain": domain, **told(held)}
    return table_bytes(head, table, form)


def told(held: Held) -> dict[str, Any]:
    """What every answer of a forecast says of it."""
    provenance = held.forecast.provenance
    return {
        "issue_time": format_instant(from_seconds(held.forecast.issue_time)),
        "revision": int(held.record["revision"]),
        "forecast": held.record["forecast"],
        "model_id": provenance.get("model_id"),
        "snapshot": provenance.get("snapshot"),
    }


def _entry(held: Held) -> dict[str, Any]:
    published = {name: dict(zip(d.variables, d.model_V, strict=True)) for name, d in held.forecast.domains.items()}
    provenance = {key: value for key, value in held.forecast.provenance.items() if key != "explanation"}
    return {
        "world": held.forecast.world,
        **told(held),
        "published": published,
        "changes": held.record.get("changes", {}),
        "provenance": provenance,
    }


def matches(etag: str, given: str | None) -> bool:
    """Whether the client has the answer of this ETag already."""
    return given is not None and (given.strip() == "*" or etag in (tag.strip().removeprefix("W/") for tag in given.split(",")))


def answer_of(body: bytes, form: Format, etag: str, given: str | None, issue_time: str, private: bool) -> Response:
    """An answer with its ETag; the newest forecast may be replaced at any time, others by a re-issue only."""
    age = 2 if issue_time == LATEST else 60
    headers = {"etag": etag, "cache-control": f"{'private' if private else 'public'}, max-age={age}"}
    if matches(etag, given):
        return Response(None, 304, headers)
    return Response(body, 200, headers, MEDIA_TYPES[form])

"""Route of warnings: the probabilities of a world's declared events, as JSON, CSV or Parquet."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Query, Response

from pipeline.publishing.event_tables import event_table, told_of
from pipeline.serving.answers import Format, table_bytes, unknown
from pipeline.serving.forecast_routes import FORMAT, IF_NONE_MATCH, ISSUE_TIME, REVISION, WORLD, answer_of, held_of, matches, told
from pipeline.serving.schemas import FAULTS, UNCHANGED, Warnings, table_of
from pipeline.serving.shelf import Held, Shelf, WorldShelf

if TYPE_CHECKING:
    import pyarrow as pa

DOMAIN = Annotated[str | None, Query(description="One domain; by default all that declare events.", max_length=40)]
EVENT = Annotated[str | None, Query(description="One event; by default all.", max_length=40)]
NODE = Annotated[str | None, Query(description="One node, by its name; by default all.", max_length=200)]
LEAST = Annotated[float | None, Query(description="Least probability; by default the level at which each event is warned of.", ge=0, le=1)]


def warning_routes(shelf: Shelf, *, private: bool) -> APIRouter:
    """The route; `private` where answers must not be kept by shared caches."""
    router = APIRouter(tags=["forecasts"], responses=FAULTS)

    @router.get("/worlds/{world}/warnings/{issue_time}", responses={**table_of(Warnings), **UNCHANGED})
    async def warnings(
        world: WORLD,
        issue_time: ISSUE_TIME,
        domain: DOMAIN = None,
        event: EVENT = None,
        node: NODE = None,
        least: LEAST = None,
        form: FORMAT = "json",
        revision: REVISION = None,
        if_none_match: IF_NONE_MATCH = None,
    ) -> Response:
        """Where and when a declared event is probable, and how probable: a row per node, event and valid time."""
        found = shelf.of(world)
        held = await held_of(found, issue_time, revision)
        etag = f'"{held.etag}-{form}"'
        if matches(etag, if_none_match):
            return answer_of(b"", form, etag, if_none_match, issue_time, private)
        body = await asyncio.to_thread(_body, found, held, domain, event, node, least, form)
        return answer_of(body, form, etag, if_none_match, issue_time, private)

    return router


def _body(
    world: WorldShelf, held: Held, domain: str | None, event: str | None, node: str | None, least: float | None, form: Format
) -> bytes:
    declared = world.world.domains
    domains = [name for name, d in held.forecast.domains.items() if name in declared and told_of(d, declared[name].events)]
    if domain is not None and domain not in domains:
        raise unknown("domain", domain, domains, "these have events in this forecast")
    events = sorted({name for d in domains for name in told_of(held.forecast.domains[d], declared[d].events)})
    if event is not None and event not in events:
        raise unknown("event", event, events, "the world's file declares them")
    tables = [_of_domain(world, held, name, event, node, least) for name in domains if domain in (None, name)]
    if node is not None and all(table is None for table in tables):
        known = [name for d in domains if domain in (None, d) for name in held.at[d]]
        raise unknown("node", node, known, f"GET /worlds/{world.world.name}/domains/DOMAIN/nodes lists them")
    kept = [table for table in tables if table is not None]
    if not kept:
        return _nothing(world, held, form)
    import pyarrow as pa

    table = pa.concat_tables(kept)
    if form == "json":
        table = table.drop_columns(["model_id", "snapshot", "revision"])
    return table_bytes({"world": world.world.name, **told(held)}, table, form)


def _nothing(world: WorldShelf, held: Held, form: Format) -> bytes:
    """The answer of a world that declares no event."""
    import pyarrow as pa

    return table_bytes({"world": world.world.name, **told(held)}, pa.table({"domain": pa.array([], pa.string())}), form)


def _of_domain(world: WorldShelf, held: Held, domain: str, event: str | None, node: str | None, least: float | None) -> pa.Table | None:
    """The rows of one domain; None where it has not the node, or not the event."""
    import pyarrow as pa

    declared = {name: e for name, e in world.world.domains[domain].events.items() if event in (None, name)}
    at = None if node is None else held.at[domain].get(node)
    if not told_of(held.forecast.domains[domain], declared) or (node is not None and at is None):
        return None
    nodes = None if at is None else [at]
    table = event_table(held.forecast, domain, declared, revision=int(held.record["revision"]), nodes=nodes, least=least)
    return table.add_column(0, "domain", pa.array([domain] * table.num_rows, pa.string()))

"""Routes of records: what was observed, and how good the forecasts were."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Query, Response

from pipeline.contracts.cubes import DomainCube
from pipeline.contracts.times import format_instant, from_seconds, to_seconds
from pipeline.errors import NotYetAvailable
from pipeline.score_lines import Way, rows_by, table_name
from pipeline.serving.answers import MEDIA_TYPES, Refused, flattened, records_bytes, table_bytes, unknown
from pipeline.serving.forecast_routes import DOMAIN, FORMAT, NODE, VARIABLES, WORLD
from pipeline.serving.schemas import FAULTS, Observations, Scores, table_of
from pipeline.serving.shelf import Shelf, WorldShelf, instant
from pipeline.serving.world_routes import TIME
from pipeline.stores.cubes import CubeStore
from pipeline.stores.objects import ObjectStore
from pipeline.stores.scores import ScoreStore
from pipeline.verification.statistics import Statistics
from pipeline.verification.tables import TABLES

MOST_CELLS = 20_000_000
"""Cells of a cube that one request for observations may read."""

_SUMMED = 200
LAST = Annotated[int, Query(description="So many of the newest verified issue times together.", ge=1, le=_SUMMED)]
BY = Annotated[Way | None, Query(description="By what scores are told apart.")]
ONLY_DOMAIN = Annotated[str | None, Query(alias="domain", description="One domain only.", max_length=40)]
MODELS = Annotated[list[str] | None, Query(alias="model", description="A model; may be repeated; by default all.", max_length=20)]
LABEL = Annotated[str | None, Query(description="One part only, such as `south west`, `06-09` or `absent`.", max_length=100)]
SCORED = Annotated[str | None, Query(description="One issue time instead.", max_length=60, json_schema_extra={"format": "date-time"})]


def record_routes(shelf: Shelf) -> APIRouter:
    """The routes."""
    router = APIRouter(tags=["observations and scores"], responses=FAULTS)

    @router.get("/worlds/{world}/observations/{domain}/{node:path}", responses=table_of(Observations))
    def observations(
        world: WORLD,
        domain: DOMAIN,
        node: NODE,
        start: TIME = None,
        end: TIME = None,
        as_of: TIME = None,
        variable: VARIABLES = None,
        form: FORMAT = "json",
    ) -> Response:
        """Observed values of a node from `start` to `end` (by default the last day), as they were known at `as_of` (by default now)."""
        found = shelf.of(world)
        seen = min(instant(as_of), shelf.clock(found.world)) if as_of else shelf.clock(found.world)
        last = min(instant(end), seen) if end else seen
        first = instant(start) if start else last - timedelta(days=1)
        cube = _cube(found, domain, first, seen)
        table = _observed(
            cube, node, to_seconds(first), to_seconds(last), variable, f"GET /worlds/{world}/domains/{domain}/nodes lists them"
        )
        head = {"world": world, "domain": domain, "as_of": format_instant(seen), "snapshot": cube.snapshot}
        return Response(table_bytes(head, table, form), 200, {"cache-control": "no-cache"}, MEDIA_TYPES[form])

    @router.get("/worlds/{world}/scores", responses=table_of(Scores))
    def scores(
        world: WORLD,
        last: LAST = 100,
        issue_time: SCORED = None,
        by: BY = None,
        domain: ONLY_DOMAIN = None,
        variable: VARIABLES = None,
        model: MODELS = None,
        label: LABEL = None,
        form: FORMAT = "json",
    ) -> Response:
        """Scores of published forecasts, and of every rival, against what came; lead 0 is all leads together.

        Without `by` every lead of the whole. A part (`region`, `hour`, `availability`, `regime`, `event`) has rows by group of
        leads, from the first to the last one of `leads`; `warning` is what came of warnings, of the whole and of each part;
        `rival` how sure the differences of the joint model from its rivals are, as they stand and for all of them at once.
        """
        found = shelf.of(world)
        store = ScoreStore(ObjectStore(found.store), world)
        times = store.issue_times(newest=last) if issue_time is None else [to_seconds(instant(issue_time))]
        period = store.period(times[0], times[-1]) if times else None
        if issue_time is not None and (period is None or not period.issue_times):
            raise _never(found, issue_time)
        verified = [format_instant(from_seconds(moment)) for moment in times]
        head = {"world": world, "issue_times": verified, "left_out": period.left_out if period else 0}
        wanted = {"domain": [domain] if domain else None, "variable": variable, "model": model, "label": [label] if label else None}
        rows = _scored(period.statistics if period else Statistics.zero(), by, wanted)
        return Response(records_bytes(head, flattened(rows), form), 200, {"cache-control": "no-cache"}, MEDIA_TYPES[form])

    @router.get("/worlds/{world}/scorecard", responses={200: {"model": Scores}})
    def scorecard(world: WORLD) -> dict[str, Any]:
        """The scores of the model that made the newest forecast, and of the baselines, on held-out time that none had seen."""
        found = shelf.of(world)
        card = found.registry.scorecard(str(found.latest().record["model_id"])).model_dump(mode="json")
        return {**card, "world": world}

    return router


def _scored(statistics: Statistics, by: Way | None, wanted: Mapping[str, list[str] | None]) -> list[Mapping[str, Any]]:
    """The rows told apart in a way, of wanted names only; a column that a table has not, as events no variable, leaves nothing out."""
    name = table_name(by or "all")
    some = statistics.only(frozenset(statistics.axes) & frozenset(wanted["domain"] or statistics.axes))
    rows: list[Mapping[str, Any]] = [row.model_dump(mode="json") for row in TABLES[name](some)]
    kept = rows if by is None else rows_by({name: rows}, by)
    return [row for row in kept if all(not names or row.get(column, names[0]) in names for column, names in wanted.items())]


def _never(world: WorldShelf, issue_time: str) -> Refused:
    known = ScoreStore(ObjectStore(world.store), world.world.name).issue_times(newest=3)
    close = [format_instant(from_seconds(t)) for t in known]
    return Refused(
        404,
        asked=f"scores of the forecast issued at {issue_time}",
        found="it was not verified: nothing was published then, or no observation came yet",
        mend="ask for another, or for all",
        nearest=close,
    )


def _cube(world: WorldShelf, domain: str, first: datetime, seen: datetime) -> DomainCube:
    """The domain from an instant on; refused where that would be more than one request may read."""
    settings = world.world.domains.get(domain)
    if settings is None:
        raise unknown("domain", domain, list(world.world.domains), f"GET /worlds/{world.world.name} lists them")
    store, first = CubeStore(world.store, world.world.name), max(first, world.world.domain_start(domain))
    step = 86400 if settings.clock.step is None else settings.clock.step.total_seconds()
    try:
        cells = (seen - first).total_seconds() / step * len(store.nodes(domain)) * len(settings.variables)
    except NotYetAvailable as error:
        raise Refused(404, asked=f"observations of domain {domain}", found="no cube was built yet", mend=error.mend) from error
    if cells > MOST_CELLS:
        raise Refused(
            413,
            asked=f"observations from {format_instant(first)} as known at {format_instant(seen)}",
            found=f"{cells:,.0f} cells to read, more than {MOST_CELLS:,}",
            mend="ask from a later start or with an earlier as_of, or use cubecast cube export",
        )
    return store.open(seen, domain, start=to_seconds(first))


def _observed(cube: DomainCube, node: str, first: int, last: int, asked: list[str] | None, where: str) -> Any:
    """Rows by variable and valid time."""
    import pyarrow as pa

    if node not in cube.nodes.ids:
        raise unknown("node", node, cube.nodes.ids, where)
    for name in asked or ():
        if name not in cube.variables:
            raise unknown("variable", name, cube.variables, "these are the variables of the domain")
    n, keep = cube.nodes.ids.index(node), (cube.valid_time >= first) & (cube.valid_time <= last)
    chosen = [v for v, name in enumerate(cube.variables) if not asked or name in asked]
    count, times = int(keep.sum()), cube.valid_time[keep]
    return pa.table(
        {
            "node": pa.array([node] * count * len(chosen)),
            "variable": pa.array([cube.variables[v] for v in chosen for _ in range(count)], pa.string()),
            "valid_time": pa.array(np.tile(times, len(chosen))).cast(pa.timestamp("s", tz="UTC")),
            "value": pa.array(np.concatenate([cube.values_TNV[keep, n, v] for v in chosen] or [np.zeros(0, np.float32)])),
            "flag": pa.array(np.concatenate([cube.flags_TNV[keep, n, v] for v in chosen] or [np.zeros(0, np.uint16)])),
            "units": pa.array([cube.units[v] for v in chosen for _ in range(count)], pa.string()),
        }
    )

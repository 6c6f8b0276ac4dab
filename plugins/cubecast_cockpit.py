"""The cockpit inside Airflow's UI: what operators miss there, behind Airflow's own login. Reads only; its buttons lead to Airflow."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache, lru_cache
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.resource_details import DagDetails
from airflow.api_fastapi.core_api.security import GetUserDep
from airflow.models.dagrun import DagRun
from airflow.models.taskinstance import TaskInstance
from airflow.plugins_manager import AirflowPlugin
from airflow.utils.session import create_session
from fastapi import Depends, FastAPI, HTTPException, Query
from fastapi.responses import FileResponse
from sqlalchemy import select
from starlette.responses import Response

from pipeline import clock
from pipeline.api import World, load_world, scheduled_worlds
from pipeline.cockpit.grid import STATES, Unfinished, grid
from pipeline.cockpit.panels import cost, panels, skill, storage
from pipeline.errors import CubecastError, NotYetAvailable
from pipeline.settings import read_settings
from pipeline.stores.objects import ObjectStore
from pipeline.stores.published import PublishedStore
from pipeline.stores.receipts import Receipts, Summary

STATIC = Path(__file__).with_name("cockpit")
PAGE_POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; frame-ancestors 'self'"
FOREIGN = "sandbox allow-scripts allow-popups"
"""A forecast's page runs its own scripts, but is not of this origin: it reaches nothing of Airflow."""
STORAGE_SECONDS = 600
SKILL_SECONDS = 300
LONGEST = 400 * 86400

app = FastAPI(title="Cubecast cockpit", openapi_url=None)


@cache
def _receipts() -> Receipts:
    return Receipts(ObjectStore(read_settings().store))


def _readable(name: str, user: Any) -> bool:
    return bool(get_auth_manager().is_authorized_dag(method="GET", details=DagDetails(id=f"{name}__forecast"), user=user))


def _world(world: str, user: GetUserDep) -> World:
    """The world asked for, where the user may see its DAGs."""
    if world not in scheduled_worlds() or not _readable(world, user):
        raise HTTPException(404, f"no world '{world}' here")
    return load_world(world)


Asked = Annotated[World, Depends(_world)]


@app.exception_handler(CubecastError)
def refused(_: Any, error: CubecastError) -> Response:
    """What was asked, found, and the mend, for people to read."""
    return Response(str(error), status_code=503, media_type="text/plain")


@app.get("/")
def page(_: GetUserDep) -> FileResponse:
    """The page itself."""
    return FileResponse(STATIC / "index.html", headers={"Content-Security-Policy": PAGE_POLICY, "Cache-Control": "no-cache"})


@app.get("/static/{name}")
def static(name: str, _: GetUserDep) -> FileResponse:
    """Its script and its style."""
    if name not in ("cockpit.js", "cockpit.css"):
        raise HTTPException(404, "no such file")
    return FileResponse(STATIC / name, headers={"Cache-Control": "no-cache"})


@app.get("/api/worlds")
def worlds(user: GetUserDep) -> list[dict[str, str]]:
    """The worlds that this user may see."""
    return [{"name": name, "title": load_world(name).title} for name in scheduled_worlds() if _readable(name, user)]


@app.get("/api/worlds/{world}/grid")
def status_grid(
    world: Asked, first: Annotated[int | None, Query()] = None, last: Annotated[int | None, Query()] = None, columns: int = 120
) -> dict[str, Any]:
    """The status grid between two instants (seconds UTC); by default the newest 30 days that hold anything."""
    rows = _newest_time(world)
    last = (rows or int(time.time())) + 1 if last is None else last
    first = last - 30 * 86400 if first is None else first
    if not 0 < last - first <= LONGEST or not 1 <= columns <= 2000:
        raise HTTPException(422, f"give first < last, at most {LONGEST // 86400} days apart, and 1 to 2000 columns")
    return grid(_summaries(world, first, last), _unfinished(world), first=first, last=last, columns=columns)


@app.get("/api/worlds/{world}/page")
def forecast_page(world: Asked, issue_time: int) -> Response:
    """The page of one issue time (seconds UTC), as it was published or last verified."""
    published = PublishedStore(ObjectStore(read_settings().store), world.name)
    try:
        html = published.read_view(published.page_name(issue_time))
        return Response(html, media_type="text/html; charset=utf-8", headers={"Content-Security-Policy": FOREIGN})
    except NotYetAvailable as error:
        raise HTTPException(404, "no page of that issue time: a page is made by publish, and again by verify") from error


@app.get("/api/worlds/{world}/panels")
def beside(world: Asked) -> dict[str, Any]:
    """Everything beside the grid."""
    objects = ObjectStore(read_settings().store)
    now = clock.clock_of(world)
    rows = _summaries(world, int(now.timestamp()) - LONGEST, int(now.timestamp()) + 86400) if not world.recorded else _all(world)
    return panels(objects, world, now=now) | {
        "cost": dict(list(cost(rows).items())[-60:]),
        "storage": _storage(world.name, int(time.time()) // STORAGE_SECONDS),
        "skill": _skill(world.name, int(time.time()) // SKILL_SECONDS),
        "scheduled": world.schedule is not None,
    }


@lru_cache(maxsize=64)
def _skill(world: str, _slot: int) -> list[dict[str, Any]]:
    return skill(ObjectStore(read_settings().store), world)


@lru_cache(maxsize=64)
def _storage(world: str, _slot: int) -> dict[str, int]:
    return storage(ObjectStore(read_settings().store), world)


def _newest_time(world: World) -> int | None:
    months = _receipts().months(world.name)
    return max((row.as_of for row in _receipts().summaries(world.name, months[-1])), default=None) if months else None


def _all(world: World) -> list[Summary]:
    return [row for month in _receipts().months(world.name) for row in _receipts().summaries(world.name, month)]


def _summaries(world: World, first: int, last: int) -> Iterator[Summary]:
    start, stop = (f"{datetime.fromtimestamp(moment, UTC):%Y-%m}" for moment in (first, last))
    for month in _receipts().months(world.name):
        if start <= month <= stop:
            yield from _receipts().summaries(world.name, month)


def _unfinished(world: World) -> list[Unfinished]:
    """The tasks of the world's DAGs that have not ended well."""
    wanted = (
        select(TaskInstance.task_id, TaskInstance.state, TaskInstance.dag_id, TaskInstance.run_id, TaskInstance.updated_at, DagRun)
        .join(DagRun, (DagRun.dag_id == TaskInstance.dag_id) & (DagRun.run_id == TaskInstance.run_id))
        .where(TaskInstance.dag_id.startswith(f"{world.name}__", autoescape=True), TaskInstance.state.in_(STATES))
        .order_by(TaskInstance.updated_at.desc())
        .limit(5000)
    )
    with create_session() as session:
        return [_task(*row) for row in session.execute(wanted).tuples()]


def _task(task_id: str, state: str | None, dag_id: str, run_id: str, updated: datetime | None, run: DagRun) -> Unfinished:
    source, _, step = task_id.rpartition(".")
    asked = (run.conf or {}).get("issue_time") if not run.partition_date else None
    moment = run.partition_date or (datetime.fromisoformat(asked) if asked else run.run_after)
    return Unfinished(
        step=step,
        source=source or None,
        as_of=int(moment.timestamp()),
        state=str(state),
        since=f"{updated or run.run_after:%Y-%m-%dT%H:%M:%SZ}",
        run=run_id,
        link=f"/dags/{quote(dag_id)}/runs/{quote(run_id)}/tasks/{quote(task_id)}",
    )


def _view(route: str, destination: str, href: str) -> dict[str, str]:
    return {"name": "Cubecast", "href": href, "destination": destination, "url_route": route}


class CubecastCockpit(AirflowPlugin):
    """One FastAPI app and the views that show it."""

    name = "cubecast_cockpit"
    fastapi_apps = [{"app": app, "url_prefix": "/cubecast", "name": "Cubecast cockpit"}]  # noqa: RUF012
    external_views = [  # noqa: RUF012
        _view("cubecast", "nav", "/cubecast/"),
        _view("cubecast-dag", "dag", "/cubecast/?dag_id={DAG_ID}"),
        _view("cubecast-run", "dag_run", "/cubecast/?dag_id={DAG_ID}&run_id={RUN_ID}"),
    ]

"""The cockpit inside Airflow's UI: what operators miss there, behind Airflow's own login. Reads only; its buttons lead to Airflow."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from functools import cache, lru_cache
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.resource_details import DagDetails
from airflow.api_fastapi.core_api.security import GetUserDep
from airflow.models.asset import AssetEvent, association_table
from airflow.models.dagrun import DagRun
from airflow.models.taskinstance import TaskInstance
from airflow.plugins_manager import AirflowPlugin
from airflow.utils.session import create_session
from fastapi import Depends, FastAPI, HTTPException, Query
from fastapi.responses import FileResponse
from sqlalchemy import select
from sqlalchemy.orm import Session
from starlette.responses import Response

from pipeline import clock
from pipeline.api import World, load_world, scheduled_worlds
from pipeline.cockpit.asked import asked_at
from pipeline.cockpit.due import due_in
from pipeline.cockpit.grid import OUTCOMES, STATES, Unfinished, grid, most_urgent
from pipeline.cockpit.panels import over_time, panels
from pipeline.errors import CubecastError, NotYetAvailable
from pipeline.settings import read_settings
from pipeline.stores.objects import ObjectStore
from pipeline.stores.published import PublishedStore
from pipeline.stores.receipts import Receipts, Summary

STATIC = Path(__file__).with_name("cockpit")
PAGE_POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; frame-ancestors 'self'"
FOREIGN = "sandbox allow-scripts allow-popups"
"""A forecast's page runs its own scripts, but is not of this origin: it reaches nothing of Airflow."""
FILES = ("cockpit.js", "panels.js", "cockpit.css")
OVER_TIME_SECONDS = 300
DAYS = 30
LONGEST = 400 * 86400
"""Of one look; earlier years are paged to."""
EVER = (0, 2**32)

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
    if name not in FILES:
        raise HTTPException(404, "no such file")
    return FileResponse(STATIC / name, headers={"Cache-Control": "no-cache"})


@app.get("/api/worlds")
def worlds(user: GetUserDep) -> list[dict[str, str]]:
    """The worlds that this user may see."""
    return [{"name": name, "title": load_world(name).title} for name in scheduled_worlds() if _readable(name, user)]


Days = Annotated[int, Query(ge=1, le=LONGEST // 86400)]
Columns = Annotated[int, Query(ge=1, le=2000)]


@app.get("/api/worlds/{world}/grid")
def status_grid(world: Asked, days: Days = DAYS, last: int | None = None, columns: Columns = 120, run: str | None = None) -> dict[str, Any]:
    """The status grid of so many days up to an instant (seconds UTC), by default the newest that hold anything; a run's cells are marked."""
    oldest, newest = _span(world)
    found = _grid(world, last=newest + 1 if last is None else last, days=days, columns=columns, oldest=oldest, run=run)
    return found | {"oldest": oldest, "newest": newest, "meaning": OUTCOMES}


@app.get("/api/overview")
def overview(user: GetUserDep, days: Days = DAYS, last: int | None = None, columns: Columns = 120) -> list[dict[str, Any]]:
    """Per world that this user may see the most urgent of all steps over time; by default up to the newest of all worlds."""
    seen = [load_world(name) for name in scheduled_worlds() if _readable(name, user)]
    spans = {world.name: _span(world) for world in seen}
    end = max((newest for _, newest in spans.values()), default=0) + 1 if last is None else last
    grids = [(world, _grid(world, last=end, days=days, columns=columns, oldest=spans[world.name][0])) for world in seen]
    return [{"world": w.name, "title": w.title, **{k: g[k] for k in ("first", "last", "width")}, "cells": most_urgent(g)} for w, g in grids]


def _grid(world: World, *, last: int, days: int, columns: int, oldest: int, run: str | None = None) -> dict[str, Any]:
    first = last - days * 86400
    due = due_in(world, first=max(first, oldest), last=last, now=clock.clock_of(world))
    unfinished = _unfinished(world, first, last)
    return grid(_summaries(world, first, last), unfinished, first=first, last=last, columns=columns, due=due, run=run)


@app.get("/api/worlds/{world}/unfinished")
def unfinished(world: Asked) -> list[dict[str, Any]]:
    """The newest tasks of the world's DAGs that have not ended well, for `cubecast status` to show."""
    return [asdict(task) for task in _unfinished(world, *EVER)]


@app.get("/api/worlds/{world}/run")
def run_shown(world: Asked, dag_id: str, run_id: str) -> dict[str, Any]:
    """As of when a run of one of the world's DAGs is asked (seconds UTC), and its state."""
    wanted = select(DagRun).where(DagRun.dag_id == dag_id, DagRun.run_id == run_id)
    with create_session() as session:
        run = session.scalar(wanted) if dag_id.startswith(f"{world.name}__") else None
        if run is None:
            raise HTTPException(404, f"no run '{run_id}' of DAG '{dag_id}'")
        at = _moment(run, _told(session, [run]))
        return {"dag_id": dag_id, "run_id": run_id, "at": int(at.timestamp()), "state": str(run.state)}


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
    return panels(ObjectStore(read_settings().store), world, now=clock.clock_of(world)) | {
        **_over_time(world.name, int(time.time()) // OVER_TIME_SECONDS),
        "scheduled": world.schedule is not None,
    }


@lru_cache(maxsize=64)
def _over_time(name: str, _slot: int) -> dict[str, Any]:
    world = load_world(name)
    return over_time(ObjectStore(read_settings().store), world, _receipts(), now=clock.clock_of(world))


def _span(world: World) -> tuple[int, int]:
    """The oldest and the newest instant as of which a step was asked; now where none was, and where a schedule goes on."""
    months, now = _receipts().months(world.name), int(time.time())
    ends = [[row.as_of for month in some for row in _receipts().summaries(world.name, month)] for some in (months[:1], months[-1:])]
    return min(ends[0], default=now), max([*ends[1], now] if world.schedule else ends[1], default=now)


def _summaries(world: World, first: int, last: int) -> Iterator[Summary]:
    start, stop = (f"{datetime.fromtimestamp(moment, UTC):%Y-%m}" for moment in (first, last))
    for month in _receipts().months(world.name):
        if start <= month <= stop:
            yield from _receipts().summaries(world.name, month)


def _unfinished(world: World, first: int, last: int) -> list[Unfinished]:
    """The tasks of the world's DAGs that have not ended well; of partitions only those between two instants (seconds UTC)."""
    span = datetime.fromtimestamp(first, UTC), datetime.fromtimestamp(last, UTC)
    wanted = (
        select(TaskInstance.task_id, TaskInstance.state, TaskInstance.dag_id, TaskInstance.run_id, TaskInstance.updated_at, DagRun)
        .join(DagRun, (DagRun.dag_id == TaskInstance.dag_id) & (DagRun.run_id == TaskInstance.run_id))
        .where(TaskInstance.dag_id.startswith(f"{world.name}__", autoescape=True), TaskInstance.state.in_(STATES))
        .where(DagRun.partition_date.is_(None) | DagRun.partition_date.between(*span))
        .order_by(TaskInstance.updated_at.desc())
        .limit(5000)
    )
    with create_session() as session:
        rows = session.execute(wanted).all()
        told = _told(session, (row[-1] for row in rows))
        return [_task(*row, told) for row in rows]


Told = Mapping[int, Iterable[Mapping[str, Any]]]
"""What the events carry that triggered a run, by the run's number."""


def _told(session: Session, runs: Iterable[DagRun]) -> Told:
    """Of those runs that carry no times themselves."""
    asked = {run.id for run in runs if run.partition_date is None and asked_at([run.conf or {}]) is None}
    consumed = association_table.c
    wanted = select(consumed.dag_run_id, AssetEvent.extra).join(AssetEvent, AssetEvent.id == consumed.event_id)
    found = defaultdict(list)
    for number, extra in session.execute(wanted.where(consumed.dag_run_id.in_(asked))) if asked else ():
        found[number].append(extra)
    return found


def _task(task_id: str, state: str | None, dag_id: str, run_id: str, updated: datetime | None, run: DagRun, told: Told) -> Unfinished:
    source, _, step = task_id.rpartition(".")
    return Unfinished(
        step=step,
        source=source or None,
        as_of=int(_moment(run, told, step).timestamp()),
        state=str(state),
        since=f"{updated or run.run_after:%Y-%m-%dT%H:%M:%SZ}",
        run=run_id,
        link=f"/dags/{quote(dag_id)}/runs/{quote(run_id)}/tasks/{quote(task_id)}",
    )


def _moment(run: DagRun, told: Told, step: str = "") -> datetime:
    """The instant that a step of a run, without one the run, is asked for, as far as the run and its events say."""
    found: datetime = run.partition_date or asked_at([run.conf or {}, *told.get(run.id, ())], step) or run.run_after
    return found


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

"""Where the cockpit places the tasks of Airflow: by the times that their run carries."""

import warnings
from contextlib import contextmanager
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
from sqlalchemy import create_engine, event, insert
from sqlalchemy.orm import Session

from pipeline.api import load_world
from pipeline.contracts.times import format_instant, from_seconds, to_seconds
from pipeline.stores.objects import ObjectStore
from pipeline.stores.receipts import Receipts
from tests.dags.stage import ENDED, T, silently

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from airflow.models import import_all_models
    from airflow.models.asset import AssetEvent, association_table
    from airflow.models.dagrun import DagRun
    from airflow.models.taskinstance import TaskInstance

    from plugins import cubecast_cockpit as cockpit

TABLES = ("dag_run", "task_instance", "asset_event", "dagrun_asset_event", "log_template")
WALL = datetime(2026, 11, 23, tzinfo=UTC)
OLDER = {"issue_time": "2025-10-31T12:00:00Z", "now": "2025-11-09T00:00:00Z"}


@pytest.fixture
def database(monkeypatch):
    """Airflow's tables that the cockpit reads, and every statement that it asks them."""
    silently(import_all_models)
    engine = create_engine("sqlite://")
    DagRun.metadata.create_all(engine, tables=[DagRun.metadata.tables[name] for name in TABLES])
    with Session(engine) as session:

        @contextmanager
        def same():
            yield session

        monkeypatch.setattr(cockpit, "create_session", same)
        said = []
        event.listen(engine, "before_cursor_execute", lambda *given: said.append(given[2]))
        yield SimpleNamespace(session=session, said=said)
    engine.dispose()


def run(database, dag, run_id, *failed, events=(), **more):
    """A run of one of the world's DAGs whose tasks failed, woken by events that carry this."""
    made = silently(DagRun, dag_id=f"synthetic__{dag}", run_id=run_id, run_type="asset_triggered", run_after=WALL, state="failed", **more)
    database.session.add(made)
    database.session.flush()
    for extra in events:
        number = database.session.execute(insert(AssetEvent).values(asset_id=1, extra=extra)).inserted_primary_key[0]
        database.session.execute(insert(association_table).values(dag_run_id=made.id, event_id=number))
    for name in failed:
        row = {"task_id": name, "dag_id": made.dag_id, "run_id": run_id, "pool": "default_pool", "state": "failed", "updated_at": WALL}
        database.session.execute(insert(TaskInstance).values(**row))


def placed(database):
    database.said.clear()
    found = cockpit._unfinished(ENDED, 0, to_seconds(WALL))
    return {(task.run, task.step): format_instant(from_seconds(task.as_of)) for task in found}


def test_a_run_that_an_asset_woke_is_placed_by_the_newest_of_its_events(database):
    run(database, "cube", "cube-1", "build_cube", events=[T, OLDER, {}])
    run(database, "training", "training-1", "train", "evaluate", events=[T])
    run(database, "monitoring", "monitoring-1", "verify", events=[OLDER])
    assert placed(database) == {
        ("cube-1", "build_cube"): T["now"],
        ("training-1", "train"): T["issue_time"],
        ("training-1", "evaluate"): T["issue_time"],
        ("monitoring-1", "verify"): OLDER["now"],
    }
    assert len(database.said) == 2, "the tasks, and the events of all of them"


def test_a_run_that_carries_its_times_is_placed_by_them_without_a_look_at_events(database):
    run(database, "ingest", "asked", "roads.land", conf=T, events=[OLDER])
    run(database, "forecast", "due", "predict", partition_date=datetime(2025, 11, 2, 6, tzinfo=UTC), events=[OLDER])
    assert placed(database) == {("asked", "land"): T["now"], ("due", "predict"): "2025-11-02T06:00:00Z"}
    assert len(database.said) == 1


def test_a_run_of_which_nothing_says_when_is_placed_when_it_ran(database):
    run(database, "cube", "bare", "build_cube")
    assert placed(database) == {("bare", "build_cube"): format_instant(WALL)}


def test_the_view_on_a_run_that_an_asset_woke_says_its_issue_time(database):
    run(database, "cube", "cube-1", events=[T])
    found = cockpit.run_shown(ENDED, "synthetic__cube", "cube-1")
    assert format_instant(from_seconds(found["at"])) == T["issue_time"]


@pytest.mark.parametrize(("name", "until"), [("london", "the clock"), ("synthetic", "the newest")])
def test_the_grid_ends_now_where_a_schedule_goes_on_although_nothing_came_of_it(monkeypatch, tmp_path, name, until):
    receipts = Receipts(ObjectStore(str(tmp_path)))
    as_of = from_seconds(1_700_000_000)
    receipt = {"step": "land", "world": name, "as_of": format_instant(as_of), "outcome": "done", "details": {}}
    receipts.save(receipt, as_of=as_of, source=None, recorded_time=as_of, seconds=1.0)
    monkeypatch.setattr(cockpit, "_receipts", lambda: receipts)
    monkeypatch.setattr(cockpit.time, "time", lambda: 1_800_000_000.0)
    assert cockpit._span(load_world(name)) == (1_700_000_000, {"the clock": 1_800_000_000, "the newest": 1_700_000_000}[until])

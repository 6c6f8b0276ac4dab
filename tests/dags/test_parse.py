"""DAG files: thin, light, quick, and what they declare."""

import json
import os
import subprocess
import sys

import pytest

from pipeline.api import load_world, world_names
from pipeline.cockpit.asked import BY_NOW
from pipeline.local_airflow.prepare import POOLS
from pipeline.settings import project_folder

PARSE = """
import json, sys, time
from airflow.dag_processing.dagbag import DagBag
began = time.process_time()
bag = DagBag("dags")
seconds = time.process_time() - began
heavy = [m for m in ("torch", "dask", "zarr", "icechunk", "pandas", "numpy", "xarray", "pyarrow", "scipy") if m in sys.modules]
def describe(dag):
    tasks = {t.task_id: {"pool": t.pool, "rule": str(getattr(t.trigger_rule, "value", t.trigger_rule)), "upstream": sorted(t.upstream_task_ids), "outlets": [a.name for a in t.outlets], "owner": t.owner, "doc": t.doc_md, "clock": [t.request.step, t.clock] if hasattr(t, "clock") else None, "limit": t.execution_timeout.total_seconds() if t.execution_timeout else None} for t in dag.tasks}
    condition = getattr(dag.timetable, "asset_condition", None)
    woken = sorted(asset.name for asset in getattr(condition, "objects", [condition])) if condition else []
    return {"tasks": tasks, "max_active_runs": dag.max_active_runs, "woken_by": woken, "params": {name: {**(p := dag.params.get_param(name)).schema, "description": p.description} for name in dag.params}, "doc": dag.doc_md, "tags": sorted(dag.tags)}
print("RESULT" + json.dumps({"seconds": seconds, "heavy": heavy, "errors": bag.import_errors, "dags": {k: describe(v) for k, v in bag.dags.items()}}))
"""


def parse(home, **more):
    env = os.environ | {"PYTHONPATH": str(project_folder()), "AIRFLOW_HOME": str(home)} | more
    words = [sys.executable, "-W", "ignore", "-c", PARSE]
    done = subprocess.run(words, capture_output=True, text=True, env=env, cwd=project_folder(), check=True)
    return json.loads(done.stdout.partition("RESULT")[2])


@pytest.fixture(scope="module")
def parsed(tmp_path_factory):
    return parse(tmp_path_factory.mktemp("airflow"))


def test_all_dags_of_all_worlds_parse_in_a_second_of_processor_time_and_import_nothing_heavy(parsed):
    assert parsed["errors"] == {}
    assert parsed["heavy"] == []
    assert parsed["seconds"] < 1
    names = ("ingest", "cube", "training", "forecast", "monitoring", "replay", "retention")
    assert set(parsed["dags"]) == {f"{world}__{name}" for world in world_names() for name in names}


def test_every_dag_file_is_thin():
    files = [path for path in (project_folder() / "dags").glob("*.py") if not path.name.startswith("_")]
    assert len(files) == 7
    assert {path.name: n for path in files if (n := len(path.read_text().splitlines())) >= 60} == {}


def test_the_dags_of_a_world_are_joined_by_assets_into_one_chain(parsed):
    dags = parsed["dags"]
    for before, asset, after in (
        ("ingest", "observations", "cube"),
        ("cube", "cube", "training"),
        ("training", "champion", "forecast"),
        ("forecast", "forecast", "monitoring"),
    ):
        assert dags[f"synthetic__{after}"]["woken_by"] == [f"synthetic/{asset}"]
        assert f"synthetic/{asset}" in [name for task in dags[f"synthetic__{before}"]["tasks"].values() for name in task["outlets"]]
    assert dags["synthetic__ingest"]["woken_by"] == []


def test_the_cockpit_places_a_step_by_the_time_that_its_task_goes_by(parsed):
    clocks = {tuple(task["clock"]) for dag in parsed["dags"].values() for task in dag["tasks"].values() if task["clock"]}
    assert {step for step, clock in clocks if clock == "now"} - {"replay"} == BY_NOW, "a replay is placed by the day that it replays"


def test_in_a_world_with_a_schedule_monitoring_looks_after_each_cube_and_each_forecast_so_also_while_nothing_comes_in(parsed):
    woken = {name: parsed["dags"][f"london__{name}"]["woken_by"] for name in ("cube", "training", "forecast", "monitoring")}
    assert woken == {"cube": ["london/observations"], "training": [], "forecast": [], "monitoring": ["london/cube", "london/forecast"]}


def test_ingest_has_a_task_group_per_source_and_announces_after_all_of_them(parsed):
    tasks = parsed["dags"]["aarhus__ingest"]["tasks"]
    sources = load_world("aarhus").sources
    assert set(tasks) == {f"{source}.{step}" for source in sources for step in ("land", "observe")} | {"announce", "every_source"}
    assert all(tasks[f"{source}.observe"]["upstream"] == [f"{source}.land"] for source in sources)
    assert tasks["announce"]["upstream"] == sorted(f"{source}.observe" for source in sources)
    assert tasks["every_source"]["upstream"] == sorted(["announce", *(f"{source}.observe" for source in sources)])


def test_replays_of_the_past_have_slots_of_their_own_and_leave_the_others_to_what_is_live(parsed):
    tasks = {(name, task): t["pool"] for name, dag in parsed["dags"].items() for task, t in dag["tasks"].items()}
    assert {key[0].rpartition("__")[2] for key, pool in tasks.items() if pool == "replay"} == {"replay"}
    assert set(tasks.values()) == {"default_pool", *POOLS}


def test_training_and_cube_commits_wait_for_their_one_slot(parsed):
    assert parsed["dags"]["us__training"]["tasks"]["train"]["pool"] == "gpu"
    assert parsed["dags"]["us__cube"]["tasks"]["build_cube"]["pool"] == "cube"


def test_the_monitoring_looks_even_where_verify_failed_and_the_run_is_a_success_only_where_both_were(parsed):
    tasks = parsed["dags"]["us__monitoring"]["tasks"]
    assert {name: task["upstream"] for name, task in tasks.items()} == {"verify": [], "monitor": ["verify"], "verified": ["verify"]}
    assert tasks["monitor"]["rule"] == "all_done"
    assert tasks["verified"]["rule"] == "all_success"


def test_a_replay_wakes_nothing_live_and_runs_four_days_at_once(parsed):
    dags = parsed["dags"]
    assert dags["synthetic__replay"]["max_active_runs"] == 4
    given = [name for task in dags["synthetic__replay"]["tasks"].values() for name in task["outlets"]]
    assert not {name for dag in dags.values() for name in dag["woken_by"]} & set(given)


def test_every_dag_has_its_docs_its_tags_and_its_times_as_parameters_and_runs_one_at_a_time_but_forecasts_and_replays(parsed):
    for name, dag in parsed["dags"].items():
        assert dag["max_active_runs"] == (4 if name.endswith(("__replay", "__forecast")) else 1)
        assert dag["doc"]
        assert set(dag["tags"]) == {"cubecast", *name.split("__")}
        assert {"issue_time", "now"} <= set(dag["params"])


def test_every_task_has_its_docs_and_its_owner_and_ends_in_any_case(parsed):
    tasks = {f"{name}.{task}": found for name, dag in parsed["dags"].items() for task, found in dag["tasks"].items()}
    assert {task for task, found in tasks.items() if not found["doc"]} == set()
    assert {found["owner"] for found in tasks.values()} == {"cubecast"}
    assert {found["limit"] for found in tasks.values()} == {6.5 * 3600}, "the step's own limit comes first"


def test_every_parameter_has_a_form_with_a_title_a_description_and_a_type_or_choices(parsed):
    params = {f"{name}.{key}": schema for name, dag in parsed["dags"].items() for key, schema in dag["params"].items()}
    assert {key for key, schema in params.items() if not (schema.get("title") and schema.get("description"))} == set()
    assert {key for key, schema in params.items() if not ("type" in schema or "enum" in schema)} == set()
    times = [schema for key, schema in params.items() if key.endswith((".issue_time", ".now", ".since"))]
    assert {schema["format"] for schema in times} == {"date-time"}, "Airflow shows a calendar"
    assert params["synthetic__replay.retrain"]["enum"] == ["none", "daily", "weekly"]


def test_a_world_whose_champion_a_person_approves_has_a_task_that_asks_and_one_for_each_answer(parsed, tmp_path):
    assert set(parsed["dags"]["synthetic__training"]["tasks"]) == {"train", "evaluate", "promote"}
    text = (project_folder() / "worlds" / "synthetic.toml").read_text()
    (tmp_path / "asking.toml").write_text(text.replace('name = "synthetic"', 'name = "asking"') + '\n[promotion]\napproval = "human"\n')
    found = parse(tmp_path, CUBECAST_WORLDS=str(tmp_path / "asking.toml"))
    assert found["errors"] == {}
    tasks = found["dags"]["asking__training"]["tasks"]
    assert tasks["approval"]["upstream"] == ["promote"]
    assert tasks["approve"]["upstream"] == tasks["reject"]["upstream"] == ["approval"]
    assert (tasks["approve"]["outlets"], tasks["reject"]["outlets"]) == (["asking/champion"], [])

"""A real Airflow: one trigger runs everything, faults are survived or reported, and no process is ever left."""

import contextlib
import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import quote

import pytest

from pipeline.api import STEPS, load_world
from pipeline.local_airflow.rest import Rest
from pipeline.process_tree import descendants
from pipeline.settings import project_folder
from pipeline.stores.monitoring import MonitoringStore
from pipeline.stores.objects import ObjectStore
from tests.torture.once import once_each
from tests.torture.strikes import struck_once

pytestmark = [pytest.mark.airflow, pytest.mark.timeout(600)]

FAKE = """
import pathlib, time
from pipeline.api import Receipt
from pipeline.errors import ContractError, NotYetAvailable

def run(request, settings, progress):
    orders = pathlib.Path(settings.store, "orders")
    of_source = orders / f"{request.step}.{getattr(request, 'source', None)}"
    order = of_source if of_source.exists() else orders / request.step
    with (orders / "asked").open("a") as asked:
        asked.write(f"{request.step} {request.as_of:%Y-%m-%dT%H:%M:%SZ}\\n")
    said = order.read_text() if order.exists() else ""
    if said == "once":
        order.unlink()
        raise NotYetAvailable(asked="a thing", found="none yet", mend="come back")
    if said == "wrong once":
        order.unlink()
    if said.startswith("wrong"):
        raise ContractError(asked="a thing", found="71 canaries", mend="do so")
    if said == "slow":
        (orders / "begun").touch()
        time.sleep(300)
    return Receipt(step=request.step, world=request.world, as_of=request.as_of, outcome="done", ids={"model_id": "m-71"}, counts={"rows": 71})
"""


def copy_project(folder):
    for name in ("pipeline", "models", "dags", "plugins", "worlds"):
        shutil.copytree(project_folder() / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


@pytest.fixture
def project(tmp_path):
    """A copy of the project whose steps do what the files in `store/orders` say."""
    folder = copy_project(tmp_path / "project")
    for kind in STEPS:
        (folder / "pipeline" / "steps" / f"{kind.step}.py").write_text(FAKE)
    (folder / "pipeline" / "steps" / "monitor.py").write_text(FAKE.replace('{"rows": 71}', '{"blocking": 0}'))
    (folder / "store" / "orders").mkdir(parents=True)
    return folder


def order(project, step, what):
    (project / "store" / "orders" / step).write_text(what)


def launch(folder, store, *words):
    """Start the launcher as a terminal would: in a session of its own, with Ctrl-C at work."""
    return subprocess.Popen(
        [sys.executable, "-m", "pipeline", "airflow", *words],
        cwd=folder,
        env=os.environ | {"CUBECAST_STORE": str(store), "CUBECAST_CANARY": "", "SECRET_CANARY": "tweet-tweet"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


def finish(process, seconds=300):
    try:
        return process.communicate(timeout=seconds)[0]
    finally:
        process.kill()
        process.communicate()


def wait_for(condition, process, seconds=120):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.05)


def living(pids):
    return [pid for pid in pids if (file := Path(f"/proc/{pid}/stat")).exists() and ") Z " not in file.read_text()]


def nobody_is_left(pids, seconds=12):
    deadline = time.monotonic() + seconds
    while living(pids) and time.monotonic() < deadline:
        time.sleep(0.05)
    return [(pid, Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")) for pid in living(pids)] == []


def step_process(root):
    return next((pid for pid in descendants(root) if "\0pipeline\0train\0" in Path(f"/proc/{pid}/cmdline").read_text()), None)


def parent(pid):
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def test_ctrl_c_ends_everything_and_the_same_command_goes_on_and_comes_back_for_what_is_late(project):
    store = project / "store"
    order(project, "train", "slow")
    process = launch(project, store, "forecast", "--world", "synthetic")
    wait_for((store / "orders" / "begun").exists, process)
    everyone = descendants(process.pid)
    assert len(everyone) > 5
    process.send_signal(signal.SIGINT)
    said = finish(process, 30)
    assert process.returncode == 130
    assert "run the same command to go on" in said
    assert nobody_is_left(everyone, seconds=0)

    (store / "orders" / "train").unlink()
    order(project, "build_cube", "once")
    process = launch(project, store, "forecast", "--world", "synthetic")
    said = finish(process)
    assert process.returncode == 0, said
    assert said.count("monitoring verify") == 1
    assert not (store / "orders" / "build_cube").exists()


def test_a_wrong_step_fails_at_once_and_the_launcher_shows_its_log_and_exits_with_its_code(project):
    order(project, "evaluate", "wrong")
    process = launch(project, project / "store", "forecast", "--world", "synthetic")
    said = finish(process)
    assert process.returncode == 65, said
    assert "ContractError: a thing: 71 canaries. Mend: do so" in said
    assert "failed after 1 tries" in said


def test_a_step_dies_with_its_supervisor_and_all_of_airflow_with_a_launcher_that_is_killed(project):
    store = project / "store"
    order(project, "train", "slow")
    process = launch(project, store, "forecast", "--world", "synthetic")
    wait_for((store / "orders" / "begun").exists, process)
    step = step_process(process.pid)
    task = parent(step)
    os.kill(parent(task), signal.SIGKILL)
    assert nobody_is_left([step, task], seconds=3)
    everyone = descendants(process.pid)
    process.kill()
    finish(process)
    assert nobody_is_left(everyone)


def test_the_ui_answers_on_loopback_only_and_ends_with_ctrl_c(project):
    process = launch(project, project / "store", "ui", "--world", "synthetic")
    line = ""
    while "Ctrl-C ends all of it" not in line:
        line = process.stdout.readline()
        assert line, process.poll()
    everyone = descendants(process.pid)
    listening = (
        subprocess.run(["ss", "-ltnpH"], capture_output=True, text=True, check=True).stdout.splitlines() if shutil.which("ss") else []
    )
    ours = [row.split()[3] for row in listening if any(f"pid={pid}," in row for pid in everyone)]
    assert all(address.startswith("127.0.0.1:") for address in ours), ours
    assert not any(b"tweet-tweet" in Path(f"/proc/{pid}/environ").read_bytes() for pid in living(everyone))
    process.send_signal(signal.SIGINT)
    finish(process, 30)
    assert process.returncode == 0
    assert nobody_is_left(everyone, seconds=0)


def test_the_synthetic_world_goes_from_raw_feeds_to_a_verified_forecast_under_airflow(tmp_path):
    folder, store = copy_project(tmp_path / "project"), tmp_path / "store"
    world = folder / "worlds" / "synthetic.toml"
    quick = "recipe_options = { epochs = 1, steps = 4, least_steps = 4 }\n"
    kept = [line for line in world.read_text().splitlines(keepends=True) if not line.startswith("recipe_options")]
    world.write_text(quick + "".join(kept))
    process = launch(folder, store, "forecast", "--world", "synthetic")
    with struck_once(process, ("observe", "build-cube")) as struck:
        said = finish(process, 500)
    assert process.returncode == 0, said
    assert set(struck) == {"observe", "build-cube"}, "each was killed once, and the chain went on without a hand"
    loaded = load_world(str(world))
    assert list(once_each(str(store), loaded, loaded.recorded.as_of, loaded.recorded.end)) == []
    words = [sys.executable, "-m", "pipeline", "status", "--world", "synthetic", "--json"]
    env = os.environ | {"CUBECAST_STORE": str(store)}
    state = json.loads(subprocess.run(words, cwd=folder, env=env, capture_output=True, text=True, check=True).stdout)
    assert {step["step"] for step in state["steps"]} == {"monitor", *(kind.step for kind in STEPS)}
    assert {"page", "parquet"} <= set(state["paths"])
    for path in state["paths"].values():
        assert Path(path).exists()
        assert path in said
    assert len(state["sources"]) == len(load_world("synthetic").sources)
    for counts in state["sources"].values():
        assert counts["raw"] == counts["observations"] + counts["duplicates"] + counts["rejected"] > 0
    receipts = [json.loads(text) for text in asked_of_airflow(store, "select value from xcom where key = 'return_value'")]
    kept = [set(receipt) for receipt in receipts if isinstance(receipt, dict)]
    assert len(kept) >= len(STEPS)
    assert set.union(*kept) == {"ids", "paths"}, "counts, notes and verdicts stay in the store"
    assert all(Path(receipt["paths"]["receipt"]).is_file() for receipt in receipts if isinstance(receipt, dict))
    assert re.search(r"build_cube +success .* done, [\d,]+ cells", said)
    observed, cube = carried(store, "ingest"), carried(store, "cube")
    assert observed["counts"]["prices.observations"] == state["sources"]["prices"]["observations"]
    assert observed["ids"]["prices.observations"]
    assert {"snapshot", "digest.traffic", "digest.weather"} <= set(cube["ids"])
    assert cube["counts"]["cells"] > 0
    champion, published = carried(store, "training"), carried(store, "forecast")
    assert champion["ids"]["snapshot"] == cube["ids"]["snapshot"]
    assert champion["ids"]["model_id"] == published["ids"]["model_id"]
    assert champion["counts"]["targets"] > 0
    assert published["ids"]["snapshot"] == cube["ids"]["snapshot"]
    assert published["ids"]["forecast"]
    assert published["counts"]["rows"] > 0
    assert 0 <= cube["missing_share"]["traffic"]["speed"] < 1
    assert observed["missing_share"] == {s: counts["rejected"] / counts["raw"] for s, counts in state["sources"].items()}
    assert set(observed["missing_share"].values()) != {0.0}
    assert published["missing_share"] == dict.fromkeys(load_world("synthetic").domains, 0.0)


def carried(store, dag):
    """What the newest event of an asset carries."""
    newest = "select extra from asset_event where source_dag_id = 'synthetic__{}' order by id desc limit 1"
    return json.loads(asked_of_airflow(store, newest.format(dag))[0])


def backfill(store, first, last):
    """Ask Airflow for the replays of some days, as its command line does."""
    words = ["backfill", "create", "--dag-id", "synthetic__replay", "--from-date", first, "--to-date", last, "--max-active-runs", "4"]
    argv = [sys.executable, "-m", "pipeline", "airflow", "cli", "--", *words]
    env = os.environ | {"CUBECAST_STORE": str(store)}
    for _ in range(20):
        done = subprocess.run(argv, cwd=store.parent, env=env, capture_output=True, text=True, timeout=120)
        if "AlreadyRunningBackfill" not in done.stderr:
            break
        time.sleep(2)
    assert done.returncode == 0, done.stdout + done.stderr


def asked_of_airflow(store, query):
    """What Airflow's own database says."""
    with contextlib.closing(sqlite3.connect(f"file:{store / 'airflow' / 'airflow.db'}?mode=ro", uri=True, timeout=30)) as database:
        return [found for (found,) in database.execute(query)]


def backfilled(store):
    """The states of the replay's backfilled runs."""
    return asked_of_airflow(store, "select state from dag_run where dag_id = 'synthetic__replay' and run_type = 'backfill'")


SCHEDULE = """
[schedule]
ingest = "* * * * *"
issue = "* * * * *"
train = "* * * * *"
retention = "* * * * *"
patience = "10min"
poll = "15s"
required = ["weather"]
"""


def test_a_world_with_a_schedule_runs_by_itself_waits_for_late_inputs_and_goes_on_without_a_source_that_failed(project, request):
    store, text = project / "store", (project / "worlds" / "synthetic.toml").read_text()
    recorded = text[text.index("[recorded]") : text.index("# ---- Sources")]
    (project / "worlds" / "synthetic.toml").write_text(text.replace(recorded, SCHEDULE.lstrip() + "\n"))
    for step in ("inputs", "replay", "retain"):
        shutil.copy(project / "pipeline" / "steps" / "predict.py", project / "pipeline" / "steps" / f"{step}.py")
    order(project, "inputs", "once")
    order(project, "land.roads", "wrong")
    order(project, "land.weather", "wrong once")
    process = launch(project, store, "ui", "--world", "synthetic")
    request.addfinalizer(lambda: finish(process, 1) if process.poll() is None else None)
    log = store / "orders" / "asked"

    def asked(step):
        return [line.split()[1] for line in log.read_text().splitlines() if line.startswith(f"{step} ")] if log.exists() else []

    wanted = ("land", "observe", "train", "evaluate", "promote", "inputs", "predict", "publish", "verify", "retain")
    wait_for(lambda: all(asked(step) for step in wanted), process, seconds=280)
    backfill(store, "2025-10-20", "2025-10-22")
    wait_for(lambda: backfilled(store) == ["success"] * 3, process, seconds=150)
    wait_for(lambda: asked("build_cube"), process, seconds=150)
    first_forecast = "select state from dag_run where dag_id = 'synthetic__forecast' order by run_after limit 1"
    wait_for(lambda: asked_of_airflow(store, first_forecast) == ["success"], process, seconds=150)
    alarms = MonitoringStore(ObjectStore(str(store)), "synthetic")
    wait_for(lambda: any("roads" in alert.key for alert in alarms.logged("failures")), process)
    failed = [alert.finding for alert in alarms.logged("failures") if "roads" in alert.key]
    assert [(alert.rule, alert.subject) for alert in failed] == [("task_failed", "ingest.roads.land")]
    assert failed[0].text.endswith("its step ended with 65"), "Airflow's failure callback was given the task's own exit code"
    woken = "select count(*) from dagrun_asset_event join asset_event on event_id = asset_event.id where source_dag_id = '{}'"
    wait_for(lambda: asked_of_airflow(store, woken.format("synthetic__cube"))[0] > 0, process, seconds=150)
    replays = len(asked("replay"))
    backfill(store, "2025-10-20", "2025-10-22")
    process.send_signal(signal.SIGINT)
    finish(process, 40)
    assert backfilled(store) == ["success"] * 3, "the second backfill of the same days makes no run"
    assert len(asked("replay")) <= replays + 1, "at most the schedule's own replay of yesterday came after"
    announced = "select count(*) from asset_event where source_dag_id = 'synthetic__replay'"
    assert asked_of_airflow(store, announced)[0] >= 3
    assert asked_of_airflow(store, woken.format("synthetic__replay")) == [0], "nothing live was woken by the past"
    assert carried(store, "ingest")["counts"] == {"rows": 71}, "one source has failed, and the others are told of"
    told = "select run_id || ' ' || task_instance.state from task_instance join dag_run using (dag_id, run_id) "
    told += "where dag_id = 'synthetic__ingest' and task_id = 'announce' order by run_after"
    runs, states = zip(*(row.rsplit(" ", 1) for row in asked_of_airflow(store, told) if row), strict=True)
    assert states[:2] == ("skipped", "success"), "at first a required source was not in"
    events = asked_of_airflow(store, "select source_run_id from asset_event where source_dag_id = 'synthetic__ingest'")
    assert runs[0] not in events
    assert runs[1] in events
    first = asked("inputs")[0]
    assert first.endswith(":00Z"), "the first look is at the partition's own instant"
    assert first not in asked("predict"), "the inputs were late once: the forecast is of when they had come"
    assert asked_of_airflow(store, first_forecast) == ["success"]
    assert set(asked("publish")) <= set(asked("predict"))
    ended = "select distinct state from dag_run where dag_id = 'synthetic__ingest' and state in ('success', 'failed')"
    assert asked_of_airflow(store, ended) == ["failed"], "one source has failed: the run is not green, though the cube was told"
    assert all(moment.endswith(":00Z") for moment in asked("train"))


PROPOSING = FAKE.replace(
    "return Receipt(",
    """return Receipt(
        notes=("it takes 1 of 1 targets",),
        details={"decision": "pending", "previous": None, "expires": None, "verdicts": []},
        """,
).replace('ids={"model_id": "m-71"}', 'ids={"candidate": "m-71"}')
NOTED = FAKE.replace("asked.write(", "asked.write(f'{request.model_id} {request.answer}: {request.reason} ' + ")


def test_a_person_approves_a_proposal_through_airflows_interface(project, request):
    store, world = project / "store", project / "worlds" / "synthetic.toml"
    world.write_text(world.read_text() + '\n[promotion]\napproval = "human"\n')
    (project / "pipeline" / "steps" / "promote.py").write_text(PROPOSING)
    (project / "pipeline" / "steps" / "answer.py").write_text(NOTED)
    process = launch(project, store, "ui", "--world", "synthetic")
    request.addfinalizer(lambda: finish(process, 1) if process.poll() is None else None)
    said = ""
    while "password" not in said:
        line = process.stdout.readline()
        assert line, process.poll()
        said += line
    address, password = re.search(r"http://\S+", said)[0], re.search(r"password (\S+);", said)[1]
    rest = Rest(address, "admin", password)
    rest.patch("/dags/synthetic__training", {"is_paused": False})
    run = rest.post("/dags/synthetic__training/dagRuns", {"logical_date": None, "conf": {"issue_time": "2025-11-01T12:00:00Z"}})
    place = f"/dags/synthetic__training/dagRuns/{quote(run['dag_run_id'])}"
    wait_for(lambda: rest.get(f"{place}/taskInstances/approval")["state"] == "awaiting_input", process)
    time.sleep(12)  # Airflow's supervisor may linger 5 s; an answer meanwhile makes the scheduler take the task for lost, and ask again
    rest.patch(f"{place}/taskInstances/approval/-1/hitlDetails", {"chosen_options": ["Approve"], "params_input": {"reason": "seen"}})
    wait_for(lambda: rest.get(place)["state"] == "success", process)
    states = {t["task_id"]: t["state"] for t in rest.get(f"{place}/taskInstances")["task_instances"]}
    process.send_signal(signal.SIGINT)
    finish(process, 40)
    assert (states["approve"], states["reject"]) == ("success", "skipped")
    answered = [line for line in (store / "orders" / "asked").read_text().splitlines() if " answer " in line]
    assert answered == ["m-71 approve: seen (admin, in Airflow) answer 2025-11-01T12:00:00Z"]

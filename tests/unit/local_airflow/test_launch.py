"""Starting a local Airflow, with small programs in place of its components."""

import json
import os
import subprocess
import sys
import textwrap
from datetime import UTC, datetime

import pytest

from pipeline.local_airflow import launch
from pipeline.local_airflow.home import Home
from pipeline.settings import project_folder
from pipeline.stores.objects import ObjectStore
from pipeline.stores.receipts import Receipts


@pytest.fixture
def home(tmp_path):
    told = {"PATH": os.environ["PATH"], "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": "http://127.0.0.1:71/execution/"}
    return Home(folder=tmp_path, port=71, password="", environment=told)


def test_another_port_is_told_to_every_component(home):
    moved = home.on_port(72)
    assert moved.address == "http://127.0.0.1:72"
    assert moved.environment["AIRFLOW__CORE__EXECUTION_API_SERVER_URL"] == "http://127.0.0.1:72/execution/"
    assert moved.argv("api-server")[-1] == "72"


PORT_TAKEN = """
    import json, os, pathlib, sys, time
    from pipeline.errors import StoreError
    from pipeline.local_airflow import launch
    from pipeline.local_airflow.follow import Screen
    from pipeline.local_airflow.home import Home
    from pipeline.process_tree import descendants

    fails = int(sys.argv[2])
    child = "import sys, time; sys.argv[1] in sys.argv[2:] and sys.exit('[Errno 98] address already in use'); time.sleep(60)"
    ports, refused = iter([72, 73, 74]), [str(71 + n) for n in range(fails)]
    Home.argv = lambda self, component: [sys.executable, "-c", child, str(self.port), *refused]
    launch.COMPONENTS = {"api-server": ()}
    launch.free_port = lambda preferred: next(ports)

    def wait(rest, keeper, worlds, last):
        for _ in range(40):
            keeper.check()
            time.sleep(0.05)

    launch.wait_until_ready = wait
    home = Home(folder=pathlib.Path(sys.argv[1]), port=71, password="", environment=dict(os.environ))
    keeper = launch.Keeper()
    try:
        home, _ = launch._start(home, keeper, Screen(sys.stdout), ())
        print("port", home.port)
    except StoreError as error:
        print("refused", "already in use" in str(error))
    finally:
        keeper.end()
    print("left", descendants(os.getpid()))
"""


@pytest.mark.parametrize(("fails", "said"), [(0, "port 71"), (1, "port 72"), (2, "port 73"), (3, "refused True")])
def test_a_port_that_was_taken_meanwhile_is_given_up_for_another(tmp_path, fails, said):
    words = [sys.executable, "-c", textwrap.dedent(PORT_TAKEN), str(tmp_path), str(fails)]
    done = subprocess.run(words, capture_output=True, text=True, cwd=project_folder(), check=True, timeout=60)
    assert done.stdout.splitlines()[-2:] == [said, "left []"], done.stdout + done.stderr


class FakeRest:
    """Airflow's REST API as far as the follower asks it; every answer is prepared."""

    def __init__(self, states, xcoms=None, log=()):
        self.states, self.xcoms, self.log, self.sent = states, xcoms or {}, list(log), []

    def get(self, path):
        if path.endswith("full_content=true"):
            return {"content": [{"event": text} for text in self.log]}
        if "xcomEntries" in path:
            return {"value": self.xcoms[path.rpartition("/")[2]]}
        dag = path.split("/")[2]
        task, state = self.states[dag.rpartition("__")[2]]
        if "taskInstances" in path:
            found = {"dag_id": dag, "dag_run_id": "r", "task_id": task, "state": state, "duration": 1.2, "end_date": "x", "try_number": 1}
            return {"task_instances": [found]}
        return {"dag_runs": [{"dag_run_id": "r"}]} if "?" in path else {"state": state}

    def found(self, path):
        return path.rpartition("/")[2] in self.xcoms


class Lines:
    def __init__(self):
        self.said = []

    def line(self, text):
        self.said.append(text)

    def busy(self, text):
        pass


RECEIPT = {"step": "x", "world": "tiny", "as_of": "2026-01-01T00:00:00Z", "outcome": "done", "counts": {"rows": 71}}
FINE = {name: (f"task_of_{name}", "success") for name in launch.DAGS}
RUN = {"dag_run_id": "r", "run_after": "2026-01-01T00:00:00Z"}


def test_each_task_is_shown_with_what_came_out_until_the_last_dag_is_through(tmp_path):
    objects, as_of = ObjectStore(str(tmp_path)), datetime(2026, 1, 1, tzinfo=UTC)
    receipts, screen, unseen = Receipts(objects), Lines(), Lines()

    def leave(**changed):
        key = receipts.save(RECEIPT | changed, as_of=as_of, source=None, recorded_time=as_of, seconds=1)
        return FakeRest(FINE, {"return_value": {"ids": {"snapshot": "s1"}, "paths": {"receipt": objects.url(key)}}})

    assert launch.follow(leave(), "tiny", RUN, screen, lambda: None, receipts=receipts) == 0
    assert [line.split()[0] for line in screen.said] == list(launch.DAGS)
    assert all("done, 71 rows, snapshot s1" in line for line in screen.said)
    launch.follow(leave(outcome="unchanged", counts={"rows": 0}), "tiny", RUN, screen, lambda: None, ["ingest"], receipts=receipts)
    assert "unchanged, 71 rows, snapshot s1" in screen.said[-1]
    launch.follow(leave(), "tiny", RUN, unseen, lambda: None, ["ingest"])
    assert unseen.said[0].endswith("1.2 s  snapshot s1")


def test_a_task_that_fails_gives_its_exit_code_and_the_end_of_its_log():
    rest = FakeRest(FINE | {"training": ("train", "failed")}, {"exit_code": 65}, log=["::group::x", "ContractError: no data"])
    screen = Lines()
    assert launch.follow(rest, "tiny", RUN, screen, lambda: None) == 65
    assert any("ContractError: no data" in line for line in screen.said)
    assert not any("::group" in line for line in screen.said)
    assert "its step ended with 65" in screen.said[-1]


def test_what_an_interrupted_command_left_unfinished_is_ended_before_a_new_run():
    class Recorder(FakeRest):
        def get(self, path):
            if path.endswith("/details"):
                return {"file_token": path.split("/")[2]}
            return {"dag_runs": [{"dag_run_id": "old"}] if "state=running" in path else []}

        def patch(self, path, body):
            self.sent.append((path, json.dumps(body)))

        def put(self, path):
            self.sent.append((path, "parsed"))

        def delete(self, path):
            self.sent.append((path, "gone"))

    rest = Recorder({})
    launch._clear_the_way(rest, "tiny")
    for name in launch.DAGS:
        assert (f"/dags/tiny__{name}/dagRuns/old", '{"state": "failed"}') in rest.sent
        assert (f"/dags/tiny__{name}/assets/queuedEvents", "gone") in rest.sent
        assert (f"/parseDagFile/tiny__{name}", "parsed") in rest.sent

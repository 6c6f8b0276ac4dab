"""How a step is launched: times, exit codes, logs, and no orphans."""

import json
import sys
import time
import warnings
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest

from pipeline.api import BuildCubeRequest, EvaluateRequest, LandRequest, MonitorRequest, PredictRequest, Receipt, TrainRequest, load_world
from pipeline.contracts.judging import PromotionRules
from pipeline.contracts.times import format_instant
from pipeline.contracts.worlds import Schedule

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException, TaskAwaitingInput, TaskDeferred

    from dags import _alerts, _approval, _child, _house, _steps, _waiting

ENDED = load_world("synthetic")
LIVE = ENDED.model_copy(update={"recorded": None, "schedule": Schedule(ingest="*/15 * * * *", issue="0 6 * * *", train="0 2 * * *")})
T = {"issue_time": "2025-11-01T12:00:00Z", "now": "2025-11-03T00:00:00Z"}
HUMAN = PromotionRules(approval="human", time_out=timedelta(hours=6))
RECEIPT = Receipt(
    step="x", world="tiny", as_of=T["issue_time"], outcome="done", ids={"snapshot": "s1"}, counts={"rows": 71}, details={"big": [1, 2]}
).model_dump_json()

PROPOSED = {
    "world": "synthetic",
    "as_of": T["issue_time"],
    "ids": {"candidate": "new", "model_id": "old"},
    "notes": ["it takes 1 of 1 targets"],
    "details": {
        "decision": "pending",
        "previous": "old",
        "expires": "2025-11-02T12:00:00Z",
        "verdicts": [{"domain": "road", "variable": "flow", "published": "joint", "reasons": ["MAE 0.71 against 0.93"]}],
    },
}


class Notes:
    def __init__(self):
        self.pushed, self.logged, self.try_number = {}, [], 2

    def xcom_push(self, key, value):
        self.pushed[key] = value

    def xcom_pull(self, task_ids, key=None):
        if task_ids == "promote":
            return PROPOSED
        if key == "answer":
            return self.pushed["answer"]
        return "2025-11-01T13:07:00Z" if task_ids == "inputs" else {"ids": {"model_id": f"the one of {task_ids}"}}


def context(events=(), partition=None, **params):
    notes = Notes()
    found = {"a": [SimpleNamespace(extra=extra) for extra in events]}
    outlets = {asset: SimpleNamespace(extra={}) for asset in [_house.asset(ENDED, "cube")]}
    return {
        "triggering_asset_events": found,
        "params": params,
        "ti": notes,
        "outlet_events": outlets,
        "dag_run": SimpleNamespace(partition_date=partition, run_id="manual__71"),
    }


def perform(monkeypatch, request, code, *, clock="now", stdout=RECEIPT, stderr="", events=(T,), params=None, world=ENDED, **more):
    """Run a step task whose child is a small program that says this and ends with this code."""
    child = f"import sys; sys.stderr.write({stderr!r}); print({stdout!r}); sys.exit({code})"
    asked = []

    def fake_command(request):
        asked.append(request)
        return [sys.executable, "-c", child]

    monkeypatch.setattr(_child, "command", fake_command)
    monkeypatch.setattr(_child, "die_with_parent", lambda parent: None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        task = _steps.Step(request=request, world=world, clock=clock, **more)
    where = context(events, **(params or {}))
    try:
        return task.execute(where), asked[0], where
    except AirflowException as error:
        error.where = where
        raise


def test_a_step_gives_its_ids_and_counts_on_and_keeps_the_rest(monkeypatch):
    found, request, _ = perform(monkeypatch, LandRequest, 0, fields={"source": "roads"})
    assert found["ids"] == {"snapshot": "s1"}
    assert found["counts"] == {"rows": 71}
    assert "details" not in found
    assert (request.source, request.as_of, request.received_time) == ("roads", request.received_time, request.as_of)


def test_the_event_of_an_asset_carries_the_times_on(monkeypatch):
    asset = _house.asset(ENDED, "cube")
    _, _, where = perform(monkeypatch, BuildCubeRequest, 0, announces=asset)
    assert where["outlet_events"][asset].extra == {**T, "ids": {"snapshot": "s1"}, "counts": {"rows": 71}}


@pytest.mark.parametrize("code", [2, 65, 70, 78])
def test_what_repeating_cannot_help_fails_at_once(monkeypatch, code):
    with pytest.raises(AirflowFailException) as caught:
        perform(monkeypatch, BuildCubeRequest, code)
    assert caught.value.where["ti"].pushed == {"exit_code": code}


@pytest.mark.parametrize("code", [74, 75, 130, 137])
def test_what_may_get_better_is_tried_again(monkeypatch, code):
    with pytest.raises(AirflowException) as caught:
        perform(monkeypatch, BuildCubeRequest, code)
    assert not isinstance(caught.value, AirflowFailException)


def test_parameters_reach_the_request_where_they_are_set(monkeypatch):
    _, request, _ = perform(
        monkeypatch,
        TrainRequest,
        0,
        clock="issue_time",
        params={"recipe": None, "seed": 7, "options": {"epochs": 3}},
        from_params=("recipe", "seed", "options"),
    )
    assert (request.recipe, request.seed, request.options) == (None, 7, {"epochs": 3})


def test_the_model_that_was_trained_in_this_run_is_the_one_that_is_judged(monkeypatch):
    _, request, _ = perform(monkeypatch, EvaluateRequest, 0, clock="issue_time", model_of="train")
    assert request.model_id == "the one of train"


def test_a_forecast_is_issued_when_its_inputs_were_there(monkeypatch):
    _, request, _ = perform(monkeypatch, PredictRequest, 0, clock="issue_time", issued_by="inputs")
    assert format_instant(request.as_of) == "2025-11-01T13:07:00Z"


def test_times_come_from_the_newest_event_that_triggered_the_run():
    older = {"issue_time": "2025-10-31T12:00:00Z", "now": "2025-11-02T00:00:00Z"}
    assert _house.times(context([older, T, {}], issue_time="2020-01-01T00:00:00Z")) == T


def test_times_come_from_parameters_where_no_event_triggered_the_run():
    assert _house.times(context(issue_time=T["issue_time"], now=None)) == {"issue_time": T["issue_time"], "now": T["issue_time"]}


def test_the_issue_time_of_a_scheduled_run_is_its_partition_and_its_now_is_the_clock():
    partition = datetime(2025, 11, 1, 6, tzinfo=UTC)
    found = _house.times(context(partition=partition, issue_time=None, now=None))
    assert found["issue_time"] == "2025-11-01T06:00:00Z"
    assert abs(datetime.now(UTC) - datetime.fromisoformat(found["now"])) < timedelta(minutes=1)


def test_a_run_without_a_time_is_refused_with_the_mend():
    with pytest.raises(AirflowFailException, match="trigger it with issue_time"):
        _house.times(context(issue_time=None, now=None))


def wait(monkeypatch, world, code, *, ago, event=None):
    """Run the waiting task of a forecast that was due some time ago, its look at the inputs ending with this code."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        task = _waiting.Inputs(world=world)
    asked = []
    monkeypatch.setattr(task, "run_child", lambda request, context: asked.append(request) or (code, ""))
    due = datetime.now(UTC).replace(microsecond=0) - ago
    return due, asked, lambda: task.execute(context(partition=due, issue_time=None, now=None), event)


def test_a_forecast_whose_inputs_are_there_is_issued_at_its_own_time(monkeypatch):
    due, asked, run = wait(monkeypatch, LIVE, 0, ago=timedelta(minutes=2))
    assert run() == format_instant(due)
    assert [request.as_of for request in asked] == [due]


def test_a_forecast_waits_for_late_inputs_without_holding_a_worker(monkeypatch):
    _, _, run = wait(monkeypatch, LIVE, 75, ago=timedelta(minutes=2))
    with pytest.raises(TaskDeferred) as deferred:
        run()
    assert abs(deferred.value.trigger.moment - datetime.now(UTC) - LIVE.schedule.poll) < timedelta(seconds=30)


def test_late_inputs_that_have_come_move_the_issue_time_to_when_they_had(monkeypatch):
    due, _, run = wait(monkeypatch, LIVE, 0, ago=timedelta(minutes=20), event={"any": "thing"})
    assert datetime.fromisoformat(run()) > due + timedelta(minutes=19)


def test_at_the_deadline_a_world_forecasts_with_what_there_is_or_fails_as_it_says(monkeypatch):
    due, _, run = wait(monkeypatch, LIVE, 75, ago=timedelta(minutes=59))
    assert run() == format_instant(due)
    strict = LIVE.model_copy(update={"schedule": LIVE.schedule.model_copy(update={"late": "fail"})})
    _, _, run = wait(monkeypatch, strict, 75, ago=timedelta(minutes=59))
    with pytest.raises(AirflowFailException, match="still late"):
        run()


def land(monkeypatch, world, code, *, ago):
    """Run the landing of a source that was due some time ago, its look ending with this code."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        task = _waiting.Landing(world=world, source="roads")
    monkeypatch.setattr(task, "run_child", lambda request, context: (code, RECEIPT))
    due = datetime.now(UTC).replace(microsecond=0) - ago
    return lambda: task.execute(context(partition=due, issue_time=None, now=None))


def test_a_late_source_is_held_for_without_a_worker_and_then_skipped_or_failed_as_the_world_says(monkeypatch):
    with pytest.raises(TaskDeferred):
        land(monkeypatch, LIVE, 75, ago=timedelta(minutes=1))()
    with pytest.raises(AirflowSkipException, match="roads"):
        land(monkeypatch, LIVE, 75, ago=timedelta(minutes=9))()
    strict = LIVE.model_copy(update={"schedule": LIVE.schedule.model_copy(update={"late": "fail"})})
    with pytest.raises(AirflowFailException, match="roads"):
        land(monkeypatch, strict, 75, ago=timedelta(minutes=9))()
    assert land(monkeypatch, LIVE, 0, ago=timedelta(minutes=1))()["ids"] == {"snapshot": "s1"}


def test_a_source_whose_data_are_wrong_fails_whatever_the_world_says_of_late_ones(monkeypatch):
    with pytest.raises(AirflowFailException):
        land(monkeypatch, LIVE, 65, ago=timedelta(minutes=9))()
    with pytest.raises(AirflowException) as caught:
        land(monkeypatch, ENDED, 75, ago=timedelta(minutes=1))()
    assert not isinstance(caught.value, AirflowSkipException | AirflowFailException), "without a schedule it is tried again"


def test_a_world_without_a_schedule_never_waits(monkeypatch):
    due, asked, run = wait(monkeypatch, ENDED, 75, ago=timedelta(0))
    assert run() == format_instant(due)
    assert asked == []


def test_lines_of_progress_and_errors_are_readable_in_the_log():
    progress = '{"event": "advance", "stage": "epochs", "done": 3, "total": 12, "unit": "epoch", "note": "loss 0.1", "seconds": 4.2}'
    assert _child.log_line(progress) == "advance epochs 3/12 epoch loss 0.1 (4.2 s)"
    error = '{"event": "error", "error": "ConfigError", "asked": "a", "found": "b", "mend": "c", "exit_code": 78}'
    assert _child.log_line(error) == "ConfigError: a: b. Mend: c"
    assert _child.log_line("Traceback (most recent call last):\n") == "Traceback (most recent call last):"
    assert _child.log_line('{"no": "event"}') == '{"no": "event"}'
    assert _child.log_line("71\n") == "71"


def test_a_step_that_is_killed_takes_what_it_started_with_it(monkeypatch, tmp_path):
    note = tmp_path / "pid"
    child = f"""
import pathlib, subprocess, sys
pathlib.Path({str(note)!r}).write_text(str(subprocess.Popen(["sleep", "60"]).pid))
sys.exit(75)
"""
    monkeypatch.setattr(_child, "command", lambda request: [sys.executable, "-c", child])
    monkeypatch.setattr(_child, "die_with_parent", lambda parent: None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        task = _steps.Step(request=BuildCubeRequest, world=ENDED, clock="now")
    with pytest.raises(AirflowException):
        task.execute(context([T]))
    left = Path(f"/proc/{note.read_text()}/stat")
    deadline = time.monotonic() + 10
    while left.exists() and ") Z " not in left.read_text():
        assert time.monotonic() < deadline, "it lives on"
        time.sleep(0.01)


def test_a_step_that_takes_more_memory_than_its_world_allows_is_ended(monkeypatch):
    child = "import time; time.sleep(2); b = bytearray(400 * 2**20)"
    small = LIVE.model_copy(update={"schedule": LIVE.schedule.model_copy(update={"memory": 300 * 2**20})})
    monkeypatch.setattr(_child, "command", lambda request: [sys.executable, "-c", child])
    monkeypatch.setattr(_child, "die_with_parent", lambda parent: None)
    for world, ends in ((LIVE, 0), (small, 1)):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            task = _steps.Step(request=BuildCubeRequest, world=world, clock="now")
        assert task.run_child(task.ask(context([T]), T), None)[0] == ends


SECRETS = (
    "AIRFLOW__API_AUTH__JWT_SECRET",
    "AIRFLOW__CORE__FERNET_KEY",
    "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN",
    "AIRFLOW__OPENLINEAGE__TRANSPORT",
    "CUBECAST_TOKENS",
    "POSTGRES_PASSWORD",
    "SOMETHING_ELSE",
)


def test_a_step_gets_what_reaches_its_store_and_no_other_secret(monkeypatch, tmp_path):
    for name in (*SECRETS, "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, f"canary of {name}")
    child = (
        f"import json, os, pathlib; pathlib.Path({str(tmp_path / 'seen')!r}).write_text(json.dumps(dict(os.environ))); print({RECEIPT!r})"
    )
    monkeypatch.setattr(_child, "command", lambda request: [sys.executable, "-c", child])
    monkeypatch.setattr(_child, "die_with_parent", lambda parent: None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        task = _steps.Step(request=BuildCubeRequest, world=ENDED, clock="now")
    task.execute(context([T]))
    seen = json.loads((tmp_path / "seen").read_text())
    assert [value for value in seen.values() if "canary" in value] == ["canary of AWS_SECRET_ACCESS_KEY"]


def test_a_step_knows_which_attempt_of_which_run_it_is(monkeypatch):
    tell = RECEIPT.replace('"s1"', "\"' + os.environ['CUBECAST_ATTEMPT'] + '\"")
    monkeypatch.setattr(_child, "command", lambda request: [sys.executable, "-c", f"import os; print('{tell}')"])
    monkeypatch.setattr(_child, "die_with_parent", lambda parent: None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        task = _steps.Step(request=BuildCubeRequest, world=ENDED, clock="now")
    assert task.execute(context([T]))["ids"] == {"snapshot": "manual__71:2"}


def approval(monkeypatch, world, decision="pending"):
    """The task that asks a person; what it would put to Airflow is kept instead."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        task = _approval.Approval(world=world.model_copy(update={"promotion": HUMAN}))
    put = []
    monkeypatch.setattr("airflow.providers.standard.operators.hitl.upsert_hitl_detail", lambda **detail: put.append(detail))
    monkeypatch.setitem(PROPOSED["details"], "decision", decision)
    where = context(issue_time=T["issue_time"])
    where["task_instance"] = SimpleNamespace(id="t-71")
    return task, put, where


def test_a_person_is_shown_the_reasons_of_a_proposal_and_no_worker_is_held_meanwhile(monkeypatch):
    task, put, where = approval(monkeypatch, ENDED)
    with pytest.raises(TaskAwaitingInput) as waiting:
        task.execute(where)
    assert waiting.value.timeout == HUMAN.time_out
    assert put[0]["options"] == ["Approve", "Reject"]
    assert "MAE 0.71 against 0.93" in put[0]["body"]
    assert "`new` in place of old" in put[0]["body"]


@pytest.mark.parametrize("decision", ["kept", "promoted"])
def test_where_the_evidence_proposes_nothing_nobody_is_asked(monkeypatch, decision):
    task, put, where = approval(monkeypatch, ENDED, decision)
    with pytest.raises(AirflowSkipException, match=decision):
        task.execute(where)
    assert put == []


def test_in_a_live_world_a_proposal_that_lapsed_is_not_put_to_anybody(monkeypatch):
    task, put, where = approval(monkeypatch, LIVE)
    with pytest.raises(AirflowSkipException, match="lapsed"):
        task.execute(where)
    assert put == []


def test_no_answer_in_time_keeps_the_champion(monkeypatch):
    task, _, where = approval(monkeypatch, ENDED)
    event = {"chosen_options": ["Reject"], "params_input": {"reason": ""}, "responded_at": datetime.now(UTC), "responded_by_user": None}
    with pytest.raises(AirflowSkipException, match="champion stays"):
        task.execute_complete(where, {**event, "timedout": True})
    assert where["ti"].pushed == {}


@pytest.mark.parametrize(("world", "as_of"), [(ENDED, "2025-11-01T12:00:00Z"), (LIVE, "2025-11-01T18:30:00Z")])
def test_an_answer_holds_from_when_it_was_given_and_in_a_recorded_world_from_the_issue_time(monkeypatch, world, as_of):
    said = {"reason": "seen", "person": "ada", "at": "2025-11-01T18:30:00+00:00"}
    monkeypatch.setattr(Notes, "pushed", {"answer": said}, raising=False)
    monkeypatch.setattr(Notes, "__init__", lambda self: None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        task = _approval.Answer(world=world, answer="reject")
    request = task.ask(context(), T)
    assert (request.answer, request.model_id, request.reason) == ("reject", "new", "seen (ada, in Airflow)")
    assert format_instant(request.as_of) == as_of


def test_an_alert_that_blocks_fails_the_task_at_once_and_reads_well_in_the_log(monkeypatch):
    with pytest.raises(AirflowFailException):
        perform(monkeypatch, MonitorRequest, 80)
    line = '{"event": "alert", "level": "block", "alert": "late_source/a/b/c", "text": "too old", "mend": "docs/runbooks/late-source.md"}'
    assert _child.log_line(line) == "block late_source/a/b/c: too old (see docs/runbooks/late-source.md)"


def test_only_the_child_that_tells_people_gets_where_alerts_are_posted(monkeypatch):
    monkeypatch.setenv("CUBECAST_ALERT_URL", "https://example.org/s3cret")
    says = "import os; print(os.environ.get('CUBECAST_ALERT_URL', 'nothing'))"
    told = []
    monkeypatch.setattr(_child, "command", lambda request: [sys.executable, "-c", says])
    monkeypatch.setattr(_child, "die_with_parent", lambda parent: None)
    for request in (MonitorRequest, LandRequest):
        fields = {"received_time": T["now"]} if request is LandRequest else {}
        told.append(_child.Child(lambda line: None).run(request(world="synthetic", as_of=T["now"], **fields), None)[1])
    assert told == ["https://example.org/s3cret", "nothing"]


def test_every_task_of_every_dag_raises_an_alert_when_it_has_failed_for_good():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from dags import cube, forecast, ingest, monitoring, replay, retention, training
    house = _house.house(ENDED, "x")
    assert house["default_args"]["on_failure_callback"] is _alerts.failed
    assert all("house" in vars(file) for file in (cube, forecast, ingest, monitoring, replay, retention, training))


@pytest.mark.parametrize(("code", "raised"), [(65, True), (None, True), (80, False)])
def test_a_failed_task_becomes_an_alert_unless_it_failed_because_of_one(monkeypatch, tmp_path, code, raised):
    monkeypatch.setenv("CUBECAST_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("CUBECAST_ALERT_LOG", str(tmp_path / "alerts.jsonl"))
    ti = SimpleNamespace(dag_id="synthetic__ingest", task_id="roads.land", run_id="manual__1", xcom_pull=lambda task_ids, key: code)
    _alerts.failed({"ti": ti})
    told = [json.loads(line) for line in (tmp_path / "alerts.jsonl").read_text().splitlines()] if raised else []
    assert [line["alert"] for line in told] == (["task_failed///ingest.roads.land"] if raised else [])
    assert (tmp_path / "alerts.jsonl").exists() == raised

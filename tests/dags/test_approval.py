"""A person is asked before a model is promoted."""

import warnings
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

from pipeline.contracts.times import format_instant
from tests.dags.stage import ENDED, HUMAN, LIVE, PROPOSED, Notes, T, context, leave, silently

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from airflow.sdk.exceptions import AirflowException, AirflowSkipException, TaskAwaitingInput

    from dags import _approval
    from dags._steps import IN_XCOM


@pytest.fixture
def proposed(tmp_path, monkeypatch):
    """What Airflow knows of the receipt of `promote`, and what leaves it in the store, as the step does."""
    monkeypatch.setenv("CUBECAST_STORE", str(tmp_path))
    notes = Notes()
    notes.proposed = leave(tmp_path, PROPOSED)

    def again(**ids):
        leave(tmp_path, PROPOSED | {"ids": PROPOSED["ids"] | ids})

    return notes.xcom_pull("promote"), again


def test_what_is_put_to_a_person_is_read_from_the_store_and_not_from_xcom(proposed):
    known, _ = proposed
    assert set(known) == IN_XCOM
    assert _approval.proposal_of(known)["details"] == PROPOSED["details"]


def test_a_receipt_that_is_not_there_or_of_another_candidate_is_not_put_to_anybody(proposed):
    known, again = proposed
    gone = known | {"paths": {"receipt": known["paths"]["receipt"].replace("promote", "demote")}}
    with pytest.raises(AirflowException, match="cannot be read") as caught:
        _approval.proposal_of(gone)
    assert not isinstance(caught.value, AirflowSkipException)
    again(candidate="newer")
    with pytest.raises(AirflowSkipException, match="newer has been proposed since"):
        _approval.proposal_of(known)


def approval(monkeypatch, world, decision="pending"):
    """The task that asks a person; what it would put to Airflow is kept instead."""
    monkeypatch.setattr(_approval, "proposal_of", lambda known: PROPOSED)
    task = silently(_approval.Approval, world=world.model_copy(update={"promotion": HUMAN}))
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
    task = silently(_approval.Answer, world=world, answer="reject")
    request = task.ask(context(), T)
    assert (request.answer, request.model_id, request.reason) == ("reject", "new", "seen (ada, in Airflow)")
    assert format_instant(request.as_of) == as_of

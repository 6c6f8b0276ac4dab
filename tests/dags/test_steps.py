"""How a step is launched: its request, what its exit code decides, what it gives on."""

import sys
import warnings
from datetime import UTC, datetime, timedelta

import pytest

from pipeline.api import (
    BuildCubeRequest,
    EvaluateRequest,
    LandRequest,
    MonitorRequest,
    PredictRequest,
    PublishRequest,
    Receipt,
    RetainRequest,
    TrainRequest,
)
from pipeline.contracts.times import format_instant
from tests.dags.stage import ENDED, RECEIPT, T, context, silently

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from airflow.sdk.exceptions import AirflowException, AirflowFailException

    from dags import _child, _house, _steps


def perform(monkeypatch, request, code, *, clock="now", stdout=RECEIPT, stderr="", events=(T,), params=None, world=ENDED, **more):
    """Run a step task whose child is a small program that says this and ends with this code."""
    child = f"import sys; sys.stderr.write({stderr!r}); print({stdout!r}); sys.exit({code})"
    asked = []

    def fake_command(request):
        asked.append(request)
        return [sys.executable, "-c", child]

    monkeypatch.setattr(_child, "command", fake_command)
    monkeypatch.setattr(_child, "die_with_parent", lambda parent: None)
    task = silently(_steps.Step, request=request, world=world, clock=clock, **more)
    where = context(events, **(params or {}))
    try:
        return task.execute(where), asked[0], where
    except AirflowException as error:
        error.where = where
        raise


def test_a_step_gives_its_ids_and_paths_on_and_nothing_else(monkeypatch):
    found, request, _ = perform(monkeypatch, LandRequest, 0, fields={"source": "roads"})
    assert found == {"ids": {"snapshot": "s1"}, "paths": {"receipt": "/store/receipts/x.json"}}
    assert (request.source, request.as_of, request.received_time) == ("roads", request.received_time, request.as_of)


def test_the_event_of_an_asset_carries_the_times_on(monkeypatch):
    asset = _house.asset(ENDED, "cube")
    _, _, where = perform(monkeypatch, BuildCubeRequest, 0, announces=asset)
    assert where["outlet_events"][asset].extra == {**T, "ids": {"snapshot": "s1"}, "counts": {"rows": 71}}


def test_the_event_of_a_forecast_carries_its_digest_its_snapshot_and_its_rows_and_no_prose(monkeypatch):
    asset = _house.asset(ENDED, "cube")
    said = Receipt(
        step="publish",
        world="tiny",
        as_of=T["issue_time"],
        outcome="done",
        ids={"forecast": "f1", "snapshot": "s1"},
        counts={"rows": 71},
        notes=("prose",),
        details={"verdicts": ["more prose"]},
    )
    found, _, where = perform(monkeypatch, PublishRequest, 0, clock="issue_time", announces=asset, stdout=said.model_dump_json())
    assert where["outlet_events"][asset].extra == {**T, "ids": {"forecast": "f1", "snapshot": "s1"}, "counts": {"rows": 71}}
    assert set(found) == {"ids", "paths"}


def test_the_event_of_a_cube_says_which_share_is_missing(monkeypatch):
    asset = _house.asset(ENDED, "cube")
    built = RECEIPT.replace('"big":[1,2]', '"big":[1,2],"missing_share":{"traffic":{"count":0.25}}')
    _, _, where = perform(monkeypatch, BuildCubeRequest, 0, announces=asset, stdout=built)
    assert where["outlet_events"][asset].extra["missing_share"] == {"traffic": {"count": 0.25}}


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


def test_what_expires_is_counted_from_the_time_on_the_wall_also_where_the_worlds_clock_stands_still(monkeypatch):
    _, request, _ = perform(monkeypatch, RetainRequest, 0, on_the_wall=("now",))
    assert format_instant(request.as_of) == T["now"]
    assert abs(datetime.now(UTC) - request.now) < timedelta(minutes=5)


def test_the_model_that_was_trained_in_this_run_is_the_one_that_is_judged(monkeypatch):
    _, request, _ = perform(monkeypatch, EvaluateRequest, 0, clock="issue_time", model_of="train")
    assert request.model_id == "the one of train"


def test_a_forecast_is_issued_when_its_inputs_were_there(monkeypatch):
    _, request, _ = perform(monkeypatch, PredictRequest, 0, clock="issue_time", issued_by="inputs")
    assert format_instant(request.as_of) == "2025-11-01T13:07:00Z"


def test_an_alert_that_blocks_fails_the_task_at_once_and_reads_well_in_the_log(monkeypatch):
    with pytest.raises(AirflowFailException):
        perform(monkeypatch, MonitorRequest, 80)
    line = '{"event": "alert", "level": "block", "alert": "late_source/a/b/c", "text": "too old", "mend": "docs/runbooks/late-source.md"}'
    assert _child.log_line(line) == "block late_source/a/b/c: too old (see docs/runbooks/late-source.md)"

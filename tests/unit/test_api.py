"""The door: every request survives its own command line."""

import subprocess
import sys
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import __main__ as cli
from pipeline import api, replay_commands, step_commands
from pipeline.contracts.times import parse_instant

WORLDS = st.sampled_from(["synthetic", "aarhus", "us"])
INSTANTS = st.datetimes(
    min_value=parse_instant("1990-01-01T00:00Z").replace(tzinfo=None), max_value=parse_instant("2090-01-01T00:00Z").replace(tzinfo=None)
).map(lambda moment: f"{moment.isoformat()}+02:00")
WORDS = st.text(st.characters(categories=["L", "N"], include_characters=" _./-=\"'"), min_size=1, max_size=12)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | WORDS,
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=4,
)
KEYS = st.from_regex(r"[a-z][a-z0-9_]{0,9}", fullmatch=True)
FIELDS = {
    "received_time": INSTANTS,
    "source": st.none() | KEYS,
    "recipe": st.none() | KEYS,
    "options": st.dictionaries(KEYS, VALUES, max_size=3),
    "seed": st.integers(0, 2**31),
    "initial": st.none() | KEYS,
    "model_id": st.none() | KEYS,
    "issue_time": st.none() | INSTANTS,
}


@st.composite
def any_request(draw):
    kind, name = draw(st.sampled_from(api.STEPS)), draw(WORLDS)
    fields = {field: draw(FIELDS[field]) for field in kind.model_fields if field in FIELDS}
    world = api.load_world(name)
    inside = st.integers(1, int((world.recorded.end - world.start).total_seconds()))
    return kind(world=name, as_of=world.start + timedelta(seconds=draw(inside)), **fields)


@given(any_request())
@settings(max_examples=150, deadline=None)
def test_parsing_the_command_line_of_a_request_gives_the_request_back(request):
    seen = []
    original, step_commands.perform = step_commands.perform, lambda parsed, *, as_json, parent: seen.append((parsed, as_json))
    try:
        assert cli.main(api.command(request)[3:]) == 0
    finally:
        step_commands.perform = original
    assert seen == [(request, True)]


def test_every_field_of_every_request_is_drawn_by_the_property_test():
    assert {name for kind in api.STEPS for name in kind.model_fields} == {*FIELDS, "world", "as_of"}


def test_a_cut_off_never_moves_later_when_it_is_rounded():
    request = api.PredictRequest(world="synthetic", as_of="2025-11-01T12:00:00.9Z")
    assert request.as_of == parse_instant("2025-11-01T12:00:00Z")


def test_a_time_without_an_offset_is_refused():
    with pytest.raises(ValueError, match="no UTC offset"):
        api.PredictRequest(world="synthetic", as_of="2025-11-01T12:00:00")


def test_the_flow_is_the_nine_steps_in_order_each_as_of_its_own_clock():
    issue_time, now = parse_instant("2025-11-01T12:00Z"), parse_instant("2025-11-03T00:00Z")
    flow = api.flow("synthetic", issue_time=issue_time, now=now)
    assert [type(request) for request in flow] == list(api.STEPS)
    assert [request.step for request in flow if request.as_of == now] == ["land", "observe", "build_cube", "verify"]


def test_the_scheduled_worlds_are_all_or_those_that_are_named(monkeypatch):
    monkeypatch.delenv("CUBECAST_WORLDS", raising=False)
    assert api.scheduled_worlds() == api.world_names()
    monkeypatch.setenv("CUBECAST_WORLDS", "us, synthetic")
    assert api.scheduled_worlds() == ("us", "synthetic")


def test_the_door_opens_without_any_heavy_library():
    code = (
        "import sys, pipeline.api; print([m for m in ('numpy', 'pandas', 'torch', 'dask', 'xarray', 'typer', 'rich') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"


@given(
    st.fixed_dictionaries(
        {
            "every": st.sampled_from(["15min", "1h", "1h30min", "1d"]),
            "mode": st.sampled_from(["replay", "reforecast"]),
            "retrain": st.sampled_from(["daily", "weekly", "none"]),
            "since": st.none() | INSTANTS,
            "options": FIELDS["options"],
            "seed": FIELDS["seed"],
            "workers": st.none() | st.integers(1, 64),
            "dry_run": st.booleans(),
        }
    ),
    INSTANTS,
    INSTANTS,
)
@settings(max_examples=50, deadline=None)
def test_parsing_the_command_line_of_a_replay_gives_the_request_back(fields, first, last):
    request = api.ReplayRequest(world="aarhus", as_of=first, first=first, last=last, **fields)
    seen = []
    original, replay_commands.perform = replay_commands.perform, lambda parsed, *, as_json, parent: seen.append(parsed)
    try:
        assert cli.main(api.command(request)[3:]) == 0
    finally:
        replay_commands.perform = original
    assert seen == [request]


@pytest.mark.parametrize(
    "wrong", [("--every", "soon"), ("--retrain", "hourly"), ("--mode", "guess"), ("--workers", "0"), ("--from", "monday")]
)
def test_a_wrong_option_of_a_replay_is_a_configuration_error(wrong, capsys):
    words = {"--from": "2014-09-16T00:00Z", "--to": "2014-09-17T00:00Z", **dict([wrong])}
    assert cli.main(["replay", "--world", "aarhus", *(w for pair in words.items() for w in pair)]) == 78
    assert wrong[0].strip("-") in capsys.readouterr().err

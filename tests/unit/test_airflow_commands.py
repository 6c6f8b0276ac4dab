"""`cubecast airflow`."""

import pytest
from typer.testing import CliRunner

from pipeline.airflow_commands import airflow_app
from pipeline.local_airflow import home, launch


@pytest.mark.parametrize(
    ("words", "environment", "served"),
    [
        (["ui"], {}, ["synthetic"]),
        (["ui"], {"CUBECAST_WORLDS": "us,london"}, ["us", "london"]),
        (["ui", "--world", "aarhus"], {"CUBECAST_WORLDS": "us,london"}, ["aarhus"]),
    ],
)
def test_the_ui_serves_the_world_that_is_named_else_those_of_the_environment(monkeypatch, words, environment, served):
    found = []
    monkeypatch.delenv("CUBECAST_WORLDS", raising=False)
    monkeypatch.setattr(launch, "serve", lambda worlds, settings: found.extend(world.name for world in worlds) or 0)
    assert CliRunner().invoke(airflow_app, words, env=environment).exit_code == 0
    assert found == served


def test_airflows_own_words_are_handed_on_as_they_are_with_its_exit_code(monkeypatch):
    found = []
    monkeypatch.setattr(home, "call", lambda settings, words: found.extend(words) or 3)
    done = CliRunner().invoke(airflow_app, ["cli", "--", "backfill", "create", "--dag-id", "x", "--help"])
    assert (done.exit_code, found) == (3, ["backfill", "create", "--dag-id", "x", "--help"])

"""The home of a local Airflow."""

import socket
import stat
from pathlib import Path

import pytest

from pipeline.errors import ConfigError, ConflictError
from pipeline.local_airflow import home as module
from pipeline.local_airflow.home import COMPONENTS, call, free_port, open_home
from pipeline.settings import Settings, child_environment, read_settings


@pytest.fixture
def settings(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_migrate", lambda home: None)
    return Settings(store=str(tmp_path), data=None, dask=None, airflow_home=tmp_path / "airflow")


def test_a_port_in_use_is_left_and_another_is_taken():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert free_port(port) not in (0, port)
    assert free_port(0) > 0


def test_a_free_port_that_is_preferred_is_taken():
    port = free_port(0)
    assert free_port(port) == port


def test_a_second_command_on_the_same_store_is_told_so(settings):
    second = open_home(settings, ("tiny",), 0)
    with open_home(settings, ("tiny",), 0), pytest.raises(ConflictError, match="another command runs it"):
        second.__enter__()
    with open_home(settings, ("tiny",), 0):
        pass


def test_the_password_is_generated_once_and_read_by_its_owner_only(settings):
    with open_home(settings, ("tiny",), 0) as first:
        pass
    with open_home(settings, ("tiny",), 0) as second:
        assert second.password == first.password
    file = settings.airflow_home / "passwords.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(settings.airflow_home.stat().st_mode) == 0o700
    assert first.password not in " ".join(first.environment.values())


def test_everything_listens_on_loopback_and_tasks_find_the_api_server_at_its_port(settings):
    with open_home(settings, ("tiny",), 0) as home:
        env = home.environment
    assert home.argv("api-server")[-4:] == ["--host", "127.0.0.1", "--port", str(home.port)]
    assert env["AIRFLOW__CORE__EXECUTION_API_SERVER_URL"] == f"http://127.0.0.1:{home.port}/execution/"
    assert all("--skip-serve-logs" in COMPONENTS[name] for name in ("scheduler", "triggerer"))
    assert (env["CUBECAST_WORLDS"], env["CUBECAST_STORE"]) == ("tiny", settings.store)


def test_airflows_own_commands_are_refused_where_the_store_has_no_airflow_yet(settings):
    with pytest.raises(ConfigError, match="no database in"):
        call(settings, ["pools", "list"])


def test_a_child_gets_what_it_needs_of_our_environment_and_nothing_else():
    ours = {
        "PATH": "/bin",
        "AWS_ACCESS_KEY_ID": "id",
        "CUBECAST_STORE": "s",
        "GITHUB_TOKEN": "canary",
        "AIRFLOW__CORE__FERNET_KEY": "canary",
    }
    given = child_environment({"MORE": "1"}, environment=ours)
    assert given.items() >= {"PATH": "/bin", "AWS_ACCESS_KEY_ID": "id", "CUBECAST_STORE": "s", "MORE": "1"}.items()
    assert "canary" not in given.values()


def test_the_home_lies_in_the_store_or_beside_us_where_the_store_is_elsewhere(tmp_path):
    assert read_settings({"CUBECAST_STORE": str(tmp_path)}).airflow_home == tmp_path / "airflow"
    assert read_settings({"CUBECAST_STORE": "s3://bucket/prefix"}).airflow_home == Path(".airflow").resolve()

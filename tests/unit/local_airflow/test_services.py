"""compose.yaml's services as processes: every address on loopback, every variable filled, nothing guessed."""

import re
import stat

import pytest

from pipeline.errors import ConfigError
from pipeline.local_airflow.services import PORTS, make_variables, read_compose, services
from pipeline.settings import project_folder

DOCKER = project_folder() / "docker"
FREE = {port: 40000 + n for n, port in enumerate(PORTS)}


def made(tmp_path, **changed):
    variables = make_variables(DOCKER / ".env.example", tmp_path / ".env", {"CUBECAST_WORLDS": "tiny"})
    return services(read_compose(DOCKER / "compose.yaml") | changed, variables, FREE, tmp_path)


def test_every_service_of_ours_becomes_a_process_and_replicas_become_several(tmp_path):
    names = [service.name for service in made(tmp_path)]
    assert {"prepare", "api-server", "scheduler", "dag-processor", "triggerer", "dask-scheduler", "forecasts", "metrics"} <= set(names)
    assert {"dask-worker-0", "dask-worker-1"} <= set(names)
    assert not {"postgres", "s3", "prometheus", "grafana"} & set(names)


def test_every_address_is_of_this_machine_and_every_variable_has_its_value(tmp_path):
    for service in made(tmp_path):
        for text in (*service.argv, *service.environment.values()):
            assert "${" not in text
            assert not re.search(r"/var/lib|0\.0\.0\.0|//(s3|api-server|dask-scheduler)\b|@postgres", text), text
    environment = made_environment(tmp_path / "again")
    assert environment["CUBECAST_DASK"] == f"tcp://127.0.0.1:{FREE['8786']}"
    assert re.fullmatch(
        rf"postgresql\+psycopg2://airflow:[\w-]{{32}}@127\.0\.0\.1:{FREE['5432']}/airflow",
        environment["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"],
    )
    assert environment["CUBECAST_WORLDS"] == "tiny"


def test_health_checks_ask_at_the_address_of_this_machine_and_replicas_are_not_asked(tmp_path):
    checks = {service.name: service.health for service in made(tmp_path) if service.health}
    assert f"http://127.0.0.1:{FREE['8000']}/health" in checks["forecasts"][-1]
    assert f"http://127.0.0.1:{FREE['8787']}/health" in checks["dask-scheduler"][-1]
    assert str(tmp_path / "airflow" / "looked") in checks["watch"][-1]
    assert not {"dask-worker-0", "dask-worker-1", "prepare"} & set(checks)


def made_environment(folder):
    folder.mkdir()
    return next(service.environment for service in made(folder) if service.name == "scheduler")


def test_secrets_are_generated_anew_into_a_file_of_their_owner(tmp_path):
    first = make_variables(DOCKER / ".env.example", tmp_path / "a", {})
    second = make_variables(DOCKER / ".env.example", tmp_path / "b", {})
    assert "change-me" not in (tmp_path / "a").read_text()
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o600
    for name in ("POSTGRES_PASSWORD", "S3_SECRET_KEY", "AIRFLOW_JWT_SECRET", "AIRFLOW_FERNET_KEY", "CUBECAST_TOKENS"):
        assert first[name] != second[name]
        assert len(first[name]) >= 32


def test_what_is_not_known_is_refused(tmp_path):
    odd = {"services": {"odd": {"command": ["nginx"], "environment": {}}}}
    with pytest.raises(ConfigError, match="nginx"):
        made(tmp_path, **odd)
    lacking = {"services": {"odd": {"command": ["airflow", "version"], "environment": {"A": "${NEVER_SET:?set it}"}}}}
    (tmp_path / ".env").unlink()
    with pytest.raises(ConfigError, match="NEVER_SET"):
        made(tmp_path, **lacking)

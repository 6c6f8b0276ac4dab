"""What a terminal hears of the store's own Airflow, with a small server in place of Airflow where one answers."""

from dataclasses import replace

import pytest

from pipeline.cockpit.grid import Unfinished
from pipeline.errors import ConfigError, NotYetAvailable
from pipeline.local_airflow import home as module
from pipeline.local_airflow.cockpit import unfinished_of
from pipeline.local_airflow.home import free_port, open_home, told
from pipeline.settings import Settings, read_settings
from tests.unit.local_airflow.test_rest import airflow_of

TASK = {"step": "predict", "source": None, "as_of": 3600, "state": "failed", "since": "2025-11-01T00:00:00Z", "run": "r", "link": "/dags/d"}


@pytest.fixture
def settings(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_migrate", lambda home: None)
    return Settings(store=str(tmp_path), data=None, dask=None, airflow_home=tmp_path / "airflow")


def answered(settings, password, content):
    """What a terminal hears of an Airflow at the store's address that knows this password and answers this."""
    with (
        open_home(settings, ("tiny",), 0) as home,
        airflow_of(password or home.password, content) as address,
        told(home.on_port(int(address.rpartition(":")[2]))),
    ):
        return address, unfinished_of(settings, "tiny")


def test_tasks_that_have_not_ended_well_come_with_the_whole_address_of_their_page(settings):
    address, found = answered(settings, None, [TASK])
    assert found == (Unfinished(**{**TASK, "link": f"{address}/dags/d"}),)


def test_an_airflow_of_another_store_at_our_address_is_not_listened_to(settings):
    assert answered(settings, "another's", [TASK])[1] is None


def test_nothing_is_heard_once_airflow_has_ended_nor_of_one_that_was_killed(settings):
    assert unfinished_of(settings, "tiny") is None
    answered(settings, None, [TASK])
    assert not (settings.airflow_home / "address").exists()
    assert unfinished_of(settings, "tiny") is None
    (settings.airflow_home / "address").write_text(f"http://127.0.0.1:{free_port(0)}")
    assert unfinished_of(settings, "tiny") is None


@pytest.mark.parametrize("login", ["ada:word:71", "token-71"])
def test_an_airflow_elsewhere_is_asked_with_a_name_and_a_password_or_with_a_token(settings, login):
    with airflow_of("word:71", [TASK], badge="token-71") as address:
        told_so = {"CUBECAST_AIRFLOW_URL": f"{address}/", "CUBECAST_AIRFLOW_LOGIN": f"{login}\n"}
        found = unfinished_of(replace(read_settings(told_so), airflow_home=settings.airflow_home), "tiny")
    assert found == (Unfinished(**{**TASK, "link": f"{address}/dags/d"}),)


def said_of(settings, kind, url, login="ada:canary"):
    with pytest.raises(kind) as caught:
        unfinished_of(replace(settings, airflow_url=url, airflow_login=login), "tiny")
    assert "canary" not in f"{caught.value} {replace(settings, airflow_login=login)}"
    return str(caught.value)


def test_one_that_does_not_tell_is_named_with_the_reason_and_without_the_login(settings):
    with airflow_of("word", [TASK], badge="t-71") as address:
        assert f"{address}: 401" in said_of(settings, NotYetAvailable, address)
        assert f"{address}: 403" in said_of(settings, NotYetAvailable, address, "canary")
    assert "no answer" in said_of(settings, NotYetAvailable, address)
    with airflow_of("canary", {"not": "tasks"}) as address:
        assert "none of a cockpit" in said_of(settings, NotYetAvailable, address)


def test_one_that_sends_on_to_another_host_is_not_followed_there(settings):
    with airflow_of("canary", [TASK]) as other, airflow_of("canary", [TASK], elsewhere=other) as address:
        assert f"{address}: 302" in said_of(settings, NotYetAvailable, address)


@pytest.mark.parametrize(
    "url", ["http://example.org", "ftp://example.org", "https://", "https://ada:canary@example.org", "http://[", "canary"]
)
def test_a_login_goes_over_https_only_unless_it_stays_on_this_machine(settings, url):
    assert "CUBECAST_AIRFLOW_URL: no plain https address" in said_of(settings, ConfigError, url)


@pytest.mark.parametrize("login", [None, "", "ada:", "canary\nX: 1"])
def test_without_a_usable_login_nobody_is_asked(settings, login):
    assert "CUBECAST_AIRFLOW_LOGIN: no login" in said_of(settings, ConfigError, "https://airflow.invalid", login)

"""What a terminal hears of the store's own Airflow, with a small server in place of Airflow where one answers."""

import pytest

from pipeline.cockpit.grid import Unfinished
from pipeline.local_airflow import home as module
from pipeline.local_airflow.cockpit import unfinished_of
from pipeline.local_airflow.home import free_port, open_home, told
from pipeline.settings import Settings
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

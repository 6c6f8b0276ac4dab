"""Of which sources an ingest tells the cube, and when they are too few for one."""

import logging
import warnings

import pytest

from tests.dags.stage import ENDED, LIVE, T, leave

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

    from dags import _enough


@pytest.fixture
def told(tmp_path, monkeypatch):
    """What the cube is told where these sources are in."""
    monkeypatch.setenv("CUBECAST_STORE", str(tmp_path))

    def telling(*found, world=LIVE, **schedule):
        world = world.model_copy(update={"schedule": world.schedule.model_copy(update=schedule)}) if schedule else world

        class Pulled:
            def xcom_pull(self, task_ids):
                source = task_ids.removesuffix(".observe")
                ids = {f"{source}.observations": "o-1"}
                receipt = {"step": "observe", "world": world.name, "as_of": T["now"], "outcome": "done", "ids": ids}
                whole = receipt | {"counts": {f"{source}.raw": 71}, "details": {"missing_share": {source: 0.25}}}
                return {"ids": ids, "paths": {"receipt": leave(tmp_path, whole, source)}} if source in found else None

        return _enough.told(world, {"ti": Pulled()})

    return telling


def test_the_cube_is_told_of_what_is_in_and_by_default_one_source_is_enough(told):
    assert told("weather") == {
        "ids": {"weather.observations": "o-1"},
        "counts": {"weather.raw": 71},
        "missing_share": {"weather": 0.25},
    }
    assert set(told("weather", "roads")["counts"]) == {"weather.raw", "roads.raw"}
    assert set(told("weather", "roads")["missing_share"]) == {"weather", "roads"}


def test_where_nothing_came_no_cube_is_woken(told, caplog):
    with caplog.at_level(logging.WARNING), pytest.raises(AirflowSkipException, match=r"0 of \d sources are in \(none\)"):
        told()
    assert "goes into the next" in caplog.text


def test_a_source_that_is_required_is_waited_for_and_others_do_not_stand_in_for_it(told):
    with pytest.raises(AirflowSkipException, match="required are weather; enough are 1"):
        told("roads", "prices", required=("weather",))
    assert told("weather", required=("weather",))["counts"] == {"weather.raw": 71}


def test_fewer_sources_than_are_enough_skip_the_cube_or_fail_the_ingest_as_the_world_says(told):
    assert len(told("weather", "roads", enough=2)["ids"]) == 2
    with pytest.raises(AirflowSkipException, match="enough are 2"):
        told("weather", enough=2)
    with pytest.raises(AirflowFailException, match=r"1 of \d sources are in \(weather\)"):
        told("weather", enough=2, late="fail")


def test_a_world_without_a_schedule_asks_for_nothing_here_since_its_ingest_ends_well_only_with_all_sources(told):
    assert told(world=ENDED) == {"ids": {}, "counts": {}, "missing_share": {}}

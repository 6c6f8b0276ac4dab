"""Probabilities of events as they are published: arrays of the Zarr group, and tidy Parquet of their own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import duckdb
import icechunk
import numpy as np
import pytest
import xarray as xr

from pipeline.contracts.forecasts import Forecast
from pipeline.stores.forecast_arrays import ForecastArrays, Rows
from pipeline.stores.objects import ObjectStore
from pipeline.stores.published import PublishedStore
from tests.browser.demo import ISSUE_TIME
from tests.unit.stores.published_demo import FORECAST, publish, rows_of

TRAFFIC = FORECAST.domains["traffic"]
SLOW = "probability_of_slow"


@pytest.fixture
def arrays(tmp_path: Path) -> ForecastArrays:
    return ForecastArrays(str(tmp_path), "demo")


def _at(hours: int, **changes) -> Forecast:
    return replace(FORECAST, issue_time=ISSUE_TIME + hours * 3600, domains={"traffic": replace(TRAFFIC, **changes)})


def _with_threshold(rows: Rows, threshold: float) -> Rows:
    form = rows.forms["traffic"]
    events = {**form.events, "slow": form.events["slow"].model_copy(update={"below": threshold})}
    return replace(rows, forms={"traffic": replace(form, events=events)})


def test_an_events_probability_is_an_array_of_its_own_that_says_what_it_is(arrays: ForecastArrays) -> None:
    arrays.put(rows_of(_at(0)))
    repository = icechunk.Repository.open(icechunk.local_filesystem_storage(arrays.url))
    found = xr.open_zarr(repository.readonly_session("main").store, group="traffic", consolidated=False, chunks=None)[SLOW]
    assert found.dims == ("issue_time", "lead_time", "node")
    assert np.array_equal(found.values[0], TRAFFIC.events["slow"])
    assert found.attrs["units"] == "1"
    assert found.attrs["long_name"] == "probability of slow traffic: average speed below 40 km/h"
    assert [found.attrs[k] for k in ("variable", "condition", "threshold", "warn_at")] == ["average_speed", "below", 40.0, 0.5]


def test_rows_from_before_an_event_was_told_of_hold_no_value_and_neither_does_a_revision_without_it(arrays: ForecastArrays) -> None:
    arrays.put(rows_of(_at(0, events={})))
    assert SLOW not in arrays.open("traffic")
    arrays.put(rows_of(_at(1)))
    found = arrays.open("traffic")[SLOW].values
    assert np.isnan(found[0]).all()
    assert np.array_equal(found[1], TRAFFIC.events["slow"])
    arrays.put(rows_of(_at(1, events={}), revision=1))
    assert np.isnan(arrays.open("traffic")[SLOW].values).all()


def test_another_threshold_begins_the_group_anew(arrays: ForecastArrays) -> None:
    before, _ = arrays.put(rows_of(_at(0)))
    arrays.put(_with_threshold(rows_of(_at(1)), 30.0))
    assert arrays.open("traffic").sizes["issue_time"] == 1
    assert arrays.open("traffic")[SLOW].attrs["threshold"] == 30.0
    assert arrays.open("traffic", before)[SLOW].attrs["threshold"] == 40.0


def test_a_probability_that_is_not_as_issued_is_written_anew(arrays: ForecastArrays) -> None:
    arrays.put(rows_of(_at(0)))
    other = {**TRAFFIC.events, "slow": 1 - TRAFFIC.events["slow"]}
    rows = rows_of(_at(0, events=other))
    assert arrays.faults(rows) == ["traffic"]
    assert arrays.put(rows)[1]
    assert np.array_equal(arrays.open("traffic")[SLOW].values[0], other["slow"])


def test_duckdb_finds_the_warnings_of_a_place(tmp_path: Path) -> None:
    objects = ObjectStore(str(tmp_path))
    record = publish(objects)
    assert sorted(record["events"]) == ["traffic", "weather"]
    assert record["events"]["traffic"] in record["sha256"]
    assert record["warnings"]["traffic"] == sum(
        int((TRAFFIC.events[k] >= np.float32(at)).sum()) for k, at in (("slow", 0.5), ("rush", 0.4))
    )
    url = PublishedStore(objects, "demo").url("events")
    found = duckdb.sql(f"FROM read_parquet('{url}/**/*.parquet', hive_partitioning = true) WHERE domain = 'traffic'").pl()
    assert len(found) == 2 * TRAFFIC.events["slow"].size
    node = TRAFFIC.node_ids[2]
    told = found.filter(found["unique_id"] == f"{node}/slow").sort("lead_s")
    assert told["probability"].to_numpy() == pytest.approx(TRAFFIC.events["slow"][:, 2])
    assert (told["warned"].to_numpy() == (TRAFFIC.events["slow"][:, 2] >= 0.5)).all()
    assert set(told["condition"]) == {"below"}
    assert set(told["units"]) == {"km/h"}
    rush = found.filter(found["event"] == "rush")
    assert (rush["warned"].to_numpy() == (rush["probability"].to_numpy() >= np.float32(0.4))).all()
    assert 0 < rush["warned"].sum() < len(rush)

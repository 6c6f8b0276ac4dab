from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.dataset
import pytest
import xarray as xr

from pipeline.contracts.forecasts import QUANTILES
from pipeline.errors import NotYetAvailable, StoreError
from pipeline.publishing.tables import QUANTILE_COLUMNS, forecast_table, parquet_bytes
from pipeline.stores.forecasts import ForecastStore, forecast_digest
from pipeline.stores.objects import ObjectStore
from pipeline.stores.published import PublishedStore
from tests.browser.demo import ISSUE_TIME, demo_page

PAGE = demo_page(nodes={"traffic": 7, "weather": 1, "parking": 3, "market": 4})
FORECAST = PAGE.forecast


@pytest.fixture
def objects(tmp_path: Path) -> ObjectStore:
    return ObjectStore(str(tmp_path))


def _publish(objects: ObjectStore, forecast=FORECAST, revision: int = 0) -> dict:
    published = PublishedStore(objects, "demo")
    record = {"forecast": forecast_digest(forecast), "revision": revision, "zarr": {}, "parquet": {}}
    for domain in forecast.domains:
        data = parquet_bytes(forecast_table(forecast, domain, revision=revision))
        record["parquet"][domain] = published.put_parquet(forecast, domain, data, revision=revision)
        labels = {v: {"long_name": v} for v in forecast.domains[domain].variables}
        record["zarr"][domain] = published.put_zarr(forecast, domain, PAGE.cubes[domain].nodes, revision=revision, labels=labels)
    published.commit(forecast.issue_time, record)
    published.renew_latest()
    return record


def test_a_forecast_comes_back_bit_for_bit_with_its_provenance(objects: ObjectStore) -> None:
    store = ForecastStore(objects, "demo")
    issued, created = store.add(FORECAST)
    assert created
    assert issued.revision == 0
    found = store.read(ISSUE_TIME)
    assert forecast_digest(found) == forecast_digest(FORECAST) == issued.digest
    assert found.provenance == FORECAST.provenance
    for name, domain in FORECAST.domains.items():
        again = found.domains[name]
        assert again.quantiles_LNVQ.tobytes() == domain.quantiles_LNVQ.tobytes()
        assert again.quantiles_LNVQ.shape == domain.quantiles_LNVQ.shape
        assert (again.node_ids, again.parts, again.model_V, again.units) == (domain.node_ids, domain.parts, domain.model_V, domain.units)
    assert store.issue_times() == [ISSUE_TIME]


def test_the_regimes_and_the_probabilities_of_events_come_back_and_make_another_forecast(objects: ObjectStore) -> None:
    weather = FORECAST.domains["weather"]
    more = {"events": {"frost": weather.quantiles_LNVQ[..., 0, 3]}, "regimes": {"availability": np.int8([1])}}
    forecast = replace(FORECAST, domains={**FORECAST.domains, "weather": replace(weather, **more)})
    assert forecast_digest(forecast) != forecast_digest(FORECAST)
    ForecastStore(objects, "demo").add(forecast)
    again = ForecastStore(objects, "demo").read(ISSUE_TIME).domains["weather"]
    assert again.events["frost"].tobytes() == more["events"]["frost"].tobytes()
    assert again.regimes["availability"].tolist() == [1]


def test_the_same_forecast_is_unchanged_and_another_is_a_new_revision(objects: ObjectStore) -> None:
    store = ForecastStore(objects, "demo")
    store.add(FORECAST)
    same = replace(FORECAST, provenance={**FORECAST.provenance, "snapshot": "ANOTHER", "code_version": "x"})
    assert store.add(same)[1] is False
    other = replace(FORECAST, provenance={**FORECAST.provenance, "model_id": "another"})
    issued, created = store.add(other)
    assert (issued.revision, created) == (1, True)
    assert store.read(ISSUE_TIME).provenance["model_id"] == "another"
    assert store.read(ISSUE_TIME, 0).provenance["model_id"] == FORECAST.provenance["model_id"]


def test_a_forecast_never_issued_names_the_command_that_makes_it(objects: ObjectStore) -> None:
    with pytest.raises(NotYetAvailable, match="cubecast predict --world demo"):
        ForecastStore(objects, "demo").read(ISSUE_TIME)


def test_a_flipped_bit_in_any_file_of_a_forecast_is_found(objects: ObjectStore) -> None:
    store = ForecastStore(objects, "demo")
    store.add(FORECAST)
    files = [p for p in Path(objects.root).rglob("*") if p.is_file()]
    assert len(files) == 3
    for path in files:
        whole = path.read_bytes()
        for position in range(0, len(whole), max(1, len(whole) // 20)):
            broken = bytearray(whole)
            broken[position] ^= 4
            path.write_bytes(bytes(broken))
            with pytest.raises(StoreError, match=path.name):
                store.read(ISSUE_TIME)
        path.write_bytes(whole)


def test_xarray_opens_the_published_zarr_as_a_user_would(objects: ObjectStore) -> None:
    record = _publish(objects)
    found = xr.open_zarr(objects.url(record["zarr"]["traffic"]))
    assert found["vehicle_count"].dims == ("issue_time", "lead_time", "node", "quantile")
    assert found["vehicle_count"].attrs["units"] == "count"
    assert found["lead_time"].attrs["standard_name"] == "forecast_period"
    assert found["issue_time"].attrs["standard_name"] == "forecast_reference_time"
    assert found.issue_time.values[0] == np.datetime64("2014-09-30T16:00:00")
    assert found.valid_time.values[0, 0] == np.datetime64("2014-09-30T16:05:00")
    assert list(found.node.values) == list(FORECAST.domains["traffic"].node_ids)
    median = found["average_speed"].sel(quantile=0.5).isel(issue_time=0, lead_time=2, node=4)
    assert float(median) == float(FORECAST.domains["traffic"].quantiles_LNVQ[2, 4, 1, 3])


def test_a_damaged_chunk_of_the_published_zarr_is_refused_by_readers(objects: ObjectStore) -> None:
    record = _publish(objects)
    chunk = Path(objects.url(record["zarr"]["traffic"] + "/vehicle_count/c/0/0/0/0"))
    whole = bytearray(chunk.read_bytes())
    whole[len(whole) // 2] ^= 1
    chunk.write_bytes(bytes(whole))
    with pytest.raises(RuntimeError):
        xr.open_zarr(objects.url(record["zarr"]["traffic"]))["vehicle_count"].load()


def test_several_issue_times_open_together_along_issue_time(objects: ObjectStore) -> None:
    later = replace(FORECAST, issue_time=ISSUE_TIME + 3600)
    places = [objects.url(_publish(objects, forecast)["zarr"]["market"]) for forecast in (FORECAST, later)]
    together = xr.open_mfdataset(
        places,
        engine="zarr",
        combine="nested",
        concat_dim="issue_time",
        data_vars="all",
        coords="minimal",
        compat="override",
        join="override",
    )
    assert together.sizes["issue_time"] == 2


def test_pandas_and_pyarrow_open_the_parquet_folder_with_its_partitions(objects: ObjectStore) -> None:
    _publish(objects)
    folder = PublishedStore(objects, "demo").url("parquet")
    frame = pd.read_parquet(folder)
    assert set(frame["domain"].astype(str)) == set(FORECAST.domains)
    assert set(frame["issue_date"].astype(str)) == {"2014-09-30"}
    rows = frame[(frame["domain"] == "traffic") & (frame["unique_id"] == FORECAST.domains["traffic"].node_ids[3] + "/average_speed")]
    rows = rows.sort_values("lead_s")
    assert rows["ds"].iloc[0] == pd.Timestamp("2014-09-30T16:05Z")
    assert rows["cutoff"].nunique() == 1
    expected = FORECAST.domains["traffic"].quantiles_LNVQ[:, 3, 1]
    assert np.array_equal(rows[list(QUANTILE_COLUMNS)].to_numpy(), expected)
    assert len(QUANTILE_COLUMNS) == len(QUANTILES)
    only = pyarrow.dataset.dataset(folder, partitioning="hive").to_table(filter=pyarrow.dataset.field("domain") == "weather")
    assert only.num_rows == 24


def test_nothing_is_visible_before_the_record_and_latest_follows_the_newest_issue_time(objects: ObjectStore) -> None:
    published = PublishedStore(objects, "demo")
    published.put_parquet(FORECAST, "traffic", b"half", revision=0)
    assert published.record(ISSUE_TIME) is None
    assert published.issue_times() == []
    later = replace(FORECAST, issue_time=ISSUE_TIME + 3600)
    _publish(objects, later)
    _publish(objects)
    import json

    latest = json.loads(Path(published.url("latest.json")).read_text())
    assert latest["issue_time"] == "2014-09-30T17:00:00Z"
    assert set(latest["zarr"]) == set(FORECAST.domains)


def test_publishing_the_same_twice_writes_the_same_bytes(objects: ObjectStore) -> None:
    first = _publish(objects)
    before = {p: p.read_bytes() for p in Path(objects.root).rglob("*") if p.is_file()}
    assert _publish(objects) == first
    assert {p: p.read_bytes() for p in Path(objects.root).rglob("*") if p.is_file()} == before

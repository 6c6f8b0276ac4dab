"""The Parquet products as DuckDB, polars and pandas users open them, and what makes them visible."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow.dataset
import pytest

from pipeline.contracts.forecasts import MEDIAN, QUANTILES
from pipeline.publishing.tables import QUANTILE_COLUMNS
from pipeline.stores.objects import ObjectStore
from pipeline.stores.published import PublishedStore
from tests.browser.demo import ISSUE_TIME
from tests.unit.stores.published_demo import FORECAST, publish

TRAFFIC = FORECAST.domains["traffic"]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> ObjectStore:
    """Two issue times, the first of them issued twice."""
    objects = ObjectStore(str(tmp_path_factory.mktemp("store")))
    publish(objects)
    publish(objects, replace(FORECAST, issue_time=ISSUE_TIME + 3600))
    again = {**FORECAST.domains, "traffic": replace(TRAFFIC, quantiles_LNVQ=TRAFFIC.quantiles_LNVQ + np.float32(1))}
    publish(objects, replace(FORECAST, domains=again))
    return objects


def test_pandas_opens_the_folder_with_its_partitions(store: ObjectStore) -> None:
    frame = pd.read_parquet(PublishedStore(store, "demo").url("parquet"))
    assert set(frame["domain"].astype(str)) == set(FORECAST.domains)
    assert set(frame["issue_date"].astype(str)) == {"2014-09-30"}
    cutoff = pd.Timestamp(ISSUE_TIME, unit="s", tz="UTC")
    rows = frame[(frame["unique_id"] == TRAFFIC.node_ids[3] + "/average_speed") & (frame["cutoff"] == cutoff) & (frame["revision"] == 0)]
    rows = rows.sort_values("lead_s")
    assert rows["ds"].iloc[0] == pd.Timestamp("2014-09-30T16:05Z")
    assert np.array_equal(rows[list(QUANTILE_COLUMNS)].to_numpy(), TRAFFIC.quantiles_LNVQ[:, 3, 1])
    assert len(QUANTILE_COLUMNS) == len(QUANTILES)
    only = pyarrow.dataset.dataset(PublishedStore(store, "demo").url("parquet"), partitioning="hive")
    assert only.to_table(filter=pyarrow.dataset.field("domain") == "weather").num_rows == 24 * 3


NEWEST = """
    SELECT unique_id, ds, q50, units, model FROM read_parquet('{}/**/*.parquet', hive_partitioning = true)
    WHERE domain = 'traffic' AND issue_date = '2014-09-30'
    QUALIFY revision = max(revision) OVER (PARTITION BY unique_id, cutoff) AND cutoff = min(cutoff) OVER ()
    ORDER BY unique_id, ds
"""


def test_duckdb_asks_for_the_newest_revision_in_one_query(store: ObjectStore) -> None:
    found = duckdb.sql(NEWEST.format(PublishedStore(store, "demo").url("parquet"))).pl()
    assert len(found) == 12 * 7 * 2
    first = min(TRAFFIC.node_ids)
    expected = TRAFFIC.quantiles_LNVQ[0, TRAFFIC.node_ids.index(first), 1, MEDIAN] + np.float32(1)
    row = found.row(0, named=True)
    assert row["unique_id"] == f"{first}/average_speed"
    assert (row["q50"], row["units"], row["model"]) == (pytest.approx(float(expected)), "km/h", "joint")


def test_polars_scans_the_partitions_and_reads_only_what_is_asked(store: ObjectStore) -> None:
    folder = PublishedStore(store, "demo").url("parquet")
    lazy = pl.scan_parquet(f"{folder}/**/*.parquet", hive_partitioning=True)
    found = lazy.filter((pl.col("domain") == "market") & (pl.col("lead_s") > 0)).select("ds", "cutoff", "q05", "q95").collect()
    assert found.height == 5 * 4 * 3
    assert (found["q05"] <= found["q95"]).all()
    assert found["ds"].dtype.time_zone == "UTC"


def test_nothing_is_visible_before_the_record_and_latest_follows_the_newest_issue_time(tmp_path: Path) -> None:
    objects = ObjectStore(str(tmp_path))
    published = PublishedStore(objects, "demo")
    published.put_product(published.parquet_key(ISSUE_TIME, "traffic", 0), b"half")
    assert published.record(ISSUE_TIME) is None
    assert published.issue_times() == []
    assert published.renew_latest() is False
    publish(objects, replace(FORECAST, issue_time=ISSUE_TIME + 3600))
    publish(objects)
    latest = json.loads(published.read_view("latest.json"))
    assert latest["issue_time"] == "2014-09-30T17:00:00Z"
    assert set(latest["parquet"]) == set(FORECAST.domains)
    assert published.newest(5) == [ISSUE_TIME, ISSUE_TIME + 3600]


def test_publishing_the_same_twice_writes_nothing(tmp_path: Path) -> None:
    objects = ObjectStore(str(tmp_path))
    first = publish(objects)
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    assert publish(objects) == first
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before


@pytest.mark.parametrize("harm", [lambda b: b[:-9], lambda b: bytes([b[0] ^ 1]) + b[1:], None])
def test_a_damaged_or_lost_file_is_noticed_and_written_anew(tmp_path: Path, harm) -> None:
    objects, published = ObjectStore(str(tmp_path)), PublishedStore(ObjectStore(str(tmp_path)), "demo")
    record = publish(objects)
    key = record["parquet"]["weather"]
    path = tmp_path / key
    good = path.read_bytes()
    path.unlink() if harm is None else path.write_bytes(harm(good))
    assert not published.is_whole(key, record["sha256"][key])
    publish(objects)
    assert path.read_bytes() == good
    assert published.is_whole(key, record["sha256"][key])

"""Parquet, with known answers."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from pipeline.errors import ContractError
from pipeline.sources.adapter import Readings
from pipeline.sources.parquet import ParquetAdapter
from tests.unit.sources.made import at, parquet, source

MOMENT = datetime(2020, 3, 1, tzinfo=UTC)
LONG = {"time": "t", "node_column": "n"}


def parse(data: bytes, zone: str = "UTC", **options: Any) -> Readings:
    found = ParquetAdapter().parse(source("parquet", {**LONG, **options}, timezone=zone), {"x.parquet": data})
    assert found.raw_rows == len(found) + len(found.rejected)
    return found


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_instants_of_every_unit_are_read_as_they_are(unit: str) -> None:
    data = parquet(t=pa.array([MOMENT, None], pa.timestamp(unit, tz="UTC")), n=["x", "x"], a=[1, 2])
    found = parse(data)
    assert found.valid_time.tolist() == [at("2020-03-01T00:00")]
    assert found.rejected.reason == ("no stamp",)


def test_stamps_without_zone_are_local_and_texts_are_read_by_their_form() -> None:
    naive = pa.array([1593568800 * 10**6], pa.timestamp("us"))
    for time in (naive, pa.array(["2020-07-01T02:00:00"])):
        assert parse(parquet(t=time, n=["x"], a=[1.0]), "Europe/Copenhagen").valid_time.tolist() == [at("2020-07-01T00:00")]
    assert parse(parquet(t=["2020-07-01T02:00:00Z"], n=["x"], a=[1.0]), "Europe/Copenhagen").valid_time.tolist() == [at("2020-07-01T02:00")]
    assert parse(parquet(t=[1583020800], n=[7], a=[1.0]), time_format="epoch_s").node_ids == ("7",)


def test_a_date_is_a_session() -> None:
    found = parse(parquet(t=[date(2014, 7, 1)], n=["x"], a=[1.0]), time_format="session", calendar="XNYS")
    assert found.valid_time.tolist() == [at("2014-07-01T20:00")]


def test_missing_stays_missing_and_infinite_is_rejected() -> None:
    times = pa.array([MOMENT] * 4, pa.timestamp("s", tz="UTC"))
    found = parse(parquet(t=times, n=["x", "x", "x", None], a=[None, float("nan"), float("inf"), 1.0]))
    assert np.isnan(found.values["a"]).tolist() == [True, True]
    assert found.rejected.reason == ("column 'a': inf is no number", "no node")


def test_numbers_written_as_text_follow_the_rules_of_text() -> None:
    found = parse(parquet(t=pa.array([MOMENT] * 3, pa.timestamp("s", tz="UTC")), n=["x"] * 3, a=["1", "1e999", "fast"]))
    assert found.values["a"].tolist() == [1.0]
    assert found.rejected.row == (2, 3)


def test_a_stamp_beyond_int64_nanoseconds_is_rejected_and_not_wrapped() -> None:
    found = parse(parquet(t=pa.array([2**60, 0], pa.timestamp("ms", tz="UTC")), n=["x", "x"], a=[1, 2]))
    assert found.valid_time.tolist() == [0]
    assert "outside" in found.rejected.reason[0]


def test_a_column_missing_or_of_another_type_is_refused_by_name() -> None:
    with pytest.raises(ContractError, match=r"column 'n' of x\.parquet"):
        parse(parquet(t=[1], N=["x"], a=[1]))
    with pytest.raises(ContractError, match=r"column 'a'.*bool"):
        parse(parquet(t=[1], n=["x"], a=[True]), time_format="epoch_s")


def test_declared_sizes_beyond_the_limit_are_refused_before_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.sources.parquet.MAX_BYTES", 1000)
    with pytest.raises(ContractError, match="declared"):
        parse(parquet(t=list(range(10_000)), n=["x"] * 10_000, a=[1] * 10_000), time_format="epoch_s")

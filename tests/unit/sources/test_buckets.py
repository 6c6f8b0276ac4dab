"""Objects on S3 as parts, against a real S3 server (moto)."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from pipeline.contracts.worlds import Source
from pipeline.errors import ConfigError, NotYetAvailable
from pipeline.settings import Settings
from pipeline.sources.buckets import bucket_parts
from pipeline.sources.csv import CsvAdapter
from pipeline.stores.landing import LandingStore
from pipeline.stores.objects import ObjectStore


@pytest.mark.parametrize("account", ["", "anonymous@"])
def test_objects_are_found_sorted_within_one_level_with_and_without_account(bucket: str, account: str) -> None:
    assert [p.name for p in bucket_parts(f"s3://{account}feeds/a/*.csv")] == ["1.csv", "2.csv"]
    [one] = bucket_parts(f"s3://{account}feeds/c.csv")
    assert one.read() == b"t,a\nc.csv"
    assert one.location == "s3://feeds/c.csv"


@pytest.mark.parametrize("location", ["s3://", "s3://feeds", "s3://fe*ds/x", "s3://feeds/**", "s3://feeds/../x", "s3://a@b@feeds/x"])
def test_a_location_without_bucket_and_key_is_refused(location: str) -> None:
    with pytest.raises(ConfigError, match="location"):
        bucket_parts(location)


def test_what_is_not_there_may_come_later(bucket: str) -> None:
    for location in ("s3://feeds/d.csv", "s3://feeds/x/*.csv", "s3://elsewhere/x.csv"):
        with pytest.raises(NotYetAvailable):
            bucket_parts(location)


def test_an_object_that_has_not_changed_is_not_fetched_again(bucket: str, tmp_path: Path) -> None:
    [part] = bucket_parts("s3://feeds/c.csv")
    assert part.fetch is not None
    first = part.fetch(None)
    assert first is not None
    assert part.fetch(first.validators) is None
    fields = {"adapter": "csv", "locations": ["s3://feeds/a/*.csv"], "options": {"time": "t", "node": "x"}}
    source = Source.model_validate({**fields, "variables": {"a": {"unit": "count"}}})
    store = LandingStore(ObjectStore(str(tmp_path)), "w", "s")
    settings = Settings(store=str(tmp_path), data=None, dask=None)
    for moment, count in ((1, 2), (2, 0)):
        assert len(store.land(CsvAdapter().deliveries(source, settings, datetime(2020, 1, 1, tzinfo=UTC)), moment)) == count

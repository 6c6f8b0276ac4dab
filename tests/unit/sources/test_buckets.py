"""Objects on S3 as parts, against a real S3 server (moto)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
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


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    import boto3
    import s3fs
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    endpoint = "http://{}:{}".format(*server.get_host_and_port())
    for name, value in {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_DEFAULT_REGION": "eu-west-1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    s3fs.S3FileSystem.clear_instance_cache()
    client = boto3.client("s3", endpoint_url=endpoint, region_name="eu-west-1")
    with contextlib.suppress(client.exceptions.BucketAlreadyOwnedByYou):  # moto keeps its state within a process
        client.create_bucket(Bucket="feeds", ACL="public-read", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    for key in ("a/2.csv", "a/1.csv", "a/.hidden.csv", "a/b/3.csv", "c.csv"):
        client.put_object(Bucket="feeds", Key=key, Body=b"t,a\n" + key.encode(), ACL="public-read")
    yield endpoint
    s3fs.S3FileSystem.clear_instance_cache()
    server.stop()


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

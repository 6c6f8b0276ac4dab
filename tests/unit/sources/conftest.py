"""What tests of sources share: a real S3 server, and hurried requests."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

from pipeline.sources.web import Policy


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


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.sources.web.POLICY", Policy(attempts=2, first_wait=0.01, longest_wait=0.1, read=2.0, spacing=0.0))

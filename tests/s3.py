"""An S3 service on loopback, for tests: real requests, and a store that no one else sees."""

import itertools
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

_NUMBERS = itertools.count()


@contextmanager
def s3_store() -> Iterator[str]:
    """The root of an empty store on S3; credentials and address lie in the environment, as for any user."""
    import s3fs
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {
            "AWS_ENDPOINT_URL": f"http://{host}:{port}",
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_DEFAULT_REGION": "us-east-1",
        }.items():
            patch.setenv(name, value)
        s3fs.S3FileSystem.clear_instance_cache()
        bucket = f"tests-{next(_NUMBERS)}"  # what a server holds outlives it
        s3fs.S3FileSystem().mkdir(bucket)
        yield f"s3://{bucket}/store"
        s3fs.S3FileSystem.clear_instance_cache()
    server.stop()

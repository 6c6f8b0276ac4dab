"""An S3 that takes requests and never answers."""

import socket
import threading

import pytest
import zarr

from pipeline.errors import StoreError
from pipeline.stores import objects
from pipeline.stores.repositories import open_repository


@pytest.fixture
def silent(monkeypatch):
    """The address of a server that never answers; it hangs up in the end."""
    taken = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def take():
            while True:
                try:
                    taken.append(server.accept()[0])
                except OSError:
                    return

        thread = threading.Thread(target=take, daemon=True)
        thread.start()
        for name, value in {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{server.getsockname()[1]}",
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_DEFAULT_REGION": "us-east-1",
        }.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(objects, "S3_PATIENCE", 0.1)
        yield
        server.shutdown(socket.SHUT_RDWR)
        thread.join()
    for connection in taken:
        connection.close()


def test_a_silent_s3_is_not_waited_for_without_end(silent):
    with zarr.config.set({"async.timeout": None}), pytest.raises(StoreError, match=r"no answer within 3 s"):
        open_repository("s3://bucket/store/cubes/tiny", create=False)

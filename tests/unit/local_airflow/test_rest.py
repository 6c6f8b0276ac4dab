"""Airflow's REST API, with a small server in place of Airflow."""

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from pipeline.errors import StoreError
from pipeline.local_airflow import rest
from pipeline.local_airflow.rest import Rest

HEALTHY = {"metadatabase": {"status": "healthy"}, "scheduler": {"status": "healthy"}}


@contextmanager
def airflow_of(password, content=HEALTHY, *, badge="t", elsewhere=None, failures=0):
    """A healthy api-server that knows this password, and answers who has its token (`badge`); or sends on to somewhere else, or fails at first."""
    left = [500] * failures

    class Server(BaseHTTPRequestHandler):
        def do_GET(self):
            ours = self.headers["Authorization"] in (None, f"Bearer {badge}")
            self.answer(left.pop() if left else 302 if elsewhere else 200 if ours else 403, content)

        do_DELETE = do_PATCH = do_GET

        def do_POST(self):
            given = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["password"]
            self.answer(201 if given == password else 401, {"access_token": badge})

        def answer(self, code, content):
            body = json.dumps(content).encode()
            self.send_response(code)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Location", f"{elsewhere}{self.path}")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Server)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_an_airflow_that_refuses_our_password_is_that_of_another_store_and_not_ready():
    with airflow_of("ours") as address:
        assert Rest(address, "admin", "ours").healthy()
        assert not Rest(address, "admin", "another's").healthy()
    assert not Rest(address, "admin", "ours").healthy()


def test_what_can_be_repeated_is_asked_again_where_a_busy_database_refuses_and_given_up_in_the_end(monkeypatch):
    monkeypatch.setattr(rest, "_REST", 0)
    with airflow_of("ours", failures=3) as address:
        Rest(address, "admin", "ours").delete("/dags/a/assets/queuedEvents")
    with airflow_of("ours", failures=4) as address, pytest.raises(StoreError, match="PATCH /dags/a of Airflow's REST API: 500"):
        Rest(address, "admin", "ours").patch("/dags/a", {})

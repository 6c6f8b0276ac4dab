"""Airflow's REST API, with a small server in place of Airflow."""

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

from pipeline.local_airflow.rest import Rest

HEALTHY = {"metadatabase": {"status": "healthy"}, "scheduler": {"status": "healthy"}}


@contextmanager
def airflow_of(password, content=HEALTHY, *, badge="t", elsewhere=None):
    """A healthy api-server that knows this password, and answers who has its token (`badge`); or sends on to somewhere else."""

    class Server(BaseHTTPRequestHandler):
        def do_GET(self):
            ours = self.headers["Authorization"] in (None, f"Bearer {badge}")
            self.answer(302 if elsewhere else 200 if ours else 403, content)

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

"""A provider on this machine: answers GETs as told, and remembers what it was asked."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What is sent; `declared` lies about the length of the body, after which the connection ends. Status 0: it ends at once."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    declared: int | None = None


@dataclass(frozen=True, kw_only=True)
class Asked:
    path: str
    query: dict[str, str]
    headers: dict[str, str]


@dataclass(kw_only=True)
class Provider:
    """`answer(asked, n)` answers the n-th request (from 0)."""

    answer: Callable[[Asked, int], Answer]
    asked: list[Asked] = field(default_factory=list)
    port: int = 0

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    def url(self, path: str) -> str:
        return f"http://{self.host}{path}"


@contextmanager
def provider(answer: Callable[[Asked, int], Answer] | list[Answer]) -> Iterator[Provider]:
    """A running provider; a list is answered in order, its last answer again and again."""
    if isinstance(answer, list):
        script = answer
        made = Provider(answer=lambda _, n: script[min(n, len(script) - 1)])
    else:
        made = Provider(answer=answer)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            split = urlsplit(self.path)
            query = {key: values[0] for key, values in parse_qs(split.query, keep_blank_values=True).items()}
            asked = Asked(path=split.path, query=query, headers={k.lower(): v for k, v in self.headers.items()})
            made.asked.append(asked)
            given = made.answer(asked, len(made.asked) - 1)
            self.close_connection = True
            if given.status == 0:
                return
            self.send_response(given.status)
            for key, value in given.headers.items():
                self.send_header(key, value)
            if given.status not in (204, 304):
                self.send_header("Content-Length", str(len(given.body) if given.declared is None else given.declared))
            self.end_headers()
            self.wfile.write(given.body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    made.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield made
    finally:
        server.shutdown()
        server.server_close()
        thread.join()

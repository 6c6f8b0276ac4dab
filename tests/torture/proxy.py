"""A small proxy in front of an S3 server that loses, cuts, bends and delays what passes, as told; and kills who asks, as told.

What Amazon's S3 does and moto does not, it does too: a body that does not fit the checksum sent with it is refused (BadDigest).
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import http.client
import os
import random
import signal
import socket
import struct
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal

Fault = Literal[
    "503", "409", "reset", "cut answer", "short answer", "cut request", "stall", "lost answer", "flipped answer", "flipped request"
]
FAULTS: tuple[Fault, ...] = (
    "503",
    "409",
    "reset",
    "cut answer",
    "short answer",
    "cut request",
    "stall",
    "lost answer",
    "flipped answer",
    "flipped request",
)
WRITES = ("PUT", "POST", "DELETE")
_ERROR = '<?xml version="1.0" encoding="UTF-8"?><Error><Code>{}</Code><Message>{}</Message></Error>'


@dataclass
class Plan:
    """What befalls whom: `fault` the requests numbered from `first` (of those that it can befall), `times` of them; death at a write.

    `seen` counts requests that the fault can befall, `struck` those that it has, `unproved` writes without any checksum.
    """

    fault: Fault | None = None
    first: int = 0
    times: int = 1
    kill_at_write: int | None = None
    kill_after_applied: bool = False
    pid: int | None = None
    stall: float = 30.0
    seed: int = 0
    seen: int = 0
    struck: int = 0
    writes: int = 0
    unproved: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Answer:
    status: int
    reason: str
    headers: list[tuple[str, str]]
    body: bytes


class Proxy(ThreadingHTTPServer):
    """Forwards to `upstream` (`127.0.0.1:port`); what happens on the way is `plan`."""

    daemon_threads = True

    def __init__(self, upstream: str) -> None:
        self.upstream, self.plan, self.lock = upstream, Plan(), threading.Lock()
        super().__init__(("127.0.0.1", 0), _Handler)

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that die are what this is about."""

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server_address[1]}"


@contextlib.contextmanager
def proxy_to(endpoint: str) -> Iterator[Proxy]:
    """A proxy that listens and forwards to an address such as `http://127.0.0.1:5000`."""
    server = Proxy(endpoint.removeprefix("http://"))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Proxy

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass

    def setup(self) -> None:
        super().setup()
        self.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._upstream = http.client.HTTPConnection(self.server.upstream, timeout=60)

    def finish(self) -> None:
        self._upstream.close()
        with contextlib.suppress(OSError):
            super().finish()

    def _serve(self) -> None:
        body = self._body()
        plan = self.server.plan
        strike, number = self._admit(plan, body)
        if strike == "503":
            return self._answer(_refusal(503, "SlowDown", "Please reduce your request rate."))
        if strike == "409":
            return self._answer(_refusal(409, "ConditionalRequestConflict", "A conflicting operation is in progress."))
        if strike == "reset":
            return self._reset()
        if strike == "stall":
            time.sleep(plan.stall)
        rng = random.Random(f"{plan.seed} {plan.seen}")
        if strike == "cut request":
            body = body[: rng.randrange(len(body))]
        if strike == "flipped request":
            body = _flipped(body, rng)
        if number is not None and number == plan.kill_at_write and not plan.kill_after_applied:
            return self._kill(plan)
        answer = self._forward(body, plan)
        if number is not None and number == plan.kill_at_write:
            return self._kill(plan)
        if strike == "lost answer":
            return self._reset()
        if strike == "cut answer":
            return self._answer(answer, sent=rng.randrange(max(len(answer.body), 1)))
        if strike == "short answer":
            body = answer.body[: rng.randrange(max(len(answer.body), 1))]
            return self._answer(_Answer(answer.status, answer.reason, answer.headers, body))
        if strike == "flipped answer" and answer.status < 300 and answer.body:
            answer = _Answer(answer.status, answer.reason, answer.headers, _flipped(answer.body, rng))
        return self._answer(answer)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _serve

    def _admit(self, plan: Plan, body: bytes) -> tuple[Fault | None, int | None]:
        """Whether the fault befalls this request, and its number among the writes."""
        with self.server.lock:
            number = None
            if self.command in WRITES:
                number, plan.writes = plan.writes, plan.writes + 1
            if plan.fault is None or not _can_befall(
                plan.fault, self.command, self.path, body, conditional="If-None-Match" in self.headers
            ):
                return None, number
            plan.seen += 1
            if not plan.first < plan.seen <= plan.first + plan.times:
                return None, number
            plan.struck += 1
            return plan.fault, number

    def _body(self) -> bytes:
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            data = b""
            while size := int(self.rfile.readline().split(b";")[0], 16):
                data += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return data
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _forward(self, body: bytes, plan: Plan) -> _Answer:
        if self.command == "PUT" and body:
            wrong = _wrong_checksum(self.headers, body)
            if wrong is None:
                plan.unproved.append(self.path)
            elif wrong:
                code = "XAmzContentSHA256Mismatch" if wrong == "x-amz-content-sha256" else "BadDigest"
                return _refusal(400, code, f"The {wrong} you specified did not match what we received.")
        skipped = {"transfer-encoding", "content-length", "connection", "expect"}
        headers = {name: value for name, value in self.headers.items() if name.lower() not in skipped}
        headers["Content-Length"] = str(len(body))
        for again in (True, False):
            try:
                self._upstream.request(self.command, self.path, body, headers)
                found = self._upstream.getresponse()
                break
            except (http.client.RemoteDisconnected, ConnectionError, http.client.CannotSendRequest):
                self._upstream.close()
                if not again:
                    raise
        return _Answer(found.status, found.reason, found.getheaders(), found.read())

    def _answer(self, answer: _Answer, sent: int | None = None) -> None:
        self.send_response_only(answer.status, answer.reason)
        for name, value in answer.headers:
            if name.lower() not in ("transfer-encoding", "connection", "content-length"):
                self.send_header(name, value)
        length = next((v for n, v in answer.headers if n.lower() == "content-length"), "0") if self.command == "HEAD" else len(answer.body)
        if answer.status != 204:
            self.send_header("Content-Length", str(length))
        self.end_headers()
        with contextlib.suppress(OSError):
            if self.command != "HEAD":
                self.wfile.write(answer.body if sent is None else answer.body[:sent])
        if sent is not None:
            self._reset()

    def _kill(self, plan: Plan) -> None:
        if plan.pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(plan.pid, signal.SIGKILL)
        self._reset()

    def _reset(self) -> None:
        """End the connection as a broken network does."""
        with contextlib.suppress(OSError):
            self.wfile.flush()
            self.request.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True


def _can_befall(fault: Fault, method: str, path: str, body: bytes, *, conditional: bool) -> bool:
    if fault == "409":
        return method == "PUT" and conditional
    if fault in ("flipped request", "cut request"):
        return method == "PUT" and bool(body)
    if fault == "lost answer":
        return method in WRITES
    if fault == "flipped answer":  # of objects: nobody could check a listing
        return method == "GET" and "list-type" not in path
    return method == "GET" or fault in ("503", "reset", "stall")


def _refusal(status: int, code: str, message: str) -> _Answer:
    return _Answer(status, code, [("Content-Type", "application/xml")], _ERROR.format(code, message).encode())


def _flipped(data: bytes, rng: random.Random) -> bytes:
    bent = bytearray(data)
    bent[rng.randrange(len(bent))] ^= 1 << rng.randrange(8)
    return bytes(bent)


def _wrong_checksum(headers: object, body: bytes) -> str | None:
    """What does not fit the body, "" where all fits, None where the request came without any checksum."""
    get: Callable[[str], str | None] = headers.get  # type: ignore[attr-defined]
    content, proved = body, False
    sha = get("x-amz-content-sha256") or ""
    if sha.startswith("STREAMING"):
        try:
            content, trailer = _unpacked(body)
        except ValueError:
            return "the body is cut"
    else:
        trailer = {}
        if len(sha) == 64:
            proved = True
            if hashlib.sha256(body).hexdigest() != sha:
                return "x-amz-content-sha256"
    for name, of in _CHECKSUMS.items():
        said = get(name) or trailer.get(name)
        if said:
            proved = True
            if base64.b64encode(of(content)).decode() != said:
                return name
    return "" if proved else None


_CHECKSUMS: dict[str, Callable[[bytes], bytes]] = {
    "content-md5": lambda data: hashlib.md5(data).digest(),  # noqa: S324
    "x-amz-checksum-crc32": lambda data: zlib.crc32(data).to_bytes(4, "big"),
    "x-amz-checksum-sha256": lambda data: hashlib.sha256(data).digest(),
}


def _unpacked(body: bytes) -> tuple[bytes, dict[str, str]]:
    """Content and trailer of an aws-chunked body.

    Raises:
        ValueError: It is cut or bent.
    """
    content, rest = b"", body
    while True:
        head, found, rest = rest.partition(b"\r\n")
        size = int(head.split(b";")[0], 16)
        if not found or len(rest) < size:
            raise ValueError(head)
        if not size:
            break
        content, rest = content + rest[:size], rest[size:].removeprefix(b"\r\n")
    lines = (line.partition(b":") for line in rest.split(b"\r\n") if line)
    return content, {name.decode().lower(): value.decode().strip() for name, _, value in lines}

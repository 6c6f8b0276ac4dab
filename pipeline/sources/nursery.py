"""Work on a file in a process of its own that is there at once: a nursery with the decoder loaded divides itself for each.

A damaged file can end the process that decodes it, and no other. The nursery is the program `grib_decoder`; it ends with its owner.
"""

from __future__ import annotations

import atexit
import json
import os
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from threading import Lock
from typing import Any

from pipeline.settings import child_environment

NUMBER = struct.Struct("<q")
"""As the nursery tells who works, and how that ended."""
_DIED = -signal.SIGKILL
_LOCK = Lock()
_OURS: dict[int, _Nursery] = {}
"""By process, since a fork must not share its parent's."""


def decode_apart(request: dict[str, Any], data: bytes, limit: float, *, shared: int | None = None) -> subprocess.CompletedProcess[bytes]:
    """What `decoded_columns` of a GRIB file answers, or `decoded_slabs` into shared memory; the status is negative where a signal ended it.

    Raises:
        TimeoutExpired: It took longer than `limit` seconds, and was ended.
    """
    with ExitStack() as stack:
        files = [stack.enter_context(_in_memory(content)) for content in (json.dumps(request).encode(), data, b"", b"")]
        ours, theirs = socket.socketpair()
        with ours:
            with theirs:
                _hand_over([*files, theirs.fileno(), *([] if shared is None else [shared])])
            status = _outcome(ours, limit)
        output, errors = (os.pread(file, os.fstat(file).st_size, 0) for file in files[2:])
    return subprocess.CompletedProcess(args="decode", returncode=status, stdout=output, stderr=errors)


def _outcome(told: socket.socket, limit: float) -> int:
    told.settimeout(limit)
    worker = b""
    try:
        worker = told.recv(NUMBER.size)
        status = told.recv(NUMBER.size) if worker else b""
    except TimeoutError as error:
        if worker:
            os.kill(NUMBER.unpack(worker)[0], signal.SIGKILL)
        raise subprocess.TimeoutExpired("decode", limit) from error
    return int(NUMBER.unpack(status)[0]) if status else _DIED


@contextmanager
def _in_memory(content: bytes) -> Iterator[int]:
    """An open file in memory, to be read from its beginning."""
    file = os.memfd_create("work")
    try:
        with open(file, "wb", closefd=False) as sink:
            sink.write(content)
        os.lseek(file, 0, os.SEEK_SET)
        yield file
    finally:
        os.close(file)


class _Nursery:
    """The process that divides itself, and the way to it."""

    def __init__(self) -> None:
        self.way, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603
                [sys.executable, "-m", "pipeline.sources.grib_decoder", str(theirs.fileno())],
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                env=child_environment(),
            )

    def close(self) -> None:
        """Let it end."""
        self.way.close()
        self._process.wait()


def _hand_over(files: list[int]) -> None:
    """Files to the nursery of this process, which is begun where there is none or it was killed."""
    with _LOCK:
        known = _OURS.get(os.getpid())
        if known is not None:
            try:
                socket.send_fds(known.way, [b"."], files)
            except ConnectionError:
                known.close()
            else:
                return
        begun = _OURS[os.getpid()] = _Nursery()
        socket.send_fds(begun.way, [b"."], files)


@atexit.register
def _end() -> None:
    found = _OURS.pop(os.getpid(), None)
    if found is not None:
        found.close()

"""The nursery: a process with the decoder of GRIB loaded that divides itself for each file, and ends with its owner.

`python -m pipeline.sources.decoder FD`, begun by `nursery.py` alone.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import traceback
from functools import partial
from typing import NoReturn

from pipeline.sources import grib_messages, grib_slabs
from pipeline.sources.nursery import NUMBER


def _attend(files: list[int]) -> NoReturn:
    """Let a child work on the files, and tell who it is and how it ended."""
    told = files[4]
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    worker = os.fork()
    if worker == 0:
        _work(*files[:4], *files[5:])
    os.write(told, NUMBER.pack(worker))
    _, status = os.waitpid(worker, 0)
    os.write(told, NUMBER.pack(os.waitstatus_to_exitcode(status)))
    os._exit(0)


def _work(asked: int, given: int, output: int, errors: int, *shared: int) -> NoReturn:
    status = 1
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.dup2(errors, 2)
    try:
        with open(asked, "rb") as request, open(given, "rb") as data, open(output, "wb") as sink:
            words = json.load(request)
            made = partial(grib_slabs.decoded_slabs, shared=shared[0]) if shared else grib_messages.decoded_columns
            status = grib_messages.answer(lambda: made(data.read(), words), sink)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


def main() -> int:
    """Divide for every message that comes through the socket of this number, until its other end is closed."""
    way = socket.socket(fileno=int(sys.argv[1]))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    grib_messages.warm()
    while True:
        _, files, _, _ = socket.recv_fds(way, 1, 8)
        if not files:
            return 0
        if os.fork() == 0:
            way.close()
            _attend(files)
        for file in files:
            os.close(file)


if __name__ == "__main__":
    sys.exit(main())

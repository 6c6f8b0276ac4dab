"""The nursery of decoders, a program: eccodes is loaded once, and each file is decoded by a child that knows it already."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import traceback
from typing import Any, NoReturn

from numpy.typing import NDArray

from pipeline.errors import ConfigError, ContractError
from pipeline.sources.grib_messages import answer, axes, decoded_columns, eccodes_module, messages
from pipeline.sources.grib_slabs import decoded_slabs
from pipeline.sources.nursery import NUMBER

Origin = tuple[tuple[str, int], ...]
"""Centre, and the tables that a message names."""
_MOST_ORIGINS = 64


def main() -> int:
    """Divide for every message that comes through the socket of this number, until its other end is closed."""
    way = socket.socket(fileno=int(sys.argv[1]))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    known: set[Origin] = set()
    _warm()
    while True:
        _, files, _, _ = socket.recv_fds(way, 1, 8)
        if not files:
            return 0
        _acquaint(files[1], known)
        if os.fork() == 0:
            way.close()
            _attend(files)
        for file in files:
            os.close(file)


def _warm() -> None:
    """Load what decoding loads once, where it is there."""
    try:
        codes = eccodes_module()
    except ConfigError:
        return  # said to whoever asks
    for edition in (1, 2):
        handle = codes.codes_grib_new_from_samples(f"regular_ll_sfc_grib{edition}")
        for message in messages(codes.codes_get_message(handle), "a sample"):
            axes(message)
            message.all_values(1)
        codes.codes_release(handle)


def _acquaint(given: int, known: set[Origin]) -> None:
    """Load the tables that the first message of a file names, by a sample that names them too: children would each read them for itself."""
    head = os.pread(given, 32, 0)
    if len(head) < 32 or head[:4] != b"GRIB" or head[7] not in (1, 2) or len(known) >= _MOST_ORIGINS:
        return
    if head[7] == 2:
        origin = {
            "discipline": head[6],
            "centre": int.from_bytes(head[21:23], "big"),
            "tablesVersion": head[25],
            "localTablesVersion": head[26],
        }
        unknown = {"parameterCategory": 255, "parameterNumber": 255}
    else:
        origin, unknown = {"centre": head[12], "table2Version": head[11]}, {"indicatorOfParameter": 255}
    if (named := tuple(origin.items())) in known:
        return
    known.add(named)
    codes = eccodes_module()
    handle = codes.codes_grib_new_from_samples(f"regular_ll_sfc_grib{head[7]}")
    try:
        for key, value in (origin | unknown).items():  # what is unknown is looked for in every table
            codes.codes_set(handle, key, value)
        for _ in messages(codes.codes_get_message(handle), "a sample"):
            pass
    except (ContractError, codes.CodesInternalError):
        return  # whoever decodes is told
    finally:
        codes.codes_release(handle)


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

            def made() -> dict[str, NDArray[Any]]:
                return decoded_slabs(data.read(), words, shared=shared[0]) if shared else decoded_columns(data.read(), words)

            status = answer(made, sink)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    sys.exit(main())

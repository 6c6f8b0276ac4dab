"""Processes that end together: a child that dies with its parent, and a keeper that leaves nobody behind (Linux)."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import pwd
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_LIBC = ctypes.CDLL(None, use_errno=True)


def die_with_parent(parent: int) -> None:
    """Let the kernel kill this process when the thread that started it ends; ends at once if `parent` is gone already."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(128 + signal.SIGKILL)


@contextlib.contextmanager
def heard_by_us_alone() -> Iterator[None]:
    """A Ctrl-C, which a terminal sends to all, reaches neither processes nor threads begun here, nor what these begin; nor us until the end."""
    from multiprocessing import resource_tracker

    resource_tracker.ensure_running()  # else begun by one of those threads, whose signals it would unblock
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent ends, so that `end_descendants` finds it."""
    _LIBC.prctl(_PR_SET_CHILD_SUBREAPER, 1)


def descendants(root: int) -> list[int]:
    """The living processes below `root`, parents first (zombies are left out)."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
                if state != "Z":
                    children.setdefault(int(parent), []).append(int(entry.name))
    found, waiting = [], [root]
    while waiting:
        below = children.get(waiting.pop(), [])
        found += below
        waiting += below
    return found


def end_descendants(grace: float) -> None:
    """End every process below this one: SIGTERM, then SIGKILL to those that live on after `grace` seconds."""
    deadline = time.monotonic() + grace
    _signal(descendants(os.getpid()), signal.SIGTERM)
    while _reap_and_list() and time.monotonic() < deadline:
        time.sleep(0.05)
    while alive := _reap_and_list():
        _signal(alive, signal.SIGKILL)
        time.sleep(0.02)


def _signal(pids: list[int], number: int) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def _reap_and_list() -> list[int]:
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    return descendants(os.getpid())


def identity(user: str | None) -> dict[str, Any]:
    """The arguments of Popen that make a process run as a user and in no group but the user's own; none for ourselves."""
    return {"user": user, "group": pwd.getpwnam(user).pw_gid, "extra_groups": []} if user else {}


def keep() -> None:
    """Start and watch the commands named on stdin, and end them and all below them once stdin closes or SIGTERM comes.

    A line in is `{"name", "argv", "log", "env"}`, and `user` where it is not to be ours; a line out is `{"ended": name, "code"}`. Whoever holds the other end of
    stdin may be killed in any way: the kernel closes it.
    """
    adopt_orphans()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    running: dict[str, subprocess.Popen[bytes]] = {}
    buffer = b""
    try:
        while True:
            if select.select([0], [], [], 0.25)[0]:
                block = os.read(0, 65536)
                if not block:
                    return
                *lines, buffer = (buffer + block).split(b"\n")
                for line in lines:
                    running.update(_start(line))
            for name in [n for n, process in running.items() if process.poll() is not None]:
                print(json.dumps({"ended": name, "code": running.pop(name).returncode}), flush=True)
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        end_descendants(grace=4)


def _start(line: bytes) -> dict[str, subprocess.Popen[bytes]]:
    order = json.loads(line)
    parent = os.getpid()
    with Path(order["log"]).open("wb") as log:
        process = subprocess.Popen(  # noqa: S603
            order["argv"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            env=order["env"],
            stderr=log,
            start_new_session=True,
            **identity(order.get("user")),
            preexec_fn=lambda: die_with_parent(parent),
        )
    return {order["name"]: process}


if __name__ == "__main__":
    keep()

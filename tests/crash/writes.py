"""Writes to a disk, counted by the process that makes them."""

from __future__ import annotations

import functools
import os
import signal
from collections.abc import Callable
from typing import Any


def count_writes(kill_at: int | None) -> list[int]:
    """Make every write of this process to a disk count itself, and kill the process before number `kill_at`."""
    import icechunk
    import zarr

    count = [0]

    def counting(call: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(call)
        def counted(*args: Any, **kwargs: Any) -> Any:
            if count[0] == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)
            count[0] += 1
            return call(*args, **kwargs)

        return counted

    for owner, name in (
        (os, "link"),
        (os, "replace"),
        (icechunk.Session, "flush"),
        (icechunk.Repository, "reset_branch"),
        (zarr.Array, "__setitem__"),
    ):
        setattr(owner, name, counting(getattr(owner, name)))
    return count

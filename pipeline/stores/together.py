"""Several objects of a Zarr store read or written in one go: each call of its own waits for Zarr's event loop, which a small chunk feels."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

_ON_THEIR_WAY, _THREADS, _BYTES = 16, 8, 64 * 2**20
"""Groups of objects at once, and threads that use them, at most; bytes of the groups on their way, if more than two of them."""


def get_together(
    store: Any, wanted: Sequence[Sequence[str]], use: Callable[[int, list[NDArray[np.uint8] | None]], None], *, most: int = 1
) -> None:
    """Get the objects of each group of keys, and `use` them (None where nothing lies under a key) on a thread while others are on their way.

    Args:
        store: Where they lie.
        wanted: The groups.
        use: Called once for each group, with its number.
        most: Bytes that a group has at most.

    Raises:
        Exception: The first that the store or `use` raised; no further group is begun then.
    """
    from zarr.core.buffer import default_buffer_prototype
    from zarr.core.sync import sync

    prototype, failed = default_buffer_prototype(), list[BaseException]()

    async def one(number: int, gate: asyncio.Semaphore, pool: Executor) -> None:
        async with gate:
            if failed:
                return
            try:
                found = await asyncio.gather(*(store.get(key, prototype) for key in wanted[number]))
                stored = [None if f is None else np.asarray(f.as_numpy_array()) for f in found]
                await asyncio.get_running_loop().run_in_executor(pool, use, number, stored)
            except BaseException as error:
                failed.append(error)

    async def every(pool: Executor) -> None:
        gate = asyncio.Semaphore(min(max(_BYTES // most, 2), _ON_THEIR_WAY))
        await asyncio.gather(*(one(number, gate, pool) for number in range(len(wanted))))

    with ThreadPoolExecutor(min(len(os.sched_getaffinity(0)), _THREADS)) as pool:
        sync(every(pool))
    if failed:
        raise failed[0]


def put_together(store: Any, values: Mapping[str, bytes]) -> None:
    """Put bytes under each key."""
    from zarr.core.buffer import default_buffer_prototype
    from zarr.core.sync import sync

    buffer = default_buffer_prototype().buffer

    async def write() -> None:
        await asyncio.gather(*(store.set(key, buffer.from_bytes(value)) for key, value in values.items()))

    sync(write())

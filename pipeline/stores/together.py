"""Several objects of a Zarr store read or written in one go: each call of its own waits for Zarr's event loop, which a small chunk feels."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

_KEYS, _ON_THEIR_WAY, _THREADS, _BYTES = 12, 8, 8, 64 * 2**20
"""Objects asked for in one call, calls at once, threads that use them; bytes on their way, at most, where that is more than two groups."""


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
    each = max(min(_KEYS // max(map(len, wanted), default=1), _BYTES // (most * _ON_THEIR_WAY)), 1)

    async def get(keys: Sequence[str]) -> Sequence[Any]:
        try:
            return list(await store.get_partial_values(prototype, [(key, None) for key in keys]))
        except TypeError:  # Icechunk's cannot say that one of them is not there
            return await asyncio.gather(*(store.get(key, prototype) for key in keys))

    async def some(numbers: range, gate: asyncio.Semaphore, pool: Executor) -> None:
        async with gate:
            if failed:
                return
            try:
                found = iter(await get([key for number in numbers for key in wanted[number]]))
                await asyncio.get_running_loop().run_in_executor(pool, used, numbers, found)
            except BaseException as error:
                failed.append(error)

    def used(numbers: range, found: Iterator[Any]) -> None:
        for number in numbers:
            stored = [next(found) for _ in wanted[number]]
            use(number, [None if part is None else np.asarray(part.as_numpy_array()) for part in stored])

    async def every(pool: Executor) -> None:
        gate = asyncio.Semaphore(min(max(_BYTES // (most * each), 2), _ON_THEIR_WAY))
        starts = range(0, len(wanted), each)
        await asyncio.gather(*(some(range(k, min(k + each, len(wanted))), gate, pool) for k in starts))

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

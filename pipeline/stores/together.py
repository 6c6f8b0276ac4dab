"""Several objects of a Zarr store read or written in one go: each call of its own waits for Zarr's event loop, which a small chunk feels."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def get_together(store: Any, keys: Sequence[str]) -> list[NDArray[np.uint8] | None]:
    """What lies under each key; None where nothing does."""
    from zarr.core.buffer import default_buffer_prototype
    from zarr.core.sync import sync

    prototype = default_buffer_prototype()

    async def read() -> list[Any]:
        return await asyncio.gather(*(store.get(key, prototype) for key in keys))

    return [None if found is None else np.asarray(found.as_numpy_array()) for found in sync(read())]


def put_together(store: Any, values: Mapping[str, bytes]) -> None:
    """Put bytes under each key."""
    from zarr.core.buffer import default_buffer_prototype
    from zarr.core.sync import sync

    buffer = default_buffer_prototype().buffer

    async def write() -> None:
        await asyncio.gather(*(store.set(key, buffer.from_bytes(value)) for key, value in values.items()))

    sync(write())

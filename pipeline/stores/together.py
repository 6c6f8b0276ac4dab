"""Several Zarr arrays read or written in one go: each call of its own waits for Zarr's event loop, which a small chunk feels."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray


def read_together(arrays: Sequence[Any], place: slice) -> list[NDArray[Any]]:
    """The same stretch of each array."""
    from zarr.core.sync import sync

    async def read() -> list[NDArray[Any]]:
        return list(await asyncio.gather(*(array.async_array.getitem((place,)) for array in arrays)))

    found: list[NDArray[Any]] = sync(read())
    return found


def write_together(arrays: Sequence[Any], place: slice, values: Sequence[NDArray[Any]]) -> None:
    """Values into the same stretch of each array; as `write_present` does, chunks that equal the fill value too."""
    from zarr.core.sync import sync

    present = [array.with_config({"write_empty_chunks": True}).async_array for array in arrays]

    async def write() -> None:
        await asyncio.gather(*(array.setitem((place,), value) for array, value in zip(present, values, strict=True)))

    sync(write())

"""What was read and proved, kept for those who ask next: the neighbours of a region read the same files."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from threading import Lock
from typing import Any, TypeVar

Value = TypeVar("Value")


class Kept:
    """Values by key, up to so many bytes; beyond them the one that was not asked for longest goes. Sent to another process it is empty.

    Args:
        most: Bytes.
    """

    def __init__(self, most: int) -> None:
        self._most, self._bytes = most, 0
        self._lock = Lock()
        self._held: OrderedDict[Hashable, Future[Any]] = OrderedDict()
        self._sizes: dict[Hashable, int] = {}

    def __reduce__(self) -> tuple[type[Kept], tuple[int]]:
        return Kept, (self._most,)

    def get(self, key: Hashable, make: Callable[[], Value], size: Callable[[Value], int]) -> Value:
        """The value of a key; who asks first makes it, and what that raises is raised to all who wait for it."""
        with self._lock:
            first = key not in self._held
            future: Future[Value] = self._held.setdefault(key, Future())
            self._held.move_to_end(key)
        if first:
            try:
                value = make()
            except BaseException as error:
                with self._lock:
                    del self._held[key]
                future.set_exception(error)
                raise
            future.set_result(value)
            self._count(key, size(value))
        return future.result()

    def _count(self, key: Hashable, size: int) -> None:
        with self._lock:
            self._sizes[key] = size
            self._bytes += size
            if self._bytes <= self._most:
                return
            for old in [k for k in self._held if k in self._sizes]:
                if self._bytes <= self._most:
                    break
                self._bytes -= self._sizes.pop(old)
                del self._held[old]

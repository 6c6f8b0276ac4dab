"""Work done ahead of its use, in a thread."""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator, Iterable
from typing import TypeVar

T = TypeVar("T")


def ahead(items: Iterable[T], depth: int = 1) -> Generator[T]:
    """The same items in the same order, made by a thread that is at most `depth` + 1 items ahead.

    What the making raises is raised here. Closing the generator ends the thread.
    """
    ready: queue.Queue[tuple[T] | BaseException | None] = queue.Queue(depth)
    closed = threading.Event()

    def put(item: tuple[T] | BaseException | None) -> bool:
        while not closed.is_set():
            try:
                ready.put(item, timeout=0.1)
            except queue.Full:
                continue
            return True
        return False

    def make() -> None:
        try:
            for item in items:
                if not put((item,)):
                    break
            else:
                put(None)
        except BaseException as error:
            put(error)
        finally:
            if isinstance(items, Generator):
                items.close()

    thread = threading.Thread(target=make, name="cubecast-ahead", daemon=True)
    thread.start()
    try:
        while (item := ready.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item[0]
    finally:
        closed.set()
        thread.join()

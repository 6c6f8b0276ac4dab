"""Memory that is shared with decoders and used again: the kernel clears a new one page by page, which takes a third as long as decoding."""

from __future__ import annotations

import mmap
import os
import weakref
from threading import RLock


class Rooms:
    """Memory files that go from decoder to decoder. Idle ones are kept as long as another is in use, so that no more is held than was used at once."""

    def __init__(self) -> None:
        self._lock = RLock()  # what lends ends wherever its last view is dropped
        self._owner = os.getpid()
        self._lent: set[int] = set()
        self._idle: list[int] = []

    def take(self) -> int:
        """A file for a decoder to write to, which may hold what others wrote; to be given to `lend`, `give_back` or `lose`."""
        with self._lock:
            if self._owner != os.getpid():  # a fork must not write where its parent reads
                self._end()
                self._owner, self._lent = os.getpid(), set()
            room = self._idle.pop() if self._idle else os.memfd_create("slabs")
            self._lent.add(room)
            return room

    def lend(self, room: int) -> mmap.mmap:
        """What was written, which goes back when nobody holds it or a view of it any more."""
        memory = mmap.mmap(room, 0)
        weakref.finalize(memory, self.give_back, room, os.getpid()).atexit = False
        return memory

    def give_back(self, room: int, owner: int | None = None) -> None:
        """Nobody reads it, and no decoder writes to it."""
        with self._lock:
            if self._owner != (owner or os.getpid()):
                return
            self._lent.discard(room)
            self._idle.append(room)
            if not self._lent:
                self._end()

    def lose(self, room: int) -> None:
        """A decoder may still write to it."""
        with self._lock:
            self._lent.discard(room)
            os.close(room)
            if not self._lent:
                self._end()

    def _end(self) -> None:
        while self._idle:
            os.close(self._idle.pop())

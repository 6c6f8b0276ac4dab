"""Memory goes from decoder to decoder, and never while somebody looks at it."""

from __future__ import annotations

import os

import numpy as np
from numpy.typing import NDArray

from pipeline.sources.rooms import Rooms


def written(rooms: Rooms, value: float) -> NDArray[np.float64]:
    room = rooms.take()
    os.ftruncate(room, 8 * 4096)
    memory = rooms.lend(room)
    memory[:] = np.full(4096, value).tobytes()
    return np.frombuffer(memory, np.float64).reshape(64, 64)


def test_memory_is_used_again_only_once_its_last_view_is_gone() -> None:
    rooms = Rooms()
    first, second = written(rooms, 1.0), written(rooms, 2.0)
    view = first[3:5].T
    del first
    third = written(rooms, 3.0)
    assert [float(view.max()), float(second.min()), float(third.min())] == [1.0, 2.0, 3.0]
    assert len(rooms._lent) == 3
    del view
    assert len(rooms._idle) == 1
    fourth = written(rooms, 4.0)
    assert (len(rooms._idle), float(second.max()), float(fourth.min())) == (0, 2.0, 4.0)


def test_what_is_idle_goes_with_the_last_in_use() -> None:
    rooms = Rooms()
    first, second = written(rooms, 1.0), written(rooms, 2.0)
    del first
    assert len(rooms._idle) == 1
    rooms.lose(rooms.take())
    del second
    assert (rooms._idle, rooms._lent) == ([], set())


def test_a_fork_takes_none_of_its_parents_memory() -> None:
    rooms = Rooms()
    held, idle = written(rooms, 1.0), written(rooms, 2.0)
    del idle
    child = os.fork()
    if child == 0:
        room = rooms.take()
        os._exit(0 if os.fstat(room).st_size == 0 and rooms._lent == {room} else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert (len(rooms._idle), float(held.min())) == (1, 1.0)

"""Fences: an attempt that has been succeeded by another may no longer commit, even where it still runs.

A scheduler that believes an attempt dead starts the next one. Each attempt registers before it reads anything, and looks again just
before each commit; whoever commits in between is told apart by the commit's own compare-and-swap.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from pipeline.contracts.provenance import digest_json
from pipeline.errors import ConfigError, ConflictError
from pipeline.stores.objects import ObjectStore


@dataclass(frozen=True, kw_only=True)
class Fence:
    """One attempt at one piece of work.

    Attributes:
        work: What is attempted: world, step and source.
        run: Who attempts it: a scheduler's run, which is of one interval. Not the instant as of which an attempt reads: of a live world
            that is the time of the attempt itself.
        number: Which attempt of that run, from 1.
    """

    objects: ObjectStore
    work: tuple[str, ...]
    run: str
    number: int

    @property
    def prefix(self) -> str:
        """Where the attempts of this work by this run are registered."""
        return f"fences/{self.work[0]}/{digest_json([*self.work, self.run])[:20]}"


_CURRENT: ContextVar[Fence | None] = ContextVar("fence", default=None)


def read_attempt(text: str) -> tuple[str, int]:
    """The run and the number of an attempt, written `<run>:<number>`.

    Raises:
        ConfigError: The text is none.
    """
    run, _, number = text.rpartition(":")
    if not run or not number.isdigit() or int(number) < 1:
        raise ConfigError(asked=f"CUBECAST_ATTEMPT={text}", found="no attempt", mend="write <run>:<number from 1>, or leave it out")
    return run, int(number)


@contextmanager
def fenced(fence: Fence | None) -> Iterator[None]:
    """Register an attempt; while it lasts, `check` refuses once a later one is registered. None: no fence.

    Raises:
        ConflictError: A later attempt is registered already.
    """
    if fence is None:
        yield
        return
    fence.objects.put_if_absent(f"{fence.prefix}/{fence.number:06d}", b"")
    token = _CURRENT.set(fence)
    try:
        check()
        yield
    finally:
        _CURRENT.reset(token)


def check() -> None:
    """Refuse a commit of an attempt that has been succeeded.

    Raises:
        ConflictError: Naming both attempts.
    """
    fence = _CURRENT.get()
    if fence is None:
        return
    newest = max(int(key.rsplit("/", 1)[1]) for key in fence.objects.list(fence.prefix))
    if newest > fence.number:
        raise ConflictError(
            asked=f"commit {' '.join(fence.work)} in attempt {fence.number} of run {fence.run}",
            found=f"attempt {newest} has taken its place",
            mend="nothing: the later attempt does the work; end this one",
        )

"""Taking turns: a local folder has no compare-and-swap, so commits to what lies in one are made one after another."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from pipeline.errors import NotYetAvailable

_LOCK_SECONDS = 600


@contextlib.contextmanager
def taking_turns(url: str) -> Iterator[None]:
    """Hold the lock beside a local folder; nothing to hold for an address.

    Raises:
        NotYetAvailable: Others held it for ten minutes.
    """
    if "://" in url:
        yield
        return
    import filelock

    Path(url).parent.mkdir(parents=True, exist_ok=True)
    try:
        with filelock.FileLock(f"{url}.lock", timeout=_LOCK_SECONDS):
            yield
    except filelock.Timeout as error:
        raise NotYetAvailable(
            asked=f"commit to {url}", found=f"locked for {_LOCK_SECONDS} s by another writer", mend="run it again later"
        ) from error

"""How much memory there is for us, and how much of it processes use (Linux)."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from pipeline.process_tree import descendants

_OWN = re.compile(r"^RssAnon:\s+(\d+) kB$", re.MULTILINE)


def machine_bytes() -> int:
    """Memory of this machine, or of the narrowest control group that this process is in."""
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min([physical, *group_limits(Path("/proc/self/cgroup"), Path("/sys/fs/cgroup"))])


def group_limits(groups: Path, root: Path) -> Iterator[int]:
    """What each control group around a process allows, of version 2 and of the memory controller of version 1.

    A container may see its own group as the root, or not at all below it: the root counts as well.
    """
    for line in groups.read_text().splitlines() if groups.is_file() else ():
        number, controllers, place = line.split(":", 2)
        if number != "0" and "memory" not in controllers.split(","):
            continue
        top, name = (root, "memory.max") if number == "0" else (root / "memory", "memory.limit_in_bytes")
        folder = top / place.strip("/")
        for each in [folder, *(above for above in folder.parents if above.is_relative_to(top))]:
            with suppress(OSError, ValueError):  # no limit is "max", or no file
                yield int((each / name).read_text())


def tree_bytes(root: int) -> int:
    """Memory that a process and all below it hold for themselves: not what files could be read from again."""
    used = 0
    for pid in [root, *descendants(root)]:
        with suppress(OSError):
            used += sum(int(size) * 1024 for size in _OWN.findall(Path(f"/proc/{pid}/status").read_text()))
    return used

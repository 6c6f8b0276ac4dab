"""Which files hold the observations of which days: a tree of years and months whose unchanged branches are shared by all commits.

A commit record carries totals and the tree's root, so that neither a read nor an append looks at earlier commits. Every object is
named by the sha256 of its content; an older commit's tree stays whole.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from itertools import groupby
from typing import Any

from pipeline.contracts.observations import RowCounts
from pipeline.contracts.provenance import canonical_json
from pipeline.contracts.times import from_seconds
from pipeline.stores.kept import Kept
from pipeline.stores.objects import ObjectStore

DAY = 86400
_OPEN_FILES = 64
"""Files that a month lists itself; full lists of so many are put aside and never written again."""


@dataclass(frozen=True, kw_only=True)
class StoredFile:
    """A Parquet file of one month.

    Attributes:
        groups: The days (starts, seconds UTC) in each of its row groups, in order.
        rows: Rows of each row group.
        bytes: Size at rest.
        nodes: Key of the list of identities with rows in its commit.
    """

    key: str
    groups: tuple[tuple[int, ...], ...]
    rows: tuple[int, ...]
    bytes: int
    nodes: str


@dataclass(frozen=True, kw_only=True)
class Totals:
    """All commits up to one, together.

    Attributes:
        commits: How many.
        through: Landed deliveries with a smaller number are taken in.
        counts: Where all raw rows went.
        seen: Key of the list of all identities, in order of first mention, or None where there is none.
        places: Key of the newest node table, or None.
        years: Year -> key of its months: the root of the tree.
        chain: Digest of every record up to here.
    """

    commits: int
    through: int
    counts: RowCounts
    seen: str | None
    places: str | None
    years: Mapping[str, str]
    chain: str


NOTHING = Totals(
    commits=0, through=0, counts=RowCounts(raw=0, observations=0, duplicates=0, rejected=0), seen=None, places=None, years={}, chain=""
)


def totals_from(record: Mapping[str, Any]) -> Totals:
    """The totals that a record of the log carries."""
    content = dict(record["totals"])
    return Totals(**{**content, "counts": RowCounts(**content["counts"])})


def stored_file(content: Mapping[str, Any]) -> StoredFile:
    """A file as JSON lists it."""
    groups = tuple(tuple(int(day) for day in group) for group in content["groups"])
    return StoredFile(**{**content, "groups": groups, "rows": tuple(content["rows"])})


def _size(files: Iterable[StoredFile]) -> int:
    """Bytes of them in memory, about."""
    return sum(512 + 128 * len(file.groups) for file in files)


class FileTree:
    """The tree below a root, in `<prefix>/index`; `proved` reads an object by its key and proves its bytes, `kept` keeps what they say."""

    def __init__(self, objects: ObjectStore, prefix: str, proved: Callable[[str], bytes], kept: Kept | None) -> None:
        self._objects, self._prefix, self._proved, self._kept = objects, f"{prefix}/index", proved, kept

    def extend(self, years: Mapping[str, str], files: Iterable[StoredFile]) -> dict[str, str]:
        """The root with more files; only the months that these belong to are written."""
        grown = dict(years)
        by_month = groupby(sorted(files, key=lambda file: file.groups[0][0]), key=lambda file: f"{from_seconds(file.groups[0][0]):%Y-%m}")
        for year, found in groupby(((month, list(group)) for month, group in by_month), key=lambda pair: pair[0][:4]):
            months = self._load(grown[year]) if year in grown else {}
            for month, added in found:
                months[month] = self._put(self._month(months.get(month), added))
            grown[year] = self._put(months)
        return grown

    def files(self, years: Mapping[str, str], first: int, last: int) -> list[StoredFile]:
        """The files of the months from that of the instant `first` to that of `last` (seconds UTC), in order of month and commit."""
        low, high = (f"{from_seconds(max(t, 0)):%Y-%m}" for t in (first, last))
        found: list[StoredFile] = []
        for year in sorted(y for y in years if low[:4] <= y <= high[:4]):
            for month, key in sorted(self._load(years[year]).items()):
                if low <= month <= high:
                    found += self._listed(key) if self._kept is None else self._kept.get((key, "files"), partial(self._listed, key), _size)
        return found

    def _listed(self, key: str) -> list[StoredFile]:
        """All files of a month."""
        listed = self._load(key)
        pages = [*(self._load(full) for full in listed["full"]), listed["open"]]
        return [stored_file(content) for page in pages for content in page]

    def _month(self, key: str | None, added: list[StoredFile]) -> dict[str, Any]:
        month = self._load(key) if key is not None else {"full": [], "open": []}
        lines = month["open"] + [asdict(file) for file in added]
        while len(lines) > _OPEN_FILES:
            month["full"].append(self._put(lines[:_OPEN_FILES]))
            lines = lines[_OPEN_FILES:]
        return {"full": month["full"], "open": lines}

    def _load(self, key: str) -> Any:
        return json.loads(self._proved(key))

    def _put(self, content: Any) -> str:
        return self._objects.put_addressed(self._prefix, canonical_json(content), ".json")

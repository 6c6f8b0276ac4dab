"""Published products: one record per issue time says what is visible; Parquet files; pages and latest.json."""

from __future__ import annotations

from typing import Any, Literal

from pipeline.contracts.provenance import canonical_json, digest_bytes
from pipeline.contracts.times import compact_instant, format_instant, from_seconds
from pipeline.errors import StoreError
from pipeline.stores.issues import IssueLogs
from pipeline.stores.objects import ObjectStore
from pipeline.stores.sealed import read_blob


class PublishedStore:
    """What a world has published, under `forecasts/<world>/published/`.

    A record is written after all that it names, and `latest.json` after the record: a reader that follows them never
    sees half.
    """

    def __init__(self, objects: ObjectStore, world_name: str) -> None:
        self._objects, self._world = objects, world_name
        self._base = f"forecasts/{world_name}/published"
        self._issues = IssueLogs(objects, f"{self._base}/issues")

    def record(self, issue_time: int) -> dict[str, Any] | None:
        """The newest published record of an issue time: digest, revision, and the keys of its products; or None."""
        return self._issues.log(issue_time).newest()

    def issue_times(self, since: int | None = None) -> list[int]:
        """The published issue times, ascending (int64 seconds UTC); none before `since`."""
        return self._issues.times(since)

    def newest(self, most: int = 1) -> list[int]:
        """The newest published issue times, ascending, at most so many."""
        return self._issues.newest(most)

    def around(self, issue_time: int) -> str:
        """What was published where this issue time was not, as words."""
        return self._issues.around(issue_time)

    def parquet_key(self, issue_time: int, domain: str, revision: int, table: Literal["parquet", "events"] = "parquet") -> str:
        """Where the tidy table of a domain's forecast, or of its events, lies, in its hive partition."""
        moment = from_seconds(issue_time)
        return f"{self._base}/{table}/domain={domain}/issue_date={moment:%Y-%m-%d}/{compact_instant(moment)}-r{revision}.parquet"

    def put_product(self, key: str, data: bytes) -> str:
        """Put a product, anew where what lies there is damaged or was derived by other libraries; its sha256."""
        if not self._objects.exists(key) or self._objects.get(key) != data:
            self._objects.replace(key, data)
        return digest_bytes(data)

    def is_whole(self, key: str, sha256: str) -> bool:
        """Whether a product is there with the bytes that its record names."""
        try:
            read_blob(self._objects, key, sha256)
        except StoreError:
            return False
        return True

    def commit(self, issue_time: int, record: dict[str, Any]) -> bool:
        """Make products visible: one record; False where the newest says the same."""
        return self._issues.log(issue_time).extend(record)[1]

    def renew_latest(self) -> bool:
        """Let `latest.json` show the newest issue time's record; False where it did already, or nothing is published."""
        newest = self._issues.newest()
        record = self.record(newest[0]) if newest else None
        if record is None:
            return False
        content = {"world": self._world, "issue_time": format_instant(from_seconds(newest[0])), **record}
        return self.view("latest.json", canonical_json(content))

    def page_name(self, issue_time: int) -> str:
        """The view that is the page of an issue time; that of the newest has a name of its own."""
        return "page/index.html" if self.newest() == [issue_time] else f"page/{compact_instant(from_seconds(issue_time))}.html"

    def view(self, name: str, data: bytes) -> bool:
        """Put a page or another view that can be derived again; False where it was the same already."""
        key = f"{self._base}/{name}"
        if self._objects.exists(key) and self._objects.get(key) == data:
            return False
        self._objects.replace(key, data)
        return True

    def read_view(self, name: str) -> bytes:
        """The bytes of a view.

        Raises:
            NotYetAvailable: There is no such view yet.
        """
        return self._objects.get(f"{self._base}/{name}")

    def url(self, name: str) -> str:
        """Where a view, or the products, lie."""
        return self._objects.url(f"{self._base}/{name}")

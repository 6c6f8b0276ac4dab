"""Landing keeps bytes as received, once, and proves them on read."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.contracts.deliveries import Delivery, Part
from pipeline.errors import ConflictError, NotYetAvailable, StoreError
from pipeline.stores.landing import LandingStore
from pipeline.stores.objects import ObjectStore


def offer(name: str, *contents: bytes, role: str = "readings") -> Delivery:
    parts = tuple(
        Part(name=f"{name}.{i}.csv" if i else f"{name}.csv", location=f"data://{name}", read=lambda c=content: c)
        for i, content in enumerate(contents)
    )
    return Delivery(name=name, parts=parts, role=role, published_time=5, covers=(1, 2))  # type: ignore[arg-type]


@pytest.fixture
def store(tmp_path: Path) -> LandingStore:
    return LandingStore(ObjectStore(str(tmp_path)), "world", "feed")


def test_a_delivery_comes_back_byte_for_byte_with_its_manifest_line(store: LandingStore) -> None:
    [landed] = store.land([offer("a", b"\x00raw\xff")], 100)
    assert store.read(landed) == {"a.csv": b"\x00raw\xff"}
    assert store.manifest() == [landed]
    assert (landed.number, landed.received_time, landed.published_time, landed.covers, landed.bytes) == (0, 100, 5, (1, 2), 5)


def test_the_same_again_adds_nothing(store: LandingStore, tmp_path: Path) -> None:
    store.land([offer("a", b"1"), offer("b", b"2")], 100)
    before = sorted(tmp_path.rglob("*"))
    assert store.land([offer("a", b"1"), offer("b", b"2")], 200) == []
    assert sorted(tmp_path.rglob("*")) == before


def test_new_content_under_an_old_name_is_a_new_vintage_and_so_is_the_old_content_again(store: LandingStore) -> None:
    for number, content in enumerate([b"1", b"2", b"1"]):
        [landed] = store.land([offer("a", content)], 100 + number)
        assert landed.number == number
    first, _, third = store.manifest()
    assert first.id == third.id


def test_the_same_bytes_under_two_names_are_kept_once(store: LandingStore, tmp_path: Path) -> None:
    store.land([offer("a", b"1"), offer("b", b"1")], 100)
    assert len(list((tmp_path / "landing/world/feed/files").rglob("*.csv"))) == 1
    assert len(store.manifest()) == 2


def test_a_delivery_of_several_files_is_new_when_one_of_them_is(store: LandingStore) -> None:
    [first] = store.land([offer("wide", b"1", b"2")], 100)
    assert store.land([offer("wide", b"1", b"2")], 100) == []
    [second] = store.land([offer("wide", b"1", b"3")], 100)
    assert first.id != second.id
    assert store.read(second) == {"wide.csv": b"1", "wide.1.csv": b"3"}


def test_a_node_table_and_readings_of_one_name_do_not_hide_each_other(store: LandingStore) -> None:
    assert len(store.land([offer("a", b"1"), offer("a", b"1", role="nodes")], 100)) == 2


@pytest.mark.parametrize("damage", ["flip", "cut", "delete"])
def test_a_damaged_file_is_named_on_read(store: LandingStore, tmp_path: Path, damage: str) -> None:
    [landed] = store.land([offer("a", b"content")], 100)
    path = tmp_path / landed.parts[0].key
    path.chmod(0o644)
    path.unlink() if damage == "delete" else path.write_bytes(b"Content" if damage == "flip" else b"con")
    with pytest.raises(StoreError, match=landed.parts[0].sha256):
        store.read(landed)


def test_a_deleted_file_heals_when_the_provider_offers_it_again(store: LandingStore, tmp_path: Path) -> None:
    [landed] = store.land([offer("a", b"content")], 100)
    (tmp_path / landed.parts[0].key).unlink()
    store.land([offer("a", b"content")], 200)
    assert store.read(landed) == {"a.csv": b"content"}


def test_of_two_who_land_at_once_one_is_told_to_repeat(store: LandingStore) -> None:
    def slow() -> object:
        yield offer("a", b"1")
        LandingStore(store._objects, "world", "feed").land([offer("b", b"2")], 50)

    with pytest.raises(ConflictError):
        store.land(slow(), 100)  # type: ignore[arg-type]
    assert [d.name for d in store.manifest()] == ["b"]
    assert [d.name for d in store.land([offer("a", b"1"), offer("b", b"2")], 100)] == ["a"]


def paged(store: LandingStore, pages: list[bytes | Exception], asked: list[int], moment: int) -> int:
    """Land a delivery of these pages; returns how many deliveries were new."""

    def part(number: int) -> Part:
        def read() -> bytes:
            asked.append(number)
            content = pages[number]
            if isinstance(content, Exception):
                raise content
            return content

        return Part(name=f"{number}.json", location=f"page {number}", read=read)

    day = Delivery(name="day", parts=(part(0),), following=lambda n, data: part(n + 1) if data.endswith(b"more") else None)
    return len(store.land([offer("before", b"1"), day, offer("after", b"2")], moment))


def test_pages_interrupted_go_on_where_they_stopped(store: LandingStore) -> None:
    asked: list[int] = []
    away = NotYetAvailable(asked="page", found="503", mend="come back")
    with pytest.raises(NotYetAvailable):
        paged(store, [b"0 more", b"1 more", away], asked, 100)
    assert [d.name for d in store.manifest()] == ["before"]
    assert paged(store, [b"0 more", b"1 more", b"2"], asked, 200) == 2
    assert asked == [0, 1, 2, 2]
    assert list(store.read(store.manifest()[1]).values()) == [b"0 more", b"1 more", b"2"]
    assert paged(store, [b"0 more", b"1 more", b"2"], asked, 300) == 0
    assert asked == [0, 1, 2, 2, 0, 1, 2]


def test_pages_of_yesterday_are_asked_for_again(store: LandingStore) -> None:
    asked: list[int] = []
    away = NotYetAvailable(asked="page", found="503", mend="come back")
    with pytest.raises(NotYetAvailable):
        paged(store, [b"0 more", away], asked, 100)
    paged(store, [b"0 new more", b"1"], asked, 100 + 2 * 86400)
    assert store.read(store.manifest()[1])["0.json"] == b"0 new more"


def test_a_delivery_landed_after_it_settled_is_not_asked_for_again(store: LandingStore) -> None:
    asked: list[int] = []

    def read() -> bytes:
        asked.append(1)
        return b"%d" % len(asked)

    day = Delivery(name="a", parts=(Part(name="a.csv", location="x", read=read),), settles=150)
    assert [len(store.land([day], moment)) for moment in (100, 140, 150, 160, 170)] == [1, 1, 1, 0, 0]
    assert len(asked) == 3


def test_a_long_manifest_is_read_from_one_object_and_from_its_records_where_that_is_damaged(
    store: LandingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(130):
        store.land([offer("a", b"%d" % number)], 100 + number)
    whole, read = store.manifest(), []
    get = ObjectStore.get

    def counted(self: ObjectStore, key: str) -> bytes:
        read.append(key)
        return get(self, key)

    monkeypatch.setattr(ObjectStore, "get", counted)
    assert store.manifest() == whole
    assert len(read) == 3
    [view] = [key for key in read if "folded" in key]
    for damage in (b"{", store._objects.get(view).replace(b'"name":"a"', b'"name":"b"', 1)):
        store._objects.overwrite(view, damage)
        read.clear()
        assert store.manifest() == whole
        assert len(read) == 131
    store._objects.delete(view)
    assert store.manifest() == whole
    assert [landed.received_time for landed in whole] == list(range(100, 230))

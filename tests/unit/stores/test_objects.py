"""Objects are whole or absent, on a folder and on a real S3 protocol."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.contracts.provenance import digest_bytes
from pipeline.errors import ConfigError, ConflictError, NotYetAvailable, StoreError
from pipeline.stores.objects import ObjectStore
from pipeline.stores.sealed import SealedLog
from pipeline.stores.seals import make_seal


@pytest.fixture(scope="module")
def s3_root() -> Iterator[str]:
    from moto.server import ThreadedMotoServer

    names = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}
    before = {name: os.environ.get(name) for name in [*names, "AWS_ENDPOINT_URL"]}
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    os.environ.update(names, AWS_ENDPOINT_URL="http://{}:{}".format(*server.get_host_and_port()))
    import s3fs

    s3fs.S3FileSystem.clear_instance_cache()
    s3fs.S3FileSystem().mkdir("bucket")
    yield "s3://bucket/store"
    server.stop()
    s3fs.S3FileSystem.clear_instance_cache()
    for name, value in before.items():
        os.environ.pop(name, None) if value is None else os.environ.__setitem__(name, value)


@pytest.fixture(params=["folder", "s3"])
def objects(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    if request.param == "folder":
        return ObjectStore(str(tmp_path / "store"))
    return ObjectStore(f"{request.getfixturevalue('s3_root')}/{tmp_path.name}")


def test_an_object_is_created_once_and_read_back(objects: ObjectStore) -> None:
    assert objects.put_if_absent("a/b.bin", b"one")
    assert not objects.put_if_absent("a/b.bin", b"one")
    assert objects.get("a/b.bin") == b"one"
    assert objects.exists("a/b.bin")
    assert not objects.exists("a")


def test_other_content_under_a_taken_name_is_a_conflict_and_changes_nothing(objects: ObjectStore) -> None:
    objects.put_if_absent("a", b"one")
    with pytest.raises(ConflictError, match="other content"):
        objects.put_if_absent("a", b"two")
    assert objects.get("a") == b"one"


def test_an_addressed_object_is_named_by_its_content(objects: ObjectStore) -> None:
    key = objects.put_addressed("p", b"x", ".txt")
    assert key == "p/2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881.txt"
    assert objects.put_addressed("p", b"x", ".txt") == key


def test_a_missing_object_is_not_yet_available(objects: ObjectStore) -> None:
    with pytest.raises(NotYetAvailable):
        objects.get("nothing/here")


def test_list_is_sorted_recursive_and_bound_to_its_folder(objects: ObjectStore) -> None:
    for key in ("a/2", "a/1/x", "ab/3"):
        objects.put_if_absent(key, b".")
    assert objects.list("a") == ["a/1/x", "a/2"]
    assert objects.list("none") == []


def test_replace_changes_a_view_at_once(objects: ObjectStore) -> None:
    objects.replace("v/latest", b"1")
    objects.replace("v/latest", b"2")
    assert objects.get("v/latest") == b"2"


def test_a_view_has_a_seal_that_covers_it_before_and_after_a_change(objects: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    objects.replace("v/latest", b"1")
    assert objects.get("seals/v/latest.sha256") == make_seal(digest_bytes(b"1"))
    objects.replace("v/latest", b"1")
    overwrite = ObjectStore.overwrite

    def dies_at_the_view(self: ObjectStore, key: str, data: bytes) -> None:
        if key == "v/latest":
            raise StoreError(asked="", found="", mend="")
        overwrite(self, key, data)

    monkeypatch.setattr(ObjectStore, "overwrite", dies_at_the_view)
    with pytest.raises(StoreError):
        objects.replace("v/latest", b"2")
    assert objects.get("seals/v/latest.sha256") == make_seal(digest_bytes(b"1"), digest_bytes(b"2"))


def test_everything_is_listed_with_sizes_and_ages_and_goes_when_deleted(objects: ObjectStore) -> None:
    objects.put_if_absent("a/x", b"123")
    [entry] = objects.entries("")
    assert (entry.key, entry.bytes) == ("a/x", 3)
    assert abs(entry.written - time.time()) < 60
    objects.delete("a/x")
    objects.delete("a/x")
    assert objects.list("") == []


def test_what_is_put_again_counts_as_written_now(tmp_path: Path) -> None:
    objects = ObjectStore(str(tmp_path))
    key = objects.put_addressed("p", b"x", ".txt")
    os.utime(tmp_path / key, (0, 0))
    assert objects.put_addressed("p", b"x", ".txt") == key
    assert time.time() - objects.entries("p")[0].written < 60


def test_a_log_takes_each_number_once(objects: ObjectStore) -> None:
    log = SealedLog(objects, "log")
    log.append({"n": 0}, expected=0)
    with pytest.raises(ConflictError):
        log.append({"n": "other"}, expected=0)
    log.append({"n": 1}, expected=1)
    assert log.read() == [{"n": 0}, {"n": 1}]
    assert (log.read(1), log.record(0), log.newest()) == ([{"n": 1}], {"n": 0}, {"n": 1})


def test_a_commit_that_was_cut_off_is_finished_by_the_next_writer_whoever_it_is(objects: ObjectStore) -> None:
    log = SealedLog(objects, "log")
    log.append({"n": 0}, expected=0)
    objects.delete("log/00000000.json")
    assert log.newest() is None
    log.append({"n": 0}, expected=0)
    assert log.read() == [{"n": 0}]
    objects.delete("log/00000000.json")
    with pytest.raises(ConflictError):
        log.append({"n": "other"}, expected=0)
    assert log.read() == [{"n": 0}]


@pytest.mark.parametrize("key", ["../x", "a/../b", "a b", "/a", "a/", "", "å"])
def test_keys_outside_the_allowed_letters_are_refused(tmp_path: Path, key: str) -> None:
    with pytest.raises(ConfigError, match="object key"):
        ObjectStore(str(tmp_path)).put_if_absent(key, b"")


def test_a_scheme_other_than_s3_is_refused() -> None:
    with pytest.raises(ConfigError, match="neither a local folder nor s3://"):
        ObjectStore("gs://bucket").exists("a")


@pytest.mark.parametrize("call", ["fsync", "link"])
def test_a_full_disk_names_path_and_bytes_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, call, full)
    objects = ObjectStore(str(tmp_path))
    with pytest.raises(StoreError, match=r"write 3 bytes to .*a/b: OSError: No space left on device"):
        objects.put_if_absent("a/b", b"one")
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == []
    assert objects.list("a") == []


def test_what_a_killed_writer_left_is_no_object(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / ".staged-xyz").write_bytes(b"half")
    assert ObjectStore(str(tmp_path)).list("a") == []

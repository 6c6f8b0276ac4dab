"""A full disk, a damaged or read-only store: one clear message, nothing lost, and the same command goes on."""

import contextlib
import copy
import os
import resource
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import pipeline.__main__ as cli
from pipeline.errors import StoreError
from tests.flow.places import STEPS


def _bytes_of(store: Path) -> dict[str, bytes]:
    """Everything a reader can see; unreferenced content lies beside it."""
    return {str(p.relative_to(store)): p.read_bytes() for p in store.rglob("*") if p.is_file()}


@contextlib.contextmanager
def _largest_file(size: int) -> Iterator[None]:
    """No file of this process can grow beyond `size` bytes: what a full disk looks like from inside."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextlib.contextmanager
def _mounted(folder: Path, size: str) -> Iterator[None]:
    """A file system of its own at a folder; skips where that is not allowed."""
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], capture_output=True)
    if done.returncode:
        pytest.skip("no right to mount a file system")
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def _remounted(folder: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", str(folder)], check=True)


@pytest.mark.parametrize("size", [1, 6000])
@pytest.mark.parametrize("step", ["land", "observe", "build-cube", "train", "publish"])
def test_a_file_that_cannot_grow_loses_nothing_and_the_same_command_goes_on(tiny, step, size):
    place = tiny(step)
    before = _bytes_of(place.store)
    with _largest_file(size):
        said = place.fails(74, step)
    assert "StoreError" in said
    assert str(place.store) in said
    assert "File too large" in said
    assert {name: data for name, data in _bytes_of(place.store).items() if name in before} == before
    assert not list(place.store.rglob(".staged-*"))
    assert place.ids(step) == tiny.ids[step]


@pytest.mark.parametrize("step", ["land", "build-cube", "train"])
def test_a_full_file_system_loses_nothing_and_the_same_command_goes_on(tiny, tmp_path, undisturbed, step):
    place = tiny(step)
    shutil.rmtree(place.store)
    place.store.mkdir()
    held = undisturbed[0] / f"before-{step}"
    with _mounted(place.store, "60m"):
        shutil.copytree(held, place.store, dirs_exist_ok=True)
        used = os.statvfs(place.store)
        _remounted(place.store, f"size={(used.f_blocks - used.f_bfree) * used.f_frsize // 1024 + 16}k")
        said = place.fails(74, step)
        assert "No space left on device" in said
        assert str(place.store) in said
        _remounted(place.store, "size=60m")
        assert place.ids(step) == tiny.ids[step]


@pytest.mark.parametrize("step", STEPS)
def test_a_read_only_store_is_told_by_its_first_write(tiny, undisturbed, step):
    place = tiny(step)
    shutil.rmtree(place.store)
    place.store.mkdir()
    with _mounted(place.store, "60m"):
        shutil.copytree(undisturbed[0] / f"before-{step}", place.store, dirs_exist_ok=True)
        _remounted(place.store, "ro")
        said = place.fails(74, step)
        assert "StoreError" in said
        assert "Read-only file system" in said
        _remounted(place.store, "rw")


DAMAGE = [
    ("landing/tiny/roads/files/*/*", "observe", "observe"),
    ("landing/tiny/roads/manifest/*", "observe", "land"),
    ("landing/tiny/roads/manifest/*", "observe", "observe"),
    ("observations/tiny/roads/*/data/*/*", "build-cube", "build-cube"),
    ("observations/tiny/roads/*/commits/*", "build-cube", "observe"),
    ("observations/tiny/roads/*/commits/*", "build-cube", "build-cube"),
    ("cubes/tiny/chunks/*", "train", "train"),
    ("cubes/tiny/snapshots/*", "train", "train"),
    ("cubes/tiny/refs/branch.main/ref.json", "train", "train"),
    ("registry/tiny/candidates/*", "evaluate", "train"),
    ("registry/tiny/files/*joint.safetensors", "evaluate", "evaluate"),
    ("registry/tiny/files/*statistics.json", "promote", "promote"),
    ("registry/tiny/champions/*", "predict", "predict"),
    ("forecasts/tiny/issues/*/*/*", "publish", "predict"),
    ("forecasts/tiny/artefacts/*.safetensors", "publish", "publish"),
    ("forecasts/tiny/published/issues/*/*/*", "done", "publish"),
    ("forecasts/tiny/issues/*/*/*", "verify", "verify"),
]
"""Which object is damaged, in the store as it is before which step, and the step that is run."""
LOGS = ("manifest", "commits", "candidates", "champions", "issues", "branch.main")


@pytest.mark.parametrize("harm", ["a flipped bit", "half of it", "gone"])
@pytest.mark.parametrize(("where", "at", "step"), DAMAGE)
def test_a_damaged_object_is_named_and_when_it_is_back_the_same_command_goes_on(tiny, where, at, step, harm):
    if harm == "gone" and any(f"/{log}/" in where for log in LOGS):
        return  # the last record of a log leaves no gap; the one before it does, and stores prove that
    place = tiny(at)
    [*_, file] = sorted((p for p in place.store.glob(where) if p.is_file()), key=lambda p: p.stat().st_size)
    good = file.read_bytes()
    bad = bytearray(good)
    bad[len(bad) // 2] ^= 0x10
    file.unlink() if harm == "gone" else file.write_bytes(bytes(bad) if harm == "a flipped bit" else good[: len(good) // 2])
    if "snapshots" in where and harm == "a flipped bit" and place.do(step, "--json")[0] == 0:
        assert place.ids(step) == tiny.ids[step]  # Icechunk seals no snapshot: the bit is one that nothing depends on
        return
    said = place.fails(74, step)
    assert "StoreError" in said
    assert str(place.store) in said
    assert "backup" in said
    file.write_bytes(good)
    assert place.ids(step) == tiny.ids[step]


def test_a_damaged_receipt_is_written_anew_by_its_step(tiny):
    place = tiny("done")
    [receipt] = place.store.glob("receipts/tiny/*/*/observe.json")
    receipt.write_bytes(receipt.read_bytes()[:40])
    assert cli.main(["status", "--world", str(place.world)]) == 74
    assert place.ids("observe") == tiny.ids["observe"]
    assert place.do("status")[0] == 0


def test_an_error_of_a_worker_process_arrives_whole():
    error = copy.copy(StoreError(asked="a", found="b", mend="c"))
    assert (type(error), error.asked, error.found, error.mend) == (StoreError, "a", "b", "c")

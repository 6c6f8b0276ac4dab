"""Fences: an attempt that has been succeeded may not commit."""

import pytest

from pipeline.errors import ConfigError, ConflictError
from pipeline.stores.cube_writer import CubeWriter
from pipeline.stores.fences import Fence, check, fenced, read_attempt
from pipeline.stores.objects import ObjectStore
from pipeline.stores.sealed import SealedLog


@pytest.fixture
def attempt(tmp_path):
    objects = ObjectStore(str(tmp_path))
    return lambda number, run="r1", source="roads": Fence(objects=objects, work=("w", "observe", source), run=run, number=number)


def test_an_attempt_that_was_succeeded_can_no_longer_append(attempt, tmp_path):
    log = SealedLog(ObjectStore(str(tmp_path)), "log")
    with fenced(attempt(1)):
        log.append({"by": 1}, expected=0)
        with fenced(attempt(2)):
            log.append({"by": 2}, expected=1)
        with pytest.raises(ConflictError, match="attempt 2 has taken its place"):
            log.append({"by": 1}, expected=2)
    assert [record["by"] for record in log.read()] == [1, 2]


def test_an_attempt_that_starts_late_is_refused_before_it_reads_anything(attempt):
    with fenced(attempt(3)):
        pass
    with pytest.raises(ConflictError), fenced(attempt(2)):
        pytest.fail("it began")


def test_other_runs_and_other_sources_are_not_in_the_way(attempt):
    with fenced(attempt(1)), fenced(attempt(2, run="r2")), fenced(attempt(3, source="weather")):
        pass
    with fenced(attempt(1)):
        check()


def test_the_same_attempt_may_begin_again(attempt):
    for _ in range(2):
        with fenced(attempt(1)):
            check()


def test_without_a_scheduler_there_is_no_fence():
    with fenced(None):
        check()


def test_a_cube_is_not_committed_by_an_attempt_that_was_succeeded(attempt, tmp_path):
    with fenced(attempt(1)):
        writer = CubeWriter(str(tmp_path), "w")
        with fenced(attempt(2)):
            pass
        with pytest.raises(ConflictError, match="taken its place"):
            writer.commit("late", {})


@pytest.mark.parametrize("text", ["", "r1", "r1:0", ":1", "r1:one"])
def test_an_attempt_that_is_none_is_refused(text):
    with pytest.raises(ConfigError, match="no attempt"):
        read_attempt(text)
    assert read_attempt("scheduled__2026-01-01T00:00:00+00:00:7") == ("scheduled__2026-01-01T00:00:00+00:00", 7)

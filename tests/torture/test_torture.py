"""A few of everything that `make torture` does many times."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.torture.__main__ import sections, table
from tests.torture.damages import damage_every_object, nine_steps_on_s3
from tests.torture.full_disks import run_out_of_room, small_disk
from tests.torture.kills import kill_steps
from tests.torture.proxy import FAULTS, Fault
from tests.torture.s3_faults import fail_requests
from tests.torture.scene import Scene, scene
from tests.torture.writers import four_writers, race_apart, race_same_day
from tests.torture.zygote import ROOT


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with scene(tmp_path_factory.mktemp("torture"), days=2) as made:
        yield made


@pytest.mark.parametrize("where", ["disk", "S3"])
def test_a_killed_step_loses_nothing_and_its_readers_see_nothing_torn_or_mixed(small: Scene, where: str) -> None:
    kills = 2 if where == "disk" else 1
    found = kill_steps(small, where, kills=kills, seed=1)
    assert all(tally.kills >= kills and tally.reads for tally in found.values())
    assert not [line for tally in found.values() for line in tally.wrong]


@pytest.mark.parametrize("fault", FAULTS)
def test_a_failing_request_to_s3_ends_in_right_data_or_in_a_clear_error(small: Scene, fault: Fault) -> None:
    tally = fail_requests(small, trials=1, seed=2, faults=(fault,), bursts=(1,))[fault]
    assert tally.struck
    assert not tally.wrong
    assert not tally.unproved


def test_damage_to_any_object_is_told(small: Scene) -> None:
    tally = damage_every_object(small.store("disk", "undisturbed"), small.world, seed=3, most=4)
    assert sum(tally.done.values()) >= 24
    assert tally.missed == []


def test_damage_to_any_object_of_the_nine_steps_on_s3_is_told(tmp_path: Path) -> None:
    with nine_steps_on_s3(tmp_path) as (store, world):
        tally = damage_every_object(store, world, seed=3, kinds_inside=1, most=2)
    assert sum(tally.done.values()) >= 8
    assert tally.missed == tally.misread == []


def test_a_disk_without_room_leaves_the_old_state_and_an_error_with_path_and_bytes(small: Scene, tmp_path: Path) -> None:
    assert not run_out_of_room(small, "file limit", refusals=3, seed=4, disk=tmp_path).wrong
    with small_disk(tmp_path / "small") as disk:
        if disk is None:
            pytest.skip("no right to mount a file system")
        assert not run_out_of_room(small, "full disk", refusals=3, seed=4, disk=disk).wrong


def test_writers_at_once_all_land_and_the_second_is_told_of_the_first(small: Scene) -> None:
    same, apart = race_same_day(small, "disk", rounds=1), race_apart(small, "disk", rounds=1)
    assert same.wrong == apart.wrong == []
    assert apart.landed == apart.races


def test_the_second_of_two_writers_of_a_day_on_s3_is_told_of_the_first(small: Scene) -> None:
    assert race_same_day(small, "S3", rounds=1, days=1).wrong == []


@pytest.mark.parametrize("where", ["disk", "S3"])
def test_all_commits_of_four_writers_are_there(small: Scene, where: str) -> None:
    assert {what: there for what, (there, _) in four_writers(small, where, commits=3).items()} == {"commits": 12, "records": 12}


def test_a_new_table_keeps_the_notes_of_people_and_the_rows_of_parts_that_were_not_run(tmp_path: Path) -> None:
    rows = [{"fault": "stall", "trials": 100, "wrong": ["a canary"]}]
    (tmp_path / "faults.json").write_text(json.dumps({"seed": 1, "seconds": 71, "rows": rows}))
    committed = (ROOT / "benchmarks" / "results" / "torture.md").read_text()
    text, wrong = table(tmp_path, committed)
    new, old = sections(text), sections(committed)
    assert wrong == ["a canary"]
    assert "| stall | 100 |" in new["Requests to S3 that fail"]
    notes = sections((ROOT / "tests" / "torture" / "notes.md").read_text())
    assert notes["faults"] in new["Requests to S3 that fail"]
    assert {title for title in old if new[title] != old[title]} == {"Requests to S3 that fail", "Wrong"}
    assert sections(table(tmp_path, text)[0]) == new, "again it changes nothing"

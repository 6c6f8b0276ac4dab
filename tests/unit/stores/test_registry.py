from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pipeline.contracts.scores import Promotion, Scorecard, Verdict
from pipeline.errors import ConflictError, ContractError, NotYetAvailable, StoreError
from pipeline.stores.objects import ObjectStore
from pipeline.stores.registry import Registry

MONDAY, TUESDAY, FRIDAY = (datetime(2024, 3, day, tzinfo=UTC) for day in (4, 5, 8))


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(ObjectStore(str(tmp_path)), "tiny")


def _promotion(as_of: str, model_id: str) -> Promotion:
    verdict = Verdict(domain="road", variable="flow", published="joint", reasons=("MAE 1 against 2",))
    return Promotion(world="tiny", as_of=as_of, model_id=model_id, previous=None, verdicts=(verdict,), reason="better")


def _scorecard(model_id: str, windows: int = 3) -> Scorecard:
    return Scorecard(
        world="tiny",
        model_id=model_id,
        as_of="2024-03-04T00:00:00Z",
        fold="test",
        periods={"road": ("2024-03-02T00:00:00Z", "2024-03-04T00:00:00Z")},
        snapshot="S",
        windows={"road": windows},
        rows=(),
    )


def test_a_candidate_comes_back_as_it_was_given_and_is_added_once(registry: Registry) -> None:
    files, card = {"joint.safetensors": b"weights", "joint.json": b"{}"}, {"as_of": "2024-03-04T00:00:00Z", "seed": 7}
    assert registry.add_candidate("m1", files, card)
    assert not registry.add_candidate("m1", files, card)
    found = registry.candidate("m1")
    assert found.card == card
    assert found.as_of == MONDAY
    assert {name: found.read(name) for name in found.file_names} == files
    with pytest.raises(ContractError, match="only joint"):
        found.read("other.bin")


def test_a_model_of_another_world_is_refused(registry: Registry, tmp_path: Path) -> None:
    registry.add_candidate("m1", {"a": b"1"}, {"as_of": "2024-03-04T00:00:00Z", "world": "tiny"})
    shutil.copytree(tmp_path / "registry" / "tiny", tmp_path / "registry" / "large")
    large = Registry(ObjectStore(str(tmp_path)), "large")
    assert registry.candidate("m1").card["world"] == "tiny"
    for read in (lambda: large.candidate("m1"), large.candidates):
        with pytest.raises(ContractError, match=r"a model of world tiny in .*large"):
            read()


def test_an_id_never_names_two_models(registry: Registry) -> None:
    registry.add_candidate("m1", {"a": b"1"}, {"as_of": "2024-03-04T00:00:00Z"})
    with pytest.raises(ConflictError, match="m1"):
        registry.add_candidate("m1", {"a": b"2"}, {"as_of": "2024-03-04T00:00:00Z"})


def test_the_newest_candidate_is_the_one_with_the_latest_cut_off_by_then(registry: Registry) -> None:
    for name, as_of in (("late", "2024-03-08T00:00:00Z"), ("first", "2024-03-04T00:00:00Z"), ("second", "2024-03-04T00:00:00Z")):
        registry.add_candidate(name, {}, {"as_of": as_of})
    assert registry.newest_candidate(TUESDAY) == "second"
    assert registry.newest_candidate(FRIDAY) == "late"
    with pytest.raises(NotYetAvailable, match="cubecast train"):
        registry.newest_candidate(datetime(2024, 1, 1, tzinfo=UTC))


def test_a_promotion_made_later_for_an_earlier_instant_does_not_unseat_the_champion(registry: Registry) -> None:
    registry.promote(_promotion("2024-03-08T00:00:00Z", "new"))
    registry.promote(_promotion("2024-03-04T00:00:00Z", "old"))
    assert registry.champion(FRIDAY).model_id == "new"
    assert registry.champion(TUESDAY).model_id == "old"
    assert not registry.promote(_promotion("2024-03-08T00:00:00Z", "new"))


def test_without_promotion_or_scorecard_the_mend_is_named(registry: Registry) -> None:
    with pytest.raises(NotYetAvailable, match="never trained"):
        registry.champion(FRIDAY)
    with pytest.raises(NotYetAvailable, match="cubecast evaluate"):
        registry.scorecard("m1")
    with pytest.raises(NotYetAvailable, match="there are: none"):
        registry.candidate("m1")


def test_an_unknown_model_is_answered_with_the_nearest_id_and_what_there_is(registry: Registry) -> None:
    for number in range(12):
        registry.add_candidate(f"ab{number:02d}ff", {}, {"as_of": "2024-03-04T00:00:00Z"})
    assert [c.model_id for c in registry.candidates()][:2] == ["ab00ff", "ab01ff"]
    with pytest.raises(NotYetAvailable, match="did you mean 'ab07ff'") as caught:
        registry.candidate("ab07fe")
    assert "ab11ff and 2 older ones" in caught.value.found
    with pytest.raises(NotYetAvailable, match="2 such models; there are: ab10ff, ab11ff"):
        registry.candidate("ab1")


def test_an_entry_written_before_entries_said_how_they_came_about_is_read(registry: Registry) -> None:
    old = {name: value for name, value in _promotion("2024-03-04T00:00:00Z", "m1").model_dump().items() if name != "how"}
    assert Promotion.model_validate(old).how == "evidence"


def test_the_newest_scorecard_counts_and_equal_ones_are_kept_once(registry: Registry) -> None:
    assert registry.add_scorecard(_scorecard("m1"), {"statistics.json": b"{}"})
    assert not registry.add_scorecard(_scorecard("m1"), {"statistics.json": b"{}"})
    assert registry.add_scorecard(_scorecard("m1", windows=4))
    assert registry.scorecard("m1").windows == {"road": 4}
    assert registry.evidence("m1").read("statistics.json") is None


def test_a_flipped_bit_in_any_file_of_the_registry_is_found_and_named(tmp_path: Path) -> None:
    objects = ObjectStore(str(tmp_path))
    registry = Registry(objects, "tiny")
    registry.add_candidate("m1", {"joint.safetensors": bytes(range(200))}, {"as_of": "2024-03-04T00:00:00Z"})
    registry.add_scorecard(_scorecard("m1"), {"statistics.json": b'{"a":1}'})
    registry.promote(_promotion("2024-03-08T00:00:00Z", "m1"))
    files = [tmp_path / key for key in objects.list("registry")]
    assert len(files) == 5
    for path in files:
        whole = path.read_bytes()
        for position in range(0, len(whole), max(1, len(whole) // 25)):
            broken = bytearray(whole)
            broken[position] ^= 1 << (position % 8)
            path.write_bytes(bytes(broken))
            with pytest.raises(StoreError, match=path.name):
                _read_all(objects)
        path.write_bytes(whole)
    _read_all(objects)


def _read_all(objects: ObjectStore) -> None:
    registry = Registry(objects, "tiny")
    candidate = registry.candidate("m1")
    for name in candidate.file_names:
        candidate.read(name)
    registry.evidence("m1").read("statistics.json")
    registry.champion(FRIDAY)


def test_a_record_lost_in_the_middle_of_a_log_is_noticed(tmp_path: Path) -> None:
    registry = Registry(ObjectStore(str(tmp_path)), "tiny")
    for day in (4, 5, 6):
        registry.promote(_promotion(f"2024-03-0{day}T00:00:00Z", f"m{day}"))
    (tmp_path / "registry/tiny/champions/00000001.json").unlink()
    with pytest.raises(StoreError, match="record 1 is missing"):
        registry.champion(FRIDAY)

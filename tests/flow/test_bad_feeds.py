"""What providers send wrongly: one clear message, the fitting exit code, nothing lost, and the same command goes on."""

import gzip
import json

import pytest

from pipeline.contracts.world_files import load_world
from pipeline.stores.objects import ObjectStore
from pipeline.stores.observations import ObservationStore
from tests.flow.places import RIVER, rows


def test_malformed_rows_are_kept_with_file_row_and_reason_and_the_counts_add_up(csv):
    text = rows(hours=48).replace("T03:00:00+01:00,a,53", "T03:00:00+01:00,a,fast", 1).replace("2025-01-02T", "2025-13-02T", 1) + "x,y\n"
    place = csv(text)
    assert place.do("land")[0] == 0
    code, out, err = place.do("observe", "--json")
    counts = json.loads(out)["counts"]
    assert (code, counts["road.raw"], counts["road.rejected"]) == (0, 97, 3), err
    assert counts["road.raw"] == counts["road.observations"] + counts["road.duplicates"] + counts["road.rejected"]
    kept = ObservationStore(ObjectStore(str(place.store)), load_world(str(place.world)), "road").rejections().to_pylist()
    assert [(r["file"], r["row"]) for r in kept] == [("r.csv", 7), ("r.csv", 49), ("r.csv", 97)]
    assert ["'fast' is no number" in kept[0]["reason"], "2025-13-02" in kept[1]["reason"], kept[2]["reason"]] == [
        True,
        True,
        "2 fields, not 3",
    ]
    assert kept[2]["raw"] == "x,y"


def test_a_truncated_gzip_names_the_file_and_a_whole_one_of_its_name_heals_it(csv):
    whole = gzip.compress(rows().encode(), mtime=0)
    place = csv(whole[:-200], file="r.csv.gz")
    assert place.do("land")[0] == 0
    said = place.fails(65, "observe")
    assert "ContractError: source road: unpack r.csv.gz" in said
    assert "truncated gzip" in said
    csv(whole, file="r.csv.gz")
    assert place.do("land")[0] == 0
    code, out, _ = place.do("observe", "--json")
    assert (code, json.loads(out)["counts"]["road.observations"]) == (0, 480)
    assert "r.csv.gz (delivery 0) is unreadable; a newer one took its place" in out


@pytest.mark.parametrize(
    ("content", "change", "words"),
    [
        (rows(), ('speed = { unit = "km/h" }', 'speed = { unit = "km/h", column = "sped" }'), ["column 'sped' of r.csv", "'speed'"]),
        ("", None, ["r.csv", "0 bytes"]),
        (bytes(range(128, 256)), None, ["header of r.csv", "utf-8", "options.encoding"]),
    ],
)
def test_a_file_that_cannot_be_read_breaks_the_contract_with_its_place(csv, content, change, words):
    place = csv(content, *([change] if change else []))
    assert place.do("land")[0] == 0
    said = place.fails(65, "observe")
    assert [word for word in ["ContractError: source road", *words] if word not in said] == []
    assert not list(place.store.glob("observations/*/*/*/commits/*"))


def test_a_missing_file_may_still_come(csv, tmp_path):
    place = csv(rows(), more=RIVER)
    said = place.fails(75, "run")
    assert "location 'data://river/*.csv'" in said
    assert str(tmp_path / "data" / "river") in said
    (tmp_path / "data" / "river" / "late.csv").write_text("time,node,level\n")
    code, out, err = place.do("run")
    assert code == 0, err
    assert "domain river" in out


def test_a_node_that_never_says_anything_hinders_no_other(csv):
    place = csv(rows(nodes="abc", silent="c"))
    code, out, err = place.do("run")
    assert code == 0, err
    assert "9 rows" in out


@pytest.mark.parametrize(
    ("content", "changes", "step", "words"),
    [
        (rows(silent="ab"), [], "train", ["domain 'road' holds no value", "2025-01-10T12:00:00Z"]),
        (rows(), [("horizon = 3", "horizon = 400")], "train", ["domain 'road' is not forecast", "shorten context and horizon"]),
        (rows(hours=8), [], "predict", ["no domain of road has a value in its context", "2025-01-10T12:00:00Z"]),
        ("time,node,speed\n", [], "build_cube", ["no domain that has begun and has a node", "wait for readings"]),
    ],
)
def test_too_little_data_says_so_at_the_step_that_needs_it(csv, content, changes, step, words):
    place = csv(content, *changes)
    said = place.fails(75, "run")
    assert [word for word in ["NotYetAvailable", *words] if word not in said] == []
    assert place.do("run")[2].splitlines()[-3].startswith("NotYetAvailable")
    assert f"\n{step} " in place.do("run")[2]

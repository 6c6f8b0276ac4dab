"""What people write wrongly, in world files and on the command line: told before anything runs, beside what there is."""

import pytest

import pipeline.__main__ as cli
from tests.flow.places import rows


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ([("Europe/Copenhagen", "Europe/Copenhagn")], ["sources.road.timezone = 'Europe/Copenhagn'", "did you mean 'Europe/Copenhagen'"]),
        (
            [("horizon = 3", "horzon = 3"), ('step = "1h"', 'step = "7h"'), ("context = 6", 'context = "six"'), ("unit =", "untit =")],
            [
                "6 fault(s)",
                "domains.road.horzon = 3: no such key; did you mean 'horizon'? allowed: title,",
                "domains.road.horizon: this key is missing",
                "7h does not divide a day",
                "domains.road.context = 'six'",
                "did you mean 'unit'",
            ],
        ),
        ([('source = "road"', 'source = "raod"')], ["domains.road.variables.speed.source = 'raod'", "did you mean 'road'"]),
        ([('adapter = "csv"', 'adapter = "cvs"')], ["sources.road.adapter = 'cvs'", "did you mean 'csv'"]),
        ([("node_column", "node_colum")], ["options.node_colum", "no such key; did you mean 'node_column'"]),
        ([('unit = "km/h"', 'unit = "kmh/h", to = "m s-1"')], ["sources.road.variables.speed.unit = 'kmh/h'", "no such unit"]),
        ([('step = "1h"', 'calendar = "XNYSE"')], ["domains.road.clock.calendar = 'XNYSE'", "did you mean 'XNYS'"]),
        ([('recipe = "tiny"', 'recipe = "tinny"')], ["recipe 'tinny'", "did you mean 'tiny'"]),
        ([("epochs", "epocs")], ["model option 'epocs'", "did you mean 'epochs'"]),
        ([("2025-01-10T12:00Z", "2026-01-10T12:00Z")], ["recorded", "is after end 2025-01-11T00:00:00Z"]),
        ([("2025-01-01T00:00Z", "2025-01-01T00:00")], ["start = '2025-01-01T00:00'", "no UTC offset"]),
        ([("horizon = 3", "horizon = = 3")], ["no valid TOML", "line"]),
    ],
)
def test_a_fault_of_a_world_file_is_told_before_anything_runs(csv, changes, words, capsys):
    place = csv(rows(), *changes)
    said = place.fails(78, "run")
    assert [word for word in ["ConfigError: world", "roads", *words] if word not in said] == []
    assert not place.store.exists()
    assert cli.main(["worlds", "check", str(place.world)]) == 78
    err = capsys.readouterr().err
    assert [word for word in words if word not in err] == []


def test_a_world_file_that_is_no_text_is_named(csv):
    place = csv(rows())
    place.world.write_bytes(b"\xff\xfe\x00")
    assert "no UTF-8 text" in place.fails(78, "land")


@pytest.mark.parametrize(
    ("code", "line", "words"),
    [
        (78, "land --source wether", ["source 'wether' of world tiny", "did you mean 'weather'"]),
        (78, "train --recipe tinny", ["recipe 'tinny'", "did you mean 'tiny'"]),
        (78, "train --set epocs=3", ["model option 'epocs'", "did you mean 'epochs'"]),
        (78, "train --set epochs=many", ["epochs = 'many'", "a whole number"]),
        (78, "predict --as-of 2025-10-30T12:00", ["--as-of 2025-10-30T12:00", "no UTC offset"]),
        (78, "run --as-of 2020-01-01T00:00Z", ["before it begins", "2025-10-22T00:00:00Z .. 2025-10-31T00:00:00Z"]),
        (78, "predict --as-of 2027-01-01T00:00Z", ["later than it reaches", "such as 2025-10-30T12:00:00Z"]),
        (75, "train --as-of 2025-10-22T02:00Z", ["no training window", "2025-10-22T02:00:00Z", "later --as-of"]),
        (75, "publish --as-of 2025-10-29T12:00Z", ["issued at 2025-10-29T12:00:00Z", "cubecast predict"]),
        (75, "verify --issue-time 2025-10-29T12:00Z", ["issued at 2025-10-29T12:00:00Z", "cubecast publish"]),
        (75, "evaluate --model-id abc", ["model abc of world tiny", "there are: "]),
    ],
)
def test_what_is_unknown_is_named_beside_what_there_is(tiny, code, line, words):
    said = tiny("done").fails(code, *line.split())
    assert [word for word in words if word not in said] == []

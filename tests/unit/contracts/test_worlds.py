"""World files: those that come with the project are right, and a wrong one says where, what and how to mend it."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.contracts.world_files import load_world, parse_world, world_names
from pipeline.errors import ConfigError
from pipeline.sources.registry import check_sources, source_names
from pipeline.steps.checks import check_units
from tests.world import tiny_world

GOOD = """
name = "w"
title = "W"
start = "2020-01-01T00:00Z"
[sources.s]
adapter = "csv"
locations = ["data://a.csv"]
timezone = "Europe/Copenhagen"
options = { time = "t", node = "x" }
[sources.s.variables]
v = { unit = "degC" }
[domains.d]
title = "D"
clock = { step = "1h" }
context = 2
horizon = 1
[domains.d.variables]
v = { source = "s" }
"""


@pytest.mark.parametrize("name", world_names())
def test_every_world_of_the_project_is_right_down_to_options_and_units(name: str) -> None:
    world = load_world(name)
    check_sources(world)
    check_units(world)
    assert world.recorded is None or world.start < world.recorded.as_of < world.recorded.end


def test_the_worlds_are_there() -> None:
    assert {"aarhus", "london", "synthetic", "us"} <= set(world_names())


def test_the_feeds_of_the_synthetic_world_tell_of_one_truth() -> None:
    options = [dict(s.options) for s in load_world("synthetic").sources.values()]
    assert {o.pop("feed") for o in options} == {"weather", "roads", "prices", "outlook", "notices"}
    assert options[0] == options[1] == options[2]


def test_the_tiny_world_is_right(tmp_path: Path) -> None:
    world = load_world(str(tiny_world(tmp_path)))
    check_sources(world)
    assert (world.name, len(world.sources), len(world.domains)) == ("tiny", 5, 3)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("horizon = 1", "horizn = 1", ["w.toml", "domains.d.horizn", "did you mean 'horizon'"]),
        ("horizon = 1", "horizon = 0", ["domains.d", "at least 1"]),
        ("horizon = 1", 'horizon = "one"', ["domains.d.horizon = 'one'", "integer"]),
        ('step = "1h"', 'step = "7h"', ["domains.d.clock", "does not divide a day"]),
        ('step = "1h"', 'step = "1 hour"', ["domains.d.clock.step", "no duration", "5min"]),
        ('clock = { step = "1h" }', "clock = { }", ["domains.d.clock", "step = '5min' or calendar"]),
        ("Europe/Copenhagen", "Europe/Kopenhagen", ["sources.s.timezone = 'Europe/Kopenhagen'", "did you mean 'Europe/Copenhagen'"]),
        ('source = "s"', 'source = "z"', ["domains.d.variables.v.source = 'z'", "allowed: s"]),
        ("[domains.d.variables]\nv", "[domains.d.variables]\nw", ["domains.d.variables.w: source 's' has no such variable", "allowed: v"]),
        (
            '{ source = "s" }',
            '{ source = "s", aggregate = "sum", max_age = "3h" }',
            ["domains.d.variables.v", "aggregate = 'last'", "a sum"],
        ),
        ("2020-01-01T00:00Z", "2020-01-01T00:00", ["start", "no UTC offset"]),
        ('name = "w"', 'name = "W"', ["name = 'W'"]),
        ('title = "W"', "title = ", ["no valid TOML", "line 3"]),
        ('v = { unit = "degC" }', 'v = { untit = "degC" }', ["sources.s.variables.v.untit", "did you mean 'unit'"]),
    ],
)
def test_a_fault_names_file_key_value_and_mend(old: str, new: str, words: list[str]) -> None:
    assert old in GOOD
    with pytest.raises(ConfigError) as caught:
        parse_world(GOOD.replace(old, new, 1), "w.toml")
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('"csv"', '"cvs"', ["sources.s.adapter = 'cvs'", "did you mean 'csv'"]),
        ('time = "t"', 'tiem = "t"', ["sources.s", "options.tiem", "did you mean 'time'"]),
        ('locations = ["data://a.csv"]', "", ["sources.s", "locations"]),
    ],
)
def test_a_wrong_source_names_key_and_mend(old: str, new: str, words: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        check_sources(parse_world(GOOD.replace(old, new, 1), "w.toml"))
    for word in words:
        assert word in str(caught.value)


def test_an_unknown_unit_names_the_variable() -> None:
    with pytest.raises(ConfigError, match=r"sources\.s\.variables\.v\.unit"):
        check_units(parse_world(GOOD.replace('unit = "degC"', 'unit = "dgC", to = "K"'), "w.toml"))


def test_an_unknown_source_name_offers_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean 'weather'"):
        source_names(load_world("us"), "wether")


def test_an_unknown_world_offers_the_nearest_and_a_file_must_be_named_as_its_world(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="did you mean 'aarhus'"):
        load_world("arhus")
    (tmp_path / "other.toml").write_text(GOOD)
    with pytest.raises(ConfigError, match="name it 'other'"):
        load_world(str(tmp_path / "other.toml"))
    with pytest.raises(ConfigError, match="no valid name"):
        load_world("../etc/passwd")


EVENT = '[domains.d.events.hot]\nvariable = "v"\nabove = 30.0\n'


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (EVENT.replace('"v"', '"w"'), "domains.d.events.hot.variable = 'w': no such target; allowed: v"),
        (EVENT + "below = 1.0\n", "give either above or below"),
        (EVENT.replace("above = 30.0", ""), "give either above or below"),
        ('[domains.d.regimes.availability]\nvariable = "v"\nabove = 1.0\n', "give it another name"),
        ('[domains.d.regimes.wet]\ndomain = "e"\nvariable = "v"\nabove = 1.0\n', "regimes.wet.domain = 'e': no such domain"),
        ('[promotion]\napproval = "person"\n', "promotion.approval"),
        ('[promotion.stands]\n"d.w" = "persistence"\n', "promotion.stands.'d.w': no such target; did you mean 'd.v'?"),
        ('[promotion.stands]\n"d.v" = "joint"\n', "promotion.stands"),
    ],
)
def test_an_event_a_regime_or_a_rule_that_cannot_be_judged_by_is_refused_with_its_key(more: str, said: str) -> None:
    with pytest.raises(ConfigError) as found:
        parse_world(GOOD + more, "w.toml")
    assert said in str(found.value)


CRON = '[schedule]\ningest = "0 * * * *"\nissue = "0 6 * * *"\ntrain = "0 2 * * *"\n'


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ('required = ["t"]\n', "schedule.required: no source 't'; allowed: s"),
        ("enough = 2\n", "schedule.enough = 2: the world has 1 source(s)"),
        ("enough = 0\n", "schedule.enough"),
    ],
)
def test_a_schedule_that_asks_for_more_sources_than_there_are_is_refused_with_its_key(more: str, said: str) -> None:
    with pytest.raises(ConfigError) as found:
        parse_world(GOOD + CRON + more, "w.toml")
    assert said in str(found.value)
    right = parse_world(GOOD + CRON + 'required = ["s"]\n', "w.toml")
    assert right.schedule is not None
    assert (right.schedule.required, right.schedule.enough) == (("s",), 1)
    assert right.digest == parse_world(GOOD, "w.toml").digest, "the schedule changes nothing that is learned"


def test_events_and_groups_are_read_and_change_nothing_that_is_learned() -> None:
    plain = parse_world(GOOD, "w.toml")
    more = parse_world(GOOD + EVENT + '[domains.d.groups]\nnorth = ["a", "n*"]\n[promotion]\nmargin = 0.5\n', "w.toml")
    assert more.domains["d"].events["hot"].warn_at == 0.5
    assert more.domains["d"].groups == {"north": ("a", "n*")}
    assert more.promotion.margin == 0.5
    assert more.digest == plain.digest

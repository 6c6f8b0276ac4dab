"""Plots as files: every kind in both formats, with what they say."""

from __future__ import annotations

import re
import struct
from dataclasses import replace

import pytest

from pipeline.errors import NotYetAvailable
from pipeline.publishing.plots import PLOTS, plot_bytes
from tests.browser.demo import demo_page, weather_on_a_grid

PAGE = demo_page(nodes={"traffic": 12, "weather": 6, "parking": 8, "market": 5})
CHOSEN = {"domain": "traffic", "variable": "vehicle_count", "node": 5, "lead": 1}
SAYS = {
    "maps": ("+5 min", "+1 h", "Road traffic", "issued Tue 30 Sep 2014, 18:00"),
    "fan": (PAGE.forecast.domains["traffic"].node_ids[5], "what came", "medians issued before", "90 % of outcomes"),
    "skill": ("Mean error: Vehicles per 5 minutes", "Persistence", "Joint model saves"),
    "calibration": ("Reliability", "held-out days (n = 4,320)", "in replay (n = 3,600)", "inside the 80 % band"),
    "explanation": ("Neighbours in space", "City weather", "made by: joint model"),
}


def _texts(svg: bytes) -> str:
    return " ".join(re.findall(r">([^<>]+)</text>", svg.decode()))


@pytest.mark.parametrize("kind", list(PLOTS))
def test_every_plot_says_what_it_shows(kind: str) -> None:
    said = _texts(plot_bytes(kind, PAGE, "svg", **CHOSEN))
    assert [word for word in SAYS[kind] if word not in said] == []


def test_a_plot_is_the_same_again_and_of_a_size_to_read() -> None:
    assert plot_bytes("skill", PAGE, "svg", **CHOSEN) == plot_bytes("skill", PAGE, "svg", **CHOSEN)
    png = plot_bytes("fan", PAGE, "png", **CHOSEN)
    width, height = struct.unpack(">II", png[16:24])
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    assert 600 < width < 4000
    assert 300 < height < 2000


@pytest.mark.parametrize(("domain", "variable"), [("market", "close"), ("parking", "occupied"), ("weather", "temperature")])
def test_places_are_drawn_as_tiles_points_or_cells(domain: str, variable: str) -> None:
    page = weather_on_a_grid(PAGE, rows=2) if domain == "weather" else PAGE
    said = _texts(plot_bytes("maps", page, "svg", domain=domain, variable=variable, node=0, lead=0))
    assert ("without a map position" in said) == (domain == "market")


def test_a_change_that_was_looked_at_is_explained_by_what_was_hidden() -> None:
    told = PAGE.forecast.provenance["explanation"]["traffic"]["changes"][0]
    node = PAGE.forecast.domains["traffic"].node_ids.index(told["node"])
    said = _texts(plot_bytes("explanation", PAGE, "svg", **{**CHOSEN, "node": node}))
    assert "How far it moves with that hidden" in said
    assert "the strongest" in said


@pytest.mark.parametrize("kind", ["skill", "calibration"])
def test_scores_that_are_not_there_are_told_with_the_command_that_makes_them(kind: str) -> None:
    with pytest.raises(NotYetAvailable, match="cubecast evaluate --world demo"):
        plot_bytes(kind, replace(PAGE, scorecard=None, replay=None), "png", **CHOSEN)


def test_scores_of_replay_are_drawn_where_the_model_was_never_evaluated_and_say_so() -> None:
    said = _texts(plot_bytes("skill", replace(PAGE, scorecard=None), "svg", **CHOSEN))
    assert "as they would have been" in said
    assert "As published" in said

from __future__ import annotations

from dataclasses import replace
from zoneinfo import ZoneInfo

import numpy as np

from pipeline.publishing.page import render_page
from pipeline.publishing.page_inputs import PageInputs
from pipeline.publishing.page_warnings import MOST_PLACES, warnings
from pipeline.publishing.words import percent_text, span_text
from tests.browser.demo import ISSUE_TIME, demo_page

SMALL = {"traffic": 9, "weather": 1, "parking": 2, "market": 3}


def _with_slow(probability_LN: np.ndarray) -> PageInputs:
    page = demo_page(nodes=SMALL)
    traffic = replace(page.forecast.domains["traffic"], events={"slow": probability_LN.astype(np.float32)})
    return replace(page, forecast=replace(page.forecast, domains={**page.forecast.domains, "traffic": traffic}))


def test_places_are_listed_by_their_highest_probability_with_the_time_it_is_reached() -> None:
    told = np.full((12, 9), 0.1)
    told[3:6, 4], told[4, 4], told[7, 2] = 0.6, 0.9, 0.7
    page = _with_slow(told)
    found = warnings(page)[0]
    nodes = page.forecast.domains["traffic"].node_ids
    assert (found["title"], found["condition"], found["places"], found["of"]) == ("Slow traffic", "Average speed below 40 km/h", 2, 9)
    assert [row["node"] for row in found["rows"]] == [nodes[4], nodes[2]]
    first = found["rows"][0]
    assert (first["peak"], first["lead"], first["steps"], first["when"]) == ("90 %", 4, "3 of 12", "Tue 30 Sep 2014, 18:20 to 18:30")
    assert found["more"] == 0


def test_more_places_than_are_listed_are_counted() -> None:
    found = warnings(_with_slow(np.full((12, 9), 0.8)))[0]
    assert len(found["rows"]) == MOST_PLACES
    assert found["more"] == 9 - MOST_PLACES


def test_without_a_warning_the_page_names_what_is_most_probable() -> None:
    told = np.full((12, 9), 0.1)
    told[5, 6] = 0.31
    html = render_page(_with_slow(told)).decode()
    assert "No warning. Most probable: 31 % at " in html
    assert "<dt>Warnings</dt><dd>None</dd>" in html


def test_a_world_without_events_has_no_part_of_warnings() -> None:
    page = demo_page(nodes=SMALL)
    bare = {name: replace(d, events={}) for name, d in page.forecast.domains.items()}
    html = render_page(replace(page, forecast=replace(page.forecast, domains=bare))).decode()
    assert 'id="warnings"' not in html


def test_a_probability_is_never_rounded_to_certainty() -> None:
    assert [percent_text(p) for p in (0, 0.001, 0.501, 0.999, 1)] == ["0 %", "under 1 %", "50 %", "over 99 %", "100 %"]


def test_a_span_names_its_day_once() -> None:
    zone = ZoneInfo("Europe/Copenhagen")
    assert span_text(ISSUE_TIME, ISSUE_TIME, zone) == "Tue 30 Sep 2014, 18:00"
    assert span_text(ISSUE_TIME, ISSUE_TIME + 3600, zone) == "Tue 30 Sep 2014, 18:00 to 19:00"
    assert span_text(ISSUE_TIME, ISSUE_TIME + 86400, zone) == "Tue 30 Sep 2014, 18:00 to Wed 1 Oct 2014, 18:00"

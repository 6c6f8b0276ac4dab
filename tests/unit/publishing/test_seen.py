"""What a forecast was made from, told by terminal and page in the same words, and what a re-issue says of it."""

from __future__ import annotations

from dataclasses import replace

from pipeline.publishing.page import render_page
from pipeline.publishing.page_inputs import PageInputs
from pipeline.publishing.revisions import change_lines, changes
from pipeline.publishing.seen import document_rows, run_rows, seen_lines
from tests.browser.demo import RUN, demo_page

SMALL = {"traffic": 2, "weather": 1, "parking": 2, "market": 2}


def told_otherwise(page: PageInputs, **provenance: object) -> PageInputs:
    return replace(page, forecast=replace(page.forecast, provenance={**page.forecast.provenance, **provenance}))


def test_lines_name_each_run_and_each_stream_with_its_age_and_what_was_not_there() -> None:
    lines = seen_lines({**demo_page(nodes=SMALL).forecast.provenance, "inputs": {}, "absent": ["market"]})
    assert lines == [
        "forecasts by others for traffic: run of 2014-09-30T12:00:00Z, 4 h old, known 2014-09-30T15:00:00Z, 88 % of the targets",
        "forecasts by others for weather: no run was known",
        "documents of road_notices: 1,204, the newest 25 min old",
        "documents of events: none within their reach",
        "input market: absent, not forecast",
    ]


def test_a_forecast_that_records_neither_is_shown_without_them() -> None:
    page = demo_page(nodes=SMALL)
    old = replace(page, forecast=replace(page.forecast, provenance={"model_id": "m", "inputs": page.forecast.provenance["inputs"]}))
    html = render_page(old).decode()
    assert "How fresh the data were" in html
    assert [word for word in ("Forecasts by others", "Documents") if word in html] == []
    assert (run_rows(old.world, old.forecast), document_rows(old.world, old.forecast)) == ([], [])
    assert [line for line in seen_lines(old.forecast.provenance) if not line.startswith("input ")] == []


def test_runs_of_a_domain_and_streams_that_the_world_no_longer_has_do_no_harm() -> None:
    page = told_otherwise(demo_page(nodes=SMALL), future={"rivers": RUN}, texts={"letters": {"documents": 3, "age_seconds": 60}})
    assert run_rows(page.world, page.forecast) == []
    [row] = document_rows(page.world, page.forecast)
    assert (row["stream"], row["reach"], row["age"]) == ("Letters", "", "1 min")
    assert "Letters" in render_page(page).decode()


def test_a_re_issue_names_the_run_and_the_documents_that_are_others() -> None:
    page = demo_page(nodes=SMALL)
    newer = {**RUN, "init_time": "2014-09-30T15:00:00Z", "age_seconds": 3600, "share_present": 1.0}
    texts = {**page.forecast.provenance["texts"], "events": {"documents": 2, "age_seconds": 300}}
    found = changes(page.forecast, told_otherwise(page, future={"traffic": newer, "weather": None}, texts=texts).forecast)
    assert change_lines(found) == [
        "documents of events: documents 0 → 2",
        "documents of events: age none → 5 min",
        "forecasts by others for traffic: run of 2014-09-30T12:00:00Z → 2014-09-30T15:00:00Z",
        "forecasts by others for traffic: age 4 h → 1 h",
        "forecasts by others for traffic: present 87.5% → 100.0%",
    ]

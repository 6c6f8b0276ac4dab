from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from pipeline.contracts.nodes import NodeSet
from pipeline.publishing.page import render_page
from pipeline.publishing.page_data import kept_nodes, page_data
from pipeline.publishing.page_inputs import Earlier
from tests.browser.demo import demo_page

SMALL = {"traffic": 5, "weather": 1, "parking": 2, "market": 3}


def test_the_page_is_one_file_without_any_address_to_load_from() -> None:
    html = render_page(demo_page(nodes=SMALL)).decode()
    assert not re.findall(r"""(?:src|href)=["'](?!#)""", html)
    assert "http://" not in html.replace("http://www.w3.org/2000/svg", "")
    assert "https://" not in html
    assert "default-src 'none'" in html


def test_the_same_inputs_give_the_same_bytes() -> None:
    assert render_page(demo_page(nodes=SMALL)) == render_page(demo_page(nodes=SMALL))


def test_text_from_outside_cannot_leave_its_place() -> None:
    page = demo_page(nodes=SMALL)
    evil = "</script><img src=x onerror=alert(1)>"
    page = replace(page, card={"note": evil}, world=page.world.model_copy(update={"title": evil, "description": evil}))
    html = render_page(page).decode()
    assert evil not in html
    assert html.count("</script>") == 2


def test_a_page_without_scores_promotion_or_outcomes_says_so() -> None:
    page = replace(demo_page(nodes=SMALL, verified=False), scorecard=None, promotions=(), explanation={}, card={})
    html = render_page(page).decode()
    assert "Nothing was promoted yet" in html
    assert "Not verified yet" in html
    variable = page_data(page)["domains"][0]["variables"][0]
    assert variable["scores"] == {}
    assert variable["came"] is None
    assert variable["verified"] is None


def test_scores_of_held_out_days_and_of_replay_stand_beside_each_other_and_say_which_they_are() -> None:
    page = demo_page(nodes=SMALL)
    variable = page_data(page)["domains"][0]["variables"][0]
    heldout, replay = variable["scores"]["heldout"], variable["scores"]["replay"]
    assert heldout["sentence"].startswith("Held-out days")
    assert "72 issue times that no model has seen" in heldout["sentence"]
    assert "60 past issue times forecast as they would have been, by models trained daily" in replay["sentence"]
    assert replay["all"]["joint"]["mae"] > heldout["all"]["joint"]["mae"]
    assert replay["all"]["published"]["n"] == variable["calibration"]["replay"]["published"]["n"] > 0
    alone = page_data(replace(page, replay=None))["domains"][0]["variables"][0]
    assert alone["scores"].keys() == {"heldout"}
    assert alone["calibration"]["replay"] == {}


def test_weights_are_put_in_the_order_of_the_forecast_nodes() -> None:
    page = demo_page(nodes=SMALL)
    found = dict(page.explanation["traffic"])
    turned = {**found, "node_ids": found["node_ids"][::-1], "alpha": found["alpha"][::-1], "beta": found["beta"][::-1]}
    straight = page_data(page)["domains"][0]["explain"]
    assert page_data(replace(page, explanation={"traffic": turned}))["domains"][0]["explain"] == straight
    assert straight["beta"][1] == round(found["beta"][1][0], 4)


def test_a_re_issue_says_on_the_page_what_changed() -> None:
    page = replace(demo_page(nodes=SMALL), revision=2, changes=("traffic/flow: median changed by 0.5 count on average, at most 2",))
    html = render_page(page).decode()
    assert "Issued again: revision 2." in html
    assert "median changed by 0.5 count" in html
    assert "Issued again" not in render_page(demo_page(nodes=SMALL)).decode()


def test_a_domain_of_many_places_shows_some_of_them_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.publishing.page_data.MOST_NODES", 4)
    traffic = page_data(demo_page(nodes={**SMALL, "traffic": 11}))["domains"][0]
    assert (len(traffic["nodes"]), traffic["all_nodes"]) == (4, 11)
    assert len(traffic["variables"][0]["q"][0]) == 12 * 4
    assert len(traffic["variables"][0]["earlier"][0]["came"]) == 12 * 4
    d = demo_page(nodes={**SMALL, "weather": 12}).forecast.domains["weather"]
    grid = NodeSet(ids=d.node_ids, latitude=np.zeros(12), longitude=np.zeros(12), shape=(3, 4))
    assert kept_nodes(d, grid)[1] == (2, 2)
    assert kept_nodes(d, grid)[0].tolist() == [0, 2, 8, 10]


def test_what_was_looked_at_is_told_in_the_order_of_the_forecast_nodes() -> None:
    page = demo_page(nodes=SMALL)
    found = page_data(page)["domains"][0]["looked"]
    told = page.forecast.provenance["explanation"]["traffic"]
    assert len(found["changes"]) == len(told["changes"]) == 6
    first = found["changes"][0]
    assert page.forecast.domains["traffic"].node_ids[first["n"]] == told["changes"][0]["node"]
    assert first["modality"].keys() == {"weather", "parking", "market"}
    assert found["names"]["weather"] == "City weather"


def test_an_earlier_forecast_of_fewer_nodes_leaves_the_others_empty() -> None:
    page = demo_page(nodes=SMALL)
    before = page.earlier[0].forecast.domains["traffic"]
    fewer = replace(before, node_ids=before.node_ids[1:], quantiles_LNVQ=before.quantiles_LNVQ[:, 1:])
    earlier = Earlier(forecast=replace(page.earlier[0].forecast, domains={"traffic": fewer}), came={})
    told = page_data(replace(page, earlier=(earlier,)))["domains"][0]["variables"][0]["earlier"][0]
    assert told["q"][1][0] is None
    assert told["q"][1][1] is not None
    assert told["came"] is None

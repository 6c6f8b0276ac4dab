from __future__ import annotations

import re
from dataclasses import replace

from pipeline.publishing.page import render_page
from pipeline.publishing.page_data import page_data
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
    page = replace(demo_page(nodes=SMALL, verified=False), scorecard=None, promotion=None, explanation={}, card={})
    html = render_page(page).decode()
    assert "Nothing was promoted yet" in html
    assert "Not verified yet" in html
    variable = page_data(page)["domains"][0]["variables"][0]
    assert variable["scores"] is None
    assert variable["came"] is None
    assert variable["verified"] is None


def test_weights_are_put_in_the_order_of_the_forecast_nodes() -> None:
    page = demo_page(nodes=SMALL)
    found = dict(page.explanation["traffic"])
    turned = {**found, "node_ids": found["node_ids"][::-1], "alpha": found["alpha"][::-1], "beta": found["beta"][::-1]}
    straight = page_data(page)["domains"][0]["explain"]
    assert page_data(replace(page, explanation={"traffic": turned}))["domains"][0]["explain"] == straight
    assert straight["beta"][1] == float(f"{found['beta'][1][0]:.6g}")

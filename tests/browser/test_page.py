"""The page in a real browser, at the size of a city."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.publishing.page import render_page
from tests.browser.demo import demo_page

CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]

pytestmark = pytest.mark.skipif(not CHROMIUM.exists(), reason="no Chromium at /usr/bin/chromium (Debian: apt-get install chromium)")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        chromium = play.chromium.launch(executable_path=str(CHROMIUM), args=ARGUMENTS)
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("page")
    found = {}
    for name, verified in (("verified", True), ("fresh", False)):
        (folder / f"{name}.html").write_bytes(render_page(demo_page(verified=verified)))
        found[name] = (folder / f"{name}.html").as_uri()
    return found


@pytest.fixture
def opened(browser: Any, pages: dict[str, str]) -> Iterator[Any]:
    """Opens a page and fails the test at its end if the console said anything or anything was asked of a network."""
    said: list[str] = []
    contexts = []

    def open_page(name: str = "verified", **options: Any) -> Any:
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: None if request.url == pages[name] else said.append(f"request {request.url}"))
        page.goto(pages[name])
        page.wait_for_selector("html[data-ready=yes]", state="attached", timeout=5000)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert said == []


def test_a_city_of_449_segments_is_ready_within_two_seconds(opened: Any) -> None:
    start = time.monotonic()
    page = opened()
    assert time.monotonic() - start < 2
    assert page.locator("#map .node").count() == 449
    assert page.locator("#node option").count() == 449


def test_the_slider_moves_the_map_the_fan_and_the_split(opened: Any) -> None:
    page = opened()
    before = [page.inner_text("#lead-text"), page.inner_html("#map"), page.inner_text("#why-sub"), page.inner_html("#split")]
    page.focus("#lead")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    after = [page.inner_text("#lead-text"), page.inner_html("#map"), page.inner_text("#why-sub"), page.inner_html("#split")]
    assert "15 min ahead" in after[0]
    assert all(a != b for a, b in zip(before, after, strict=True))


def test_choosing_a_place_by_list_by_click_and_by_key_changes_the_chart(opened: Any) -> None:
    page = opened()
    seen = {page.inner_html("#fan")}
    page.select_option("#node", "17")
    seen.add(page.inner_html("#fan"))
    box = page.locator("#map .node").nth(200).bounding_box()
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    chosen = int(page.input_value("#node"))
    assert chosen != 17
    seen.add(page.inner_html("#fan"))
    page.focus("#map")
    page.keyboard.press("ArrowRight")
    assert int(page.input_value("#node")) == (chosen + 1) % 449
    seen.add(page.inner_html("#fan"))
    assert len(seen) == 4


def test_tabs_and_variables_switch_and_every_domain_draws_all_its_charts(opened: Any) -> None:
    page = opened()
    titles = [tab.inner_text() for tab in page.locator("[role=tab]").all()]
    assert titles == ["Road traffic", "City weather", "Car parks", "Shares"]
    page.get_by_role("button", name="Average speed").click()
    assert "km/h" in page.inner_text("#fan-sub")
    for title in titles:
        page.get_by_role("tab", name=title).click()
        assert page.locator("[role=tab][aria-selected=true]").inner_text() == title
        for chart in ("#map svg", "#fan svg", "#skill svg", "#split tr", "#skill-table tbody tr", "#weights .stack"):
            assert page.locator(chart).count() > 0, (title, chart)
        assert "NaN" not in page.inner_html("main")
        assert "undefined" not in page.inner_html("main")
    page.locator("[role=tab][aria-selected=true]").focus()
    page.keyboard.press("ArrowRight")
    assert page.locator("[role=tab][aria-selected=true]").inner_text() == "Road traffic"


def test_hovering_tells_numbers_with_units_and_measures_switch(opened: Any) -> None:
    page = opened()
    page.get_by_role("tab", name="City weather").click()
    box = page.locator("#fan svg").bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.8, box["y"] + box["height"] / 2)
    assert "°C" in page.inner_text("#tip")
    assert "80 % band" in page.inner_text("#tip")
    before = page.inner_html("#skill")
    page.get_by_role("button", name="Coverage").click()
    assert page.inner_html("#skill") != before


def test_what_came_is_drawn_once_verified_and_said_to_be_awaited_before(opened: Any) -> None:
    verified, fresh = opened("verified"), opened("fresh")
    assert "12 of 12 leads observed" in verified.inner_text("#came")
    assert "not verified yet" in fresh.inner_text("#came")
    assert "Not verified yet" in fresh.inner_text("#verified")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_shows_the_page_without_sideways_scrolling_in_either_scheme(opened: Any, scheme: str) -> None:
    page = opened(viewport={"width": 390, "height": 844}, color_scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    text, ground = page.evaluate("[getComputedStyle(document.body).color, getComputedStyle(document.body).backgroundColor]")
    assert _contrast(text, ground) > 7


def _contrast(one: str, other: str) -> float:
    def luminance(colour: str) -> float:
        parts = [int(c) / 255 for c in colour[4:-1].split(",")]
        linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_every_control_has_a_name_and_every_chart_a_description(opened: Any) -> None:
    page = opened()
    nameless = page.evaluate(
        "[...document.querySelectorAll('button,select,input,svg[role=img]')].filter(e => !(e.getAttribute('aria-label')"
        " || e.textContent.trim() || (e.labels && e.labels.length))).length"
    )
    assert nameless == 0
    assert "forecast for" in page.get_attribute("#fan svg", "aria-label")

"""The page in a real browser, at the size of a city."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.publishing.page import render_page
from tests.browser.demo import demo_page, weather_on_a_grid

CHROMIUM = Path("/usr/bin/chromium")
TOWN = {"traffic": 60, "weather": 1, "parking": 8, "market": 50}
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
    pages = {"city": demo_page(), "verified": demo_page(nodes=TOWN), "fresh": demo_page(nodes=TOWN, verified=False)}
    pages["grid"] = weather_on_a_grid(demo_page(nodes={**TOWN, "weather": 48}), rows=6)
    for name, inputs in pages.items():
        (folder / f"{name}.html").write_bytes(render_page(inputs))
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


def test_a_city_of_500_segments_is_ready_within_two_seconds(opened: Any) -> None:
    start = time.monotonic()
    page = opened("city")
    assert time.monotonic() - start < 2
    assert page.locator("#map .node").count() == 500
    assert page.locator("#node option").count() == 500


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
    page.locator("#map").scroll_into_view_if_needed()
    box = page.locator("#map .node").nth(30).bounding_box()
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    chosen = int(page.input_value("#node"))
    assert chosen != 17
    seen.add(page.inner_html("#fan"))
    page.focus("#map")
    page.keyboard.press("ArrowRight")
    assert int(page.input_value("#node")) == (chosen + 1) % 60
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
    page.locator("#fan svg").scroll_into_view_if_needed()
    box = page.locator("#fan svg").bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.8, box["y"] + box["height"] / 2)
    assert "°C" in page.inner_text("#tip")
    assert "80 % band" in page.inner_text("#tip")
    before = page.inner_html("#skill")
    page.get_by_role("button", name="RMSE").click()
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


TEXTS = """() => {
  const parse = (c) => { const m = c.match(/[\\d.]+/g).map(Number); return m.length === 3 ? [...m, 1] : m; };
  const over = (top, under) => top.slice(0, 3).map((c, i) => c * top[3] + under[i] * (1 - top[3]));
  const ground = (e) => {
    const layers = [];
    for (; e; e = e.parentElement) { const c = parse(getComputedStyle(e).backgroundColor); if (c[3]) layers.push(c); if (c[3] === 1) break; }
    return layers.reverse().reduce((under, top) => over(top, under), [255, 255, 255]);
  };
  const light = (c) => { const [r, g, b] = c.map((x) => ((x /= 255) <= 0.03928 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4)); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const found = [], walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const e = walker.currentNode.parentElement, box = e.getBoundingClientRect(), style = getComputedStyle(e);
    if (!walker.currentNode.textContent.trim() || !box.width || e.closest("script,style,.vh,.skip,#tip,[data-label],option")) continue;
    const ink = over(parse(e.namespaceURI.includes("svg") ? style.fill : style.color), ground(e)), pair = [light(ink), light(ground(e))].sort((a, b) => b - a);
    const large = parseFloat(style.fontSize) >= 24 || (parseFloat(style.fontSize) >= 18.66 && +style.fontWeight >= 700);
    found.push([(pair[0] + 0.05) / (pair[1] + 0.05), large ? 3 : 4.5, walker.currentNode.textContent.trim().slice(0, 40)]);
  }
  return found;
}"""
"""Every text that is seen, with its contrast against what lies behind it, and what WCAG 2 AA asks of it."""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_has_the_contrast_that_wcag_aa_asks_for(opened: Any, scheme: str) -> None:
    page = opened(color_scheme=scheme)
    for title in ("Road traffic", "Shares"):
        page.get_by_role("tab", name=title).click()
        page.wait_for_timeout(50)
        texts = page.evaluate(TEXTS)
        assert len(texts) > 300
        assert [text for text in texts if text[0] < text[1]] == []


def test_earlier_forecasts_stand_beside_what_came(opened: Any) -> None:
    page = opened()
    assert page.locator("#earlier figure svg").count() == 3
    assert "inside the 80 % band" in page.inner_text("#earlier")
    assert "medians issued before" in page.inner_text("#fan-key")
    before = page.inner_html("#earlier")
    page.select_option("#node", "40")
    page.wait_for_function("(old) => document.getElementById('earlier').innerHTML !== old", arg=before)
    assert "No forecast of this place" in opened("fresh").inner_text("#earlier")


def test_calibration_says_how_many_outcomes_each_band_held(opened: Any) -> None:
    page = opened()
    assert "% lay in the 80 % band" in page.inner_text("#calibration-sub")
    assert page.locator("#reliability circle").count() >= 2
    page.locator("#coverage svg").hover()
    assert "90 % band holds" in page.inner_text("#tip")


def test_scores_of_replay_are_one_click_away_from_those_of_held_out_days_and_absent_without_a_replay(opened: Any) -> None:
    page = opened()
    parts = ("#skill", "#skill-table", "#skill-sub", "#calibration-sub", "#coverage")
    before = [page.inner_html(part) for part in parts]
    page.get_by_role("button", name="Replay").click()
    assert "as they would have been" in page.inner_text("#skill-sub")
    assert "in replay" in page.inner_text("#calibration-sub")
    assert all(old != page.inner_html(part) for old, part in zip(before, parts, strict=True))
    assert "in replay" in page.inner_text("#calibration-key")
    assert page.locator("#sources [aria-pressed=true]").inner_text() == "Replay"
    page.get_by_role("tab", name="Car parks").click()
    assert page.locator("#sources [aria-pressed=true]").inner_text() == "Replay"
    assert opened("fresh").locator("#sources").is_hidden()


def test_the_largest_changes_tell_what_was_looked_at_and_lead_to_their_place(opened: Any) -> None:
    page = opened()
    picks = page.locator("#looked-pick button")
    assert picks.count() == 3
    before = [page.inner_html(part) for part in ("#looked-map", "#looked-time", "#looked-others")]
    picks.nth(1).click()
    assert page.input_value("#node") == "17"
    assert page.input_value("#lead") == "1"
    assert all(a != b for a, b in zip(before, [page.inner_html(p) for p in ("#looked-map", "#looked-time", "#looked-others")], strict=True))
    assert "Attention over the past" in page.inner_text("#looked-time")
    assert "City weather" in page.inner_text("#looked-others")


def test_attention_on_the_cells_of_a_grid_is_shown_by_dots(opened: Any) -> None:
    page = opened("grid")
    assert "size: attention" in page.inner_text("#looked-map")
    page.get_by_role("tab", name="City weather").click()
    assert page.locator("#map .node").count() == 48
    assert page.locator("#looked-map circle.asked").count() == 8
    assert "dots: attention" in page.inner_text("#looked-map")


def test_holes_and_the_history_of_promotions_are_shown(opened: Any) -> None:
    page = opened()
    assert page.locator("#holes svg").count() == 5
    assert "% present; least at" in page.inner_text("#holes")
    history = page.inner_text(".history")
    assert history.index("demo-20140930-cafe") < history.index("demo-20140923-f00d")
    assert "MAE 2.41 against 2.63" in history


def test_the_runs_of_others_and_the_documents_stand_with_their_age_beside_the_readings(opened: Any) -> None:
    page = opened()
    runs, documents = page.get_by_role("table", name="Forecasts by others"), page.get_by_role("table", name="Documents")
    assert [" ".join(text.split()) for text in runs.locator("tbody tr").all_inner_texts()] == [
        "Road traffic foreseen Tue 30 Sep 2014, 14:00 4 h Tue 30 Sep 2014, 17:00 88 % of the targets",
        "City weather foreseen No run was known – – –",
    ]
    assert [" ".join(text.split()) for text in documents.locator("tbody tr").all_inner_texts()] == [
        "Road notices 1,204 Tue 30 Sep 2014, 17:35 25 min 6 h",
        "Events 0 None within their reach – 7 d",
    ]
    phone = opened(viewport={"width": 390, "height": 844})
    ages = [cell.bounding_box() for cell in phone.locator(".fresh td[data-label=Age]").all()]
    assert len(ages) == 9
    assert max(age["x"] + age["width"] for age in ages) <= 390


def test_play_moves_through_the_leads_and_stops_at_the_last(opened: Any) -> None:
    page = opened()
    page.get_by_role("tab", name="Shares").click()
    page.locator("#lead").fill("2")
    page.get_by_role("button", name="Play", exact=True).click()
    page.locator("#play", has_text="Stop").wait_for()
    page.locator("#play", has_text="Play").wait_for(timeout=5000)
    assert page.input_value("#lead") == "4"


def test_every_control_can_be_reached_and_used_by_keyboard_alone(opened: Any) -> None:
    page = opened()
    reached = set()
    for _ in range(60):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.id || document.activeElement.textContent.slice(0, 20)"))
    assert {"tab-traffic", "map", "lead", "play", "node", "Average speed", "RMSE"} <= reached
    outline = page.evaluate("(document.getElementById('lead').focus(), getComputedStyle(document.activeElement).outlineStyle)")
    assert outline != "none"


def test_every_control_has_a_name_and_every_chart_a_description(opened: Any) -> None:
    page = opened()
    nameless = page.evaluate(
        "[...document.querySelectorAll('button,select,input,svg[role=img]')].filter(e => !(e.getAttribute('aria-label')"
        " || e.textContent.trim() || (e.labels && e.labels.length))).length"
    )
    assert nameless == 0
    assert "forecast for" in page.get_attribute("#fan svg", "aria-label")


def test_a_warning_leads_to_its_place_variable_and_time(opened: Any) -> None:
    page = opened()
    link = page.locator("#warnings button.link").first
    node, lead = link.get_attribute("data-node"), link.get_attribute("data-lead")
    link.click()
    assert page.locator("#node option:checked").inner_text() == node
    assert page.locator("#lead").input_value() == lead
    assert page.locator("#variables button[aria-pressed=true]").inner_text() == "Average speed"

"""The cockpit in a real Airflow, looked at with a real browser, behind Airflow's own login."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from datetime import timedelta

import httpx
import pytest

from pipeline.api import load_world
from pipeline.contracts.alerts import Alert, Finding
from pipeline.contracts.times import format_instant
from pipeline.settings import project_folder
from pipeline.stores.holes import HoleStore, Owed
from pipeline.stores.monitoring import MonitoringStore
from pipeline.stores.objects import ObjectStore
from pipeline.stores.published import PublishedStore
from pipeline.stores.receipts import Receipts
from pipeline.stores.scores import ScoreStore
from tests.unit.cockpit.test_panels import record
from tests.unit.stores.test_checkpoints import written

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.airflow,
    pytest.mark.timeout(300),
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium"),
]
HOURS = 72


def fill(store):
    """Three days of hourly forecasts, one of them with inputs missing."""
    receipts, last = Receipts(ObjectStore(str(store))), load_world("synthetic").recorded.as_of
    for hour in range(HOURS):
        as_of = last - timedelta(hours=hour)
        details = {"inputs": {"roads": {"age_seconds": 900, "share_present": 0.4 if hour == 5 else 1.0}}}
        for step in ("predict", "publish"):
            receipt = {"step": step, "world": "synthetic", "as_of": format_instant(as_of), "outcome": "done", "details": details}
            receipts.save(receipt, as_of=as_of, source=None, recorded_time=as_of, seconds=2.0, attempt=f"run {hour}:1")
    objects, newest = ObjectStore(str(store)), int(last.timestamp()) // 86400 * 86400
    for day in range(3):
        ScoreStore(objects, "synthetic").add(
            newest - day * 86400, record(newest - day * 86400, {"published": 1.0 + day, "persistence": 4.0})
        )
    owed = Owed(deliveries={"roads-71.csv": {"found": "503", "first": None, "last": None, "first_seen": newest, "tries": 4}})
    HoleStore(objects, load_world("synthetic")).keep_owed("roads", owed)
    published = PublishedStore(objects, "synthetic")
    published.commit(int(last.timestamp()), {"issue_time": int(last.timestamp())})
    published.view("page/index.html", b"<html>of the newest</html>")
    written(store / "work" / "synthetic" / "growing.safetensors", 3)
    frozen = Finding(rule="frozen_sensor", level="warn", domain="traffic", variable="speed", subject="s07", number=9, limit=6, text="t")
    MonitoringStore(ObjectStore(str(store)), "synthetic").log("failures", (Alert(finding=frozen, since=0, raised=0),), moment="now")


def heed_ctrl_c():
    """Whoever started the tests in the background had it ignored."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Address and token of a real Airflow whose store holds three days."""
    store = tmp_path_factory.mktemp("store")
    fill(store)
    env = os.environ | {"CUBECAST_STORE": str(store), "CUBECAST_WORLDS": "synthetic"}
    words = [sys.executable, "-m", "pipeline", "airflow", "ui", "--world", "synthetic"]
    with (store / "said").open("w") as said:
        process = subprocess.Popen(
            words, cwd=project_folder(), env=env, stdout=said, stderr=said, start_new_session=True, preexec_fn=heed_ctrl_c
        )
    try:
        deadline = time.monotonic() + 150
        while "password" not in (text := (store / "said").read_text()):
            assert time.monotonic() < deadline, text
            assert process.poll() is None, text
            time.sleep(0.2)
        address = text.split("Airflow is up at ")[1].split()[0]
        password = json.loads((store / "airflow" / "passwords.json").read_text())["admin"]
        body = json.dumps({"username": "admin", "password": password}).encode()
        said = httpx.post(f"{address}/auth/token", content=body, headers={"Content-Type": "application/json"}, timeout=20)
        yield address, said.json()["access_token"]
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(90)


@pytest.fixture
def page(place):
    from playwright.sync_api import sync_playwright

    address, token = place
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        context = browser.new_context(viewport={"width": 1300, "height": 1000})
        context.add_cookies([{"name": "_token", "value": token, "url": address}])
        tab = context.new_page()
        said = []
        tab.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
        tab.on("pageerror", lambda error: said.append(str(error)))
        tab.goto(f"{address}/cubecast/?dag_id=synthetic__forecast")
        tab.wait_for_selector("#storage table")
        yield tab
        assert said == []
        browser.close()


def test_nothing_is_shown_without_airflows_login(place):
    for path in (
        "",
        "static/cockpit.js",
        "api/worlds",
        "api/worlds/synthetic/grid",
        "api/worlds/synthetic/panels",
        "api/worlds/synthetic/page?issue_time=0",
    ):
        assert httpx.get(f"{place[0]}/cubecast/{path}", timeout=20).status_code == 401, path


def test_the_grid_shows_each_forecast_and_says_which_lacked_inputs(page):
    cells = page.locator("#grid .row", has_text="predict").locator(".cells button")
    assert cells.locator("xpath=self::*[contains(@class,'done') or contains(@class,'degraded')]").count() >= HOURS // 6
    page.get_by_role("button", name="2 days").click()
    page.wait_for_function("document.querySelectorAll('#grid .degraded').length === 2")
    page.locator("#grid .row", has_text="predict").locator(".degraded").click()
    assert "inputs missing" in page.locator("#detail").inner_text()
    assert page.locator("#detail a").first.get_attribute("href") == "/dags/synthetic__forecast/runs/run%205/tasks/predict"


def test_a_cell_leads_to_its_forecasts_page(place, page):
    page.get_by_role("button", name="2 days").click()
    page.locator("#grid .row", has_text="publish").locator(".done").last.click()
    link = page.locator("#detail a", has_text="Forecast page").get_attribute("href")
    signed_in = {"Cookie": f"_token={place[1]}"}
    assert httpx.get(f"{place[0]}{link}", headers=signed_in, timeout=20).text == "<html>of the newest</html>"
    earlier = link.replace(link.rpartition("=")[2], str(int(link.rpartition("=")[2]) - 3600))
    assert httpx.get(f"{place[0]}{earlier}", headers=signed_in, timeout=20).status_code == 404


def test_alerts_that_stand_are_shown_with_what_they_are_about_and_what_to_read(page):
    told = page.locator("#alerts").inner_text()
    assert "frozen_sensor" in told
    assert "traffic speed s07" in told
    assert "input-looks-wrong.md" in told


def test_the_grid_can_be_walked_by_keyboard(page):
    first = page.locator("#grid button[tabindex='0']")
    assert first.count() == 1
    first.focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowLeft")
    assert page.evaluate("document.activeElement.getAttribute('aria-label')").startswith("observe")
    assert page.locator("#grid button[tabindex='0']").count() == 1


def test_buttons_lead_to_airflows_own_actions(page):
    links = [link.get_attribute("href") for link in page.locator("#actions a").all()]
    assert links == ["/dags/synthetic__ingest", "/dags/synthetic__replay/backfills", "/required_actions"]


def test_what_runs_what_is_missing_and_how_good_the_days_were_is_shown(page):
    running = page.locator("#running")
    assert "growing" in running.inner_text()
    assert running.locator("svg polyline").get_attribute("points").count(",") == 3
    assert page.locator("#holes tbody").inner_text().split()[:4] == ["roads", "deliveries", "1", "2025-11-01"]
    days = page.locator("#days")
    assert "road count" in days.inner_text()
    assert days.locator("svg").first.get_attribute("aria-label").startswith("road count: skill against the best baseline, from ")


def test_it_is_a_view_of_airflow(place, page):
    page.goto(f"{place[0]}/plugin/cubecast")
    page.frame_locator("iframe").locator("#storage table").wait_for()

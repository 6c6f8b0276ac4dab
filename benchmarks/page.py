"""How long a browser takes to open the page of a city of 500 segments and 12 leads: `python -m benchmarks.page`.

From the call to the last chart drawn (`data-ready`), in a fresh context of headless Chromium each time; a phone is a
narrow screen with the processor slowed down four times.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from pipeline.publishing.page import render_page
from tests.browser.demo import demo_page

CHROMIUM = "/usr/bin/chromium"
ROUNDS = 5
SCREENS: dict[str, dict[str, Any]] = {
    "desktop, 1280 x 900": {"viewport": {"width": 1280, "height": 900}},
    "phone, 390 x 844, processor slowed down 4 times": {"viewport": {"width": 390, "height": 844}, "is_mobile": True},
}


def opened(browser: Any, address: str, screen: dict[str, Any]) -> float:
    """Seconds until the page is ready."""
    context = browser.new_context(**screen)
    page = context.new_page()
    if screen.get("is_mobile"):
        context.new_cdp_session(page).send("Emulation.setCPUThrottlingRate", {"rate": 4})
    began = time.perf_counter()
    page.goto(address)
    page.wait_for_selector("html[data-ready=yes]", state="attached")
    seconds = time.perf_counter() - began
    context.close()
    return seconds


def main() -> None:
    """Print the table."""
    from playwright.sync_api import sync_playwright

    html = render_page(demo_page())
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as play:
        file = Path(folder) / "page.html"
        file.write_bytes(html)
        browser = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        print(f"{len(html) / 2**20:.1f} MiB of HTML, {browser.version}\n\n| screen | median s of {ROUNDS} | slowest s |\n|---|---:|---:|")
        for name, screen in SCREENS.items():
            took = [opened(browser, file.as_uri(), screen) for _ in range(ROUNDS)]
            print(f"| {name} | {statistics.median(took):.2f} | {max(took):.2f} |")
        browser.close()


if __name__ == "__main__":
    main()

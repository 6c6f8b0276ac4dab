"""How does the cockpit look? Pictures of it on a store that is there, in a real Airflow: `python -m benchmarks.cockpit_picture --store STORE`

Takes the time that Airflow needs to start (10 s on a quiet machine), and some seconds a picture.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks.airflow import WORLD, running

LOOKS: dict[str, dict[str, Any]] = {
    "cockpit": {"color_scheme": "light", "viewport": {"width": 1300, "height": 2440}},
    "cockpit-dark": {"color_scheme": "dark", "viewport": {"width": 1300, "height": 2440}},
    "cockpit-phone": {"color_scheme": "light", "viewport": {"width": 390, "height": 1600}},
    "cockpit-phone-dark": {"color_scheme": "dark", "viewport": {"width": 390, "height": 1600}},
}
"""A picture each: on a desktop and on a phone, light and dark."""


def main(
    store: Annotated[Path, typer.Option(help="A local store of the world `synthetic`.")],
    to: Annotated[Path, typer.Option(help="The folder for the pictures.")] = Path(),
    only: Annotated[str, typer.Option(help=f"One of {', '.join(LOOKS)}; by default all.")] = "",
) -> None:
    """Write a PNG for each look, and say what the page complained about."""
    from PIL import Image
    from playwright.sync_api import sync_playwright

    with running(store.absolute()) as airflow, sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium") or shutil.which("google-chrome"), args=["--no-sandbox"]
        )
        for name, look in LOOKS.items() if not only else [(only, LOOKS[only])]:
            context = browser.new_context(**look)
            context.add_cookies([{"name": "_token", "value": airflow.rest.sign_in(), "url": airflow.address}])
            tab = context.new_page()
            tab.on("pageerror", lambda error: print(f"page error: {error}"))
            tab.goto(f"{airflow.address}/cubecast/?dag_id={WORLD}__forecast")
            tab.wait_for_selector("#storage table")
            tab.screenshot(path=to / f"{name}.png")
            with Image.open(to / f"{name}.png") as taken:
                taken.convert("RGB").quantize(256, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(
                    to / f"{name}.png", optimize=True
                )
            print(f"{to / name}.png: {(to / name).with_suffix('.png').stat().st_size:,} bytes")
        browser.close()


if __name__ == "__main__":
    typer.run(main)

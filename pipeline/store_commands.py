"""`cubecast store …`: whether everything a store holds is there and whole."""

from __future__ import annotations

import sys

import typer

from pipeline import api
from pipeline.command_options import JsonObject, WorldName, example, say
from pipeline.errors import NotYetAvailable
from pipeline.settings import read_settings
from pipeline.telemetry import progress_on

store_app = typer.Typer(help="Everything that is kept of a world.", no_args_is_help=True)


@store_app.command("verify", epilog=example("cubecast store verify --world aarhus"))
def verify(world: WorldName, as_json: JsonObject = False) -> None:
    """Read every object, every chunk of every snapshot and every reference; exit code 74 where one is damaged or gone."""
    from pipeline.steps.store_verify import verify_store
    from pipeline.stores.cube_check import STORE_MEND, damaged

    loaded, settings = api.load_world(world), read_settings()
    with progress_on(sys.stderr, as_json=as_json) as progress:
        found = verify_store(loaded, settings, progress)
    if found.faults:
        raise damaged(settings.store, found.faults, what="store", mend=STORE_MEND)
    if not any(facts.get("objects") for facts in found.parts.values()):
        raise NotYetAvailable(
            asked=f"verify store {settings.store}", found=f"nothing of world {loaded.name}", mend=f"cubecast run --world {loaded.name}"
        )
    lines = [f"{part}: whole: {', '.join(_words(facts))}" for part, facts in found.parts.items()]
    content = {"world": loaded.name, "store": settings.store, "outcome": "whole", "parts": found.parts, "notes": list(found.notes)}
    say(content, [*lines, *found.notes, f"everything of {loaded.name} in {settings.store} is whole"], as_json=as_json)


def _words(facts: dict[str, object]) -> list[str]:
    return [f"{value:,} {name}" if isinstance(value, int) else str(name) for name, value in facts.items()]

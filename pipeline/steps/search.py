"""A search for better options of a recipe, on the windows that a training would see."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from pipeline.contracts.provenance import digest_json
from pipeline.contracts.times import format_instant
from pipeline.contracts.worlds import World
from pipeline.errors import ConfigError
from pipeline.settings import Settings
from pipeline.steps.train import windows_for
from pipeline.telemetry import Progress


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What to vary, as of when, and for how long; as for a training."""

    as_of: datetime
    recipe: str | None
    options: dict[str, Any] = field(default_factory=dict)
    seed: int = 0
    trials: int = 20
    minutes: float | None = None


def search_options(world: World, settings: Settings, wanted: Wanted, progress: Progress) -> dict[str, Any]:
    """The best options so far, and every trial; the same request goes on where an earlier one ended.

    Raises:
        ConfigError: The store is not a local folder, optuna is missing, or there is no such recipe or option.
        NotYetAvailable: There is nothing to learn from.
    """
    from models.api import resolve_config
    from models.search import Budget, search

    if "://" in settings.store:
        raise ConfigError(
            asked=f"a search in {settings.store}",
            found="a store whose files cannot be appended to",
            mend="set CUBECAST_STORE to a local folder for the search",
        )
    recipe = wanted.recipe or world.recipe
    given = {**(world.recipe_options if recipe == world.recipe else {}), **wanted.options}
    config = resolve_config(recipe, given)
    budget = Budget(trials=wanted.trials, seconds=None if wanted.minutes is None else 60 * wanted.minutes)
    with tempfile.TemporaryDirectory(prefix="cubecast-search-") as scratch:
        with progress.stage("windows", None):
            windows, config = windows_for(world, settings, wanted.as_of, config, Path(scratch))
        name = digest_json([windows.digest, config.digest, wanted.seed])[:16]
        folder = Path(settings.store) / "work" / world.name / "search" / name
        found = search(windows, config, seed=wanted.seed, budget=budget, folder=folder, progress=progress, memory=settings.memory)
    head = {"world": world.name, "as_of": format_instant(wanted.as_of), "recipe": recipe, "given": given, "folder": str(folder)}
    return head | found

"""What of a world's settings can be proved before anything runs."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from typing import Any

from pipeline.alignment.public_holidays import check_region
from pipeline.contracts.units import conversion
from pipeline.contracts.worlds import Source, World
from pipeline.errors import ConfigError
from pipeline.sources.registry import adapter_named
from pipeline.sources.stamps import known_calendars


def check_world(world: World) -> None:
    """Refuse a world with an unknown adapter, option, unit, calendar, region, recipe or value of a recipe.

    Raises:
        ConfigError: Naming every fault, what is allowed and the nearest right name.
    """
    faults = list(_faults(world))
    if len(faults) == 1:
        raise faults[0]
    if faults:
        found = "".join(f"\n  - {fault.asked}: {fault.found}; {fault.mend}" for fault in faults)
        raise ConfigError(asked=f"world {world.name}", found=f"{len(faults)} fault(s){found}", mend="correct these keys")


def check_units(world: World) -> None:
    """Refuse a world with an unknown unit, or one that cannot be converted.

    Raises:
        ConfigError: Naming the variable and its units.
    """
    for name, source in world.sources.items():
        for variable, rules in source.variables.items():
            conversion(rules.unit, rules.to, f"sources.{name}.variables.{variable}.unit")


def _faults(world: World) -> Iterator[ConfigError]:
    for name, source in world.sources.items():
        yield from _of_source(world, name, source)
    for name, domain in world.domains.items():
        yield from _refused(_check_calendar, domain.clock.calendar, f"world {world.name}, domains.{name}.clock.calendar")
    if world.holidays is not None:
        yield from _refused(check_region, world.holidays, f"world {world.name}, holidays")
    yield from _refused(_check_recipe, world)


def _of_source(world: World, name: str, source: Source) -> Iterator[ConfigError]:
    for error in _refused(lambda: adapter_named(source.adapter, f"sources.{name}.adapter").check(source)):
        yield ConfigError(asked=f"world {world.name}, sources.{name}: {error.asked}", found=error.found, mend=error.mend)
    for variable, rules in source.variables.items():
        where = f"world {world.name}, sources.{name}.variables.{variable}.unit"
        yield from _refused(conversion, rules.unit, rules.to, where)


def _refused(check: Any, *given: Any) -> Iterator[ConfigError]:
    """The fault that a check finds, if it does."""
    try:
        check(*given)
    except ConfigError as error:
        yield error


def _check_calendar(calendar: str | None, where: str) -> None:
    if calendar is None or calendar in known_calendars():
        return
    close = difflib.get_close_matches(calendar, known_calendars(), n=1)
    mend = (f"did you mean '{close[0]}'? " if close else "") + "for example XNYS, XLON, XCSE"
    raise ConfigError(asked=f"{where} = '{calendar}'", found="no such calendar", mend=mend)


def _check_recipe(world: World) -> None:
    from models.api import resolve_config

    try:
        resolve_config(world.recipe, world.recipe_options)
    except ConfigError as error:
        raise ConfigError(asked=f"world {world.name}, {error.asked}", found=error.found, mend=error.mend) from error

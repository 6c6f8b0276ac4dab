"""Units: one factor and one offset per variable, from pint, never one conversion per value."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import Any

from pipeline.errors import ConfigError

_POWER = re.compile(r"(?<=[A-Za-z])(-?\d+)\b")


@dataclass(frozen=True, kw_only=True)
class Conversion:
    """to = delivered * factor + offset."""

    factor: float = 1.0
    offset: float = 0.0


@cache
def _registry() -> Any:
    import pint

    return pint.UnitRegistry(autoconvert_offset_to_baseunit=True, cache_folder=None)


def _unit(text: str, where: str) -> Any:
    """A pint unit; CF's `m s-1` is read as `m * s**-1`."""
    spaced = " * ".join(_POWER.sub(r"**\1", word) for word in text.replace("%", "percent").split())
    try:
        return _registry().Unit(spaced)
    except Exception as error:  # pint raises several unrelated classes
        raise ConfigError(
            asked=f"{where} = '{text}'", found="no such unit", mend="for example degC, K, m s-1, km/h, hPa, percent"
        ) from error


@cache
def conversion(unit: str, to: str | None, where: str = "unit") -> Conversion:
    """How values in `unit` become values in `to` (None or the same: they stay).

    Raises:
        ConfigError: A unit is unknown, or the two measure different things.
    """
    if to is None or to == unit:
        return Conversion()
    source, target = _unit(unit, where), _unit(to, f"{where} to")
    if source.dimensionality != target.dimensionality:
        raise ConfigError(
            asked=f"{where} '{unit}' to '{to}'",
            found=f"{source.dimensionality} against {target.dimensionality}",
            mend="name two units of the same kind",
        )
    quantity = _registry().Quantity
    zero, thousand = (float(quantity(x, source).to(target).magnitude) for x in (0.0, 1000.0))
    return Conversion(factor=(thousand - zero) / 1000.0, offset=zero)

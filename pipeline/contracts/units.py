"""Units: one factor and one offset per variable, from pint, never one conversion per value."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from threading import Lock
from typing import Any

from pipeline.errors import ConfigError

_POWER = re.compile(r"(?<=[A-Za-z])(-?\d+)\b")


@dataclass(frozen=True, kw_only=True)
class Conversion:
    """to = delivered * factor + offset."""

    factor: float = 1.0
    offset: float = 0.0


_LOADING = Lock()


def _registry() -> Any:
    with _LOADING:  # `cache` alone lets every thread make its own
        return _made_registry()


@cache
def _made_registry() -> Any:
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


_SAME = frozenset({("kg m-2", "mm"), ("kg m**-2", "mm"), ("kg m-2 s-1", "mm s-1"), ("kg m**-2 s**-1", "mm s-1")})
"""Water: a kilogram on a square metre stands a millimetre high."""


def contradicts(said: str, declared: str) -> bool:
    """Whether a unit that a file names is another one than the declared; a text that names no known unit says nothing."""
    if said == declared or (said, declared) in _SAME:
        return False
    try:
        _unit(said, "")
    except ConfigError:
        return False
    try:
        change = conversion(said, declared)
    except ConfigError:
        return True
    return abs(change.factor - 1) > 1e-9 or abs(change.offset) > 1e-9


@dataclass(frozen=True, kw_only=True)
class Mistake:
    """What a value means if it was delivered in `unit` instead of the declared one: value * factor + offset, in the kept unit."""

    unit: str
    factor: float
    offset: float


_MISTAKEN_FOR_EACH_OTHER = (
    ("K", "degC", "degF"),
    ("Pa", "hPa", "kPa", "inHg"),
    ("m s-1", "km/h", "knot", "mph"),
    ("mm", "m", "inch"),
)


@cache
def mistakes(unit: str, to: str | None) -> tuple[Mistake, ...]:
    """The units that are usually mistaken for a declared one, and what that makes of values kept in `to`."""
    declared = conversion(unit, to)
    found = []
    for family in _MISTAKEN_FOR_EACH_OTHER:
        if any(not contradicts(member, unit) for member in family):
            for other in (m for m in family if contradicts(m, unit)):
                change = conversion(other, to or unit)
                factor = change.factor / declared.factor
                found.append(Mistake(unit=other, factor=factor, offset=change.offset - declared.offset * factor))
    return tuple(found)


_SHARES = {"percent": 100.0, "%": 100.0, "1": 1.0}
"""Names of shares and what they call a whole; a count is as free of dimension and none of them."""


@cache
def confusions(unit: str, to: str | None) -> tuple[Mistake, ...]:
    """`mistakes`, and what values kept in `to` mean where a conversion was left out or made twice, or where they came in tenths.

    None for counts, amounts and prices, which have no unit to be mistaken for: they grow by factors of themselves.
    """
    kept = to or unit
    found = [*mistakes(unit, to), *mistakes(kept, None)]
    if found:
        found += [Mistake(unit=f"{name} {kept}", factor=factor, offset=0.0) for name, factor in (("1/10", 0.1), ("10", 10.0))]
    if kept in _SHARES:
        whole = _SHARES[kept]
        found += [
            Mistake(unit=name, factor=whole / other, offset=0.0) for name, other in (("percent", 100.0), ("1", 1.0)) if other != whole
        ]
    return tuple(found)


_FLOORS = {"K": 0.0, "degC": -273.15, "degF": -459.67, "Pa": 0.0, "hPa": 0.0, "kPa": 0.0}


def floor_of(unit: str) -> float | None:
    """The least value that is physically possible in a unit, where there is one."""
    return _FLOORS.get(unit)


def signed_text(value: float) -> str:
    """A difference with its sign: three digits, and whole numbers from a thousand on."""
    return f"{value:+,.0f}" if abs(value) >= 1000 else f"{value:+.3g}"

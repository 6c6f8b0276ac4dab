"""Which adapter a world's `adapter = "…"` means."""

from __future__ import annotations

import difflib

from pipeline.contracts.worlds import World
from pipeline.errors import ConfigError
from pipeline.sources.adapter import Adapter
from pipeline.sources.binance import BinanceAdapter
from pipeline.sources.csv import CsvAdapter
from pipeline.sources.elexon import ElexonAdapter
from pipeline.sources.gfs import GfsAdapter
from pipeline.sources.grib import GribAdapter
from pipeline.sources.hdf5 import Hdf5Adapter
from pipeline.sources.images import ImagesAdapter
from pipeline.sources.json import JsonAdapter
from pipeline.sources.kraken import KrakenAdapter
from pipeline.sources.netcdf import NetcdfAdapter
from pipeline.sources.open_meteo import OpenMeteoAdapter
from pipeline.sources.parquet import ParquetAdapter
from pipeline.sources.pems import PemsAdapter
from pipeline.sources.synthetic import SyntheticAdapter
from pipeline.sources.webtris import WebtrisAdapter
from pipeline.sources.zarr import ZarrAdapter

ADAPTERS: dict[str, Adapter] = {
    "binance": BinanceAdapter(),
    "csv": CsvAdapter(),
    "elexon": ElexonAdapter(),
    "gfs": GfsAdapter(),
    "grib": GribAdapter(),
    "hdf5": Hdf5Adapter(),
    "images": ImagesAdapter(),
    "json": JsonAdapter(),
    "kraken": KrakenAdapter(),
    "netcdf": NetcdfAdapter(),
    "open_meteo": OpenMeteoAdapter(),
    "parquet": ParquetAdapter(),
    "pems": PemsAdapter(),
    "synthetic": SyntheticAdapter(),
    "webtris": WebtrisAdapter(),
    "zarr": ZarrAdapter(),
}


def adapter_named(name: str, where: str = "adapter") -> Adapter:
    """The adapter of that name; `where` is the key that asks for it.

    Raises:
        ConfigError: There is none.
    """
    if name not in ADAPTERS:
        close = difflib.get_close_matches(name, ADAPTERS, n=1)
        raise ConfigError(
            asked=f"{where} = '{name}'",
            found="no adapter of that name",
            mend=(f"did you mean '{close[0]}'? " if close else "") + f"there are {', '.join(sorted(ADAPTERS))}",
        )
    return ADAPTERS[name]


def check_sources(world: World) -> None:
    """Refuse a world whose sources name unknown adapters, or options that an adapter does not know.

    Raises:
        ConfigError: Naming the key, the value, what is allowed and the nearest right key.
    """
    for name, source in world.sources.items():
        try:
            adapter_named(source.adapter, f"sources.{name}.adapter").check(source)
        except ConfigError as error:
            raise ConfigError(asked=f"world {world.name}, sources.{name}: {error.asked}", found=error.found, mend=error.mend) from error


def source_names(world: World, only: str | None) -> tuple[str, ...]:
    """The sources to work on: all of a world in order, or the one asked for.

    Raises:
        ConfigError: The world has no such source.
    """
    if only is None:
        return tuple(world.sources)
    if only not in world.sources:
        close = difflib.get_close_matches(only, world.sources, n=1)
        raise ConfigError(
            asked=f"source '{only}' of world {world.name}",
            found="no source of that name",
            mend=(f"did you mean '{close[0]}'? " if close else "") + f"there are {', '.join(world.sources)}",
        )
    return (only,)

"""Deliveries of providers that hand over files, wherever those lie."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import ClassVar

from pipeline.contracts.deliveries import Delivery
from pipeline.contracts.nodes import NodeSet
from pipeline.contracts.worlds import Source
from pipeline.errors import ConfigError
from pipeline.settings import Settings
from pipeline.sources.locations import parts_at
from pipeline.sources.node_tables import parse_places


def check_locations(source: Source, example: str) -> None:
    """Refuse a source without locations, or with one on a host that it does not allow.

    Raises:
        ConfigError: Naming the location.
    """
    if not source.locations:
        raise ConfigError(asked="locations", found="none", mend=f"name at least one file, for example data://folder/{example}")
    for location in source.locations:
        if location.startswith(("http://", "https://")):
            from pipeline.sources.web import check_url

            check_url(location, source.allowed_hosts)


def file_deliveries(source: Source, settings: Settings, *, together: bool = False) -> Iterator[Delivery]:
    """One delivery per file (or one of all, called `wide`), then the node table where the world names one.

    Raises:
        NotYetAvailable: No such file is there.
        ConfigError: The location can never be read, or two files have the same name.
    """
    parts = [part for location in source.locations for part in parts_at(location, source, settings)]
    names = [p.name for p in parts]
    if len(set(names)) < len(names):
        twice = sorted({n for n in names if names.count(n) > 1})
        raise ConfigError(asked=f"locations {list(source.locations)}", found=f"two files named {twice[0]}", mend="give each its own source")
    if together:
        yield Delivery(name="wide", parts=tuple(parts))
    else:
        yield from (Delivery(name=part.name, parts=(part,)) for part in parts)
    yield from node_deliveries(source, settings)


def node_deliveries(source: Source, settings: Settings) -> Iterator[Delivery]:
    """The node table that a world names, if it names one; raises as `file_deliveries` does."""
    if source.nodes is not None and source.nodes.location is not None:
        matrix = [] if source.nodes.matrix is None else parts_at(source.nodes.matrix, source, settings)
        for part in parts_at(source.nodes.location, source, settings):
            yield Delivery(name=part.name, parts=(part, *matrix), role="nodes")


def grid_deliveries(source: Source, settings: Settings) -> Iterator[Delivery]:
    """One delivery per file, then the nodes: a table, or the grid of the first file; raises as `file_deliveries` does."""
    first: Delivery | None = None
    for delivery in file_deliveries(source, settings):
        first = first or delivery
        yield delivery
    if source.nodes is None and first is not None:
        yield dataclasses.replace(first, role="nodes")


class FileAdapter:
    """What every adapter of a file format does alike; the node table, where the world names one, is CSV."""

    example: ClassVar[str]

    def deliveries(self, source: Source, settings: Settings, as_of: datetime) -> Iterator[Delivery]:
        """One delivery per file, then the node table; raises as `file_deliveries` does."""
        return file_deliveries(source, settings)

    def parse_places(self, source: Source, parts: Mapping[str, bytes]) -> NodeSet:
        """The places in a node table.

        Raises:
            ContractError: The file as a whole cannot be read.
        """
        return parse_places(source, parts)

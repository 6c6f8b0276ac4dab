"""Placeholder until the made-up world stands."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime

from pipeline.contracts.deliveries import Delivery
from pipeline.contracts.nodes import NodeSet
from pipeline.contracts.worlds import Source
from pipeline.settings import Settings
from pipeline.sources.adapter import Readings


class SyntheticAdapter:
    """A made-up world."""

    def check(self, source: Source) -> None:
        """Nothing yet."""

    def deliveries(self, source: Source, settings: Settings, as_of: datetime) -> Iterator[Delivery]:
        """Nothing yet."""
        return iter(())

    def parse(self, source: Source, parts: Mapping[str, bytes]) -> Readings:
        """Nothing yet."""
        raise NotImplementedError

    def parse_places(self, source: Source, parts: Mapping[str, bytes]) -> NodeSet:
        """Nothing yet."""
        raise NotImplementedError

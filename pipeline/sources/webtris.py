"""WebTRIS: traffic counts and speeds of National Highways (England), by site and quarter of an hour, no key.

- `webtris.nationalhighways.co.uk/api/v1.0/reports/daily?sites=ID&start_date=ddmmyyyy&end_date=ddmmyyyy&page=1&page_size=N`; days are
  inclusive and local. A node is a site's id, listed in `nodes.rows`; an answer's `Site Name` is not that id, so each site is asked alone.
- Pages: `Header.links` holds a `nextPage` as long as there is one. Its address names an old host without encryption: only the page
  number is taken from it. `Header.row_count` counts the rows of all pages.
- A site without data for the days answers 204 and no body.
- Every value is a text; an empty one is missing. `Time Period Ending` is the last minute of the quarter: 00:14:00 ends at 00:15.
- Stamps are local (the source's `timezone`): the hour that comes twice in October follows `ambiguous`.
- Data come days late and are completed later.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from pydantic import Field

from pipeline.contracts.deliveries import Delivery, Part
from pipeline.contracts.nodes import NodeSet
from pipeline.contracts.worlds import Source
from pipeline.errors import ConfigError, ContractError
from pipeline.settings import Settings
from pipeline.sources.adapter import Readings
from pipeline.sources.json import load_json, read_records, record_list
from pipeline.sources.live import LiveOptions, check_live, gathered, listed_places, query, spans
from pipeline.sources.options import read_options
from pipeline.sources.row_options import RowOptions
from pipeline.sources.stamps import Ambiguous
from pipeline.sources.web import Web

_MEND = "the provider changed its format: compare with its documentation and correct the world file or the adapter"
_DATE, _TIME = "Report Date", "Time Period Ending"
_MOST_PAGES = 10_000


class WebtrisOptions(LiveOptions):
    """The `options` of a WebTRIS source."""

    page_size: int = Field(default=1000, ge=1, le=40_000)
    ambiguous: Ambiguous = "second"


class WebtrisAdapter:
    """Daily reports of the sites that `nodes.rows` lists."""

    def check(self, source: Source) -> None:
        """Refuse options that make no sense.

        Raises:
            ConfigError: Naming the option, its value, what is allowed.
        """
        check_live(source, read_options(WebtrisOptions, source), timedelta(days=366), "https://webtris.nationalhighways.co.uk/api/v1.0")
        strange = [i for i in listed_places(source).ids if not i.isdigit()]
        if strange:
            raise ConfigError(asked=f"site '{strange[0]}' in nodes.rows", found="no number", mend="use the Id of /api/v1.0/sites")

    def deliveries(self, source: Source, settings: Settings, as_of: datetime) -> Iterator[Delivery]:
        """One delivery per span of days and site, in pages.

        Raises:
            NotYetAvailable: The provider is out of reach.
            ConfigError: The provider refuses the request.
        """
        options, web = read_options(WebtrisOptions, source), Web(source.allowed_hosts)
        for span in spans(options, as_of):
            days = {"start_date": f"{span.first_day:%d%m%Y}", "end_date": f"{span.last_day:%d%m%Y}"}
            for site in listed_places(source).ids:
                name = f"{site}-{span.first_day:%Y%m%d}-{span.last_day:%Y%m%d}"
                page = _pages(web, f"{source.locations[0].rstrip('/')}/reports/daily", name, options.page_size, {"sites": site, **days})
                yield Delivery(
                    name=name,
                    parts=(page(1),),
                    covers=(span.start, span.end),
                    settles=span.settles,
                    following=_following(page),
                )

    def parse(self, source: Source, parts: Mapping[str, bytes]) -> Readings:
        """The readings in a delivery's pages.

        Raises:
            ContractError: A page is no whole JSON or not what is documented, or pages do not belong together.
        """
        options = read_options(WebtrisOptions, source)
        pieces, total, counted = [], 0, 0
        for file, data in parts.items():
            document = load_json(data, file) if data else {"Header": {"row_count": "0"}, "Rows": []}
            rows = record_list(document, "Rows", file)
            header = document.get("Header")
            if not isinstance(header, dict) or not str(header.get("row_count")).isdigit():
                raise ContractError(asked=f"key 'Header.row_count' of {file}", found=str(header)[:200], mend=_MEND)
            counted, total = int(header["row_count"]), total + len(rows)
            how = RowOptions(time="stamp", node=file.split("-")[0], interval=timedelta(minutes=1), ambiguous=options.ambiguous)
            pieces.append(read_records(source, how, file, [(n, _stamped(row, file)) for n, row in enumerate(rows, start=1)]))
        if total != counted:
            asked = f"{counted} rows in {len(parts)} pages of {next(iter(parts), 'nothing')}"
            raise ContractError(asked=asked, found=f"{total} rows", mend="land it again: the pages changed while they were fetched")
        return gathered(pieces)

    def parse_places(self, source: Source, parts: Mapping[str, bytes]) -> NodeSet:
        """The sites that the world lists; raises as `listed_places` does."""
        return listed_places(source)


def _pages(web: Web, address: str, name: str, size: int, asked: dict[str, str]) -> Callable[[int], Part]:
    def page(number: int) -> Part:
        part = web.part(query(address, **asked, page=number, page_size=size), f"{name}-p{number:04d}.json")
        return Part(name=part.name, location=part.location, read=part.read)

    return page


def _following(page: Callable[[int], Part]) -> Callable[[int, bytes], Part | None]:
    return lambda n, data: page(n + 2) if _has_next(data, n) else None


def _has_next(data: bytes, number: int) -> bool:
    """Whether a page says that another one follows; what cannot be read is landed as it is, and refused when it is parsed."""
    try:
        header = load_json(data, "page").get("Header", {}) if data else {}
        links = header.get("links", [])
    except (ContractError, AttributeError):
        return False
    return number < _MOST_PAGES and any(isinstance(link, dict) and link.get("rel") == "nextPage" for link in links)


def _stamped(row: Any, file: str) -> Any:
    """A row with its date and time as one stamp."""
    if not isinstance(row, dict):
        return row
    for key in (_DATE, _TIME):
        if key not in row:
            raise ContractError(asked=f"key '{key}' in Rows of {file}", found=f"keys {', '.join(list(row)[:30])}", mend=_MEND)
    return {**row, "stamp": f"{str(row[_DATE])[:10]}T{row[_TIME]}"}

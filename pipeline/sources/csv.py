"""CSV in all its habits: gzip or not, any separator, long or wide, stamps of every kind, local time, decimal commas.

Long: a row is a reading of one node, a column per variable. Wide: see `csv_wide`.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from datetime import datetime

from pipeline.contracts.deliveries import Delivery
from pipeline.contracts.worlds import Source
from pipeline.errors import ConfigError
from pipeline.settings import Settings
from pipeline.sources.adapter import Readings
from pipeline.sources.columns import Kind
from pipeline.sources.csv_options import CsvOptions, iso_kind, time_kind
from pipeline.sources.csv_wide import parse_wide
from pipeline.sources.delimited import header_of, read_columns
from pipeline.sources.encodings import check_encoding, readable
from pipeline.sources.files import FileAdapter, check_locations, file_deliveries
from pipeline.sources.options import read_options
from pipeline.sources.row_options import check_rows
from pipeline.sources.rows import readings_of, row_kinds
from pipeline.sources.unpacking import unpacked


class CsvAdapter(FileAdapter):
    """CSV files."""

    example = "*.csv"

    def check(self, source: Source) -> None:
        """Refuse options that make no sense.

        Raises:
            ConfigError: Naming the option, its value, what is allowed.
        """
        options = read_options(CsvOptions, source)
        if options.layout == "wide" and (source.runs is not None or source.text is not None):
            raise ConfigError(asked="layout = 'wide'", found="a source of forecasts or documents", mend="these come long: a row each")
        check_locations(source, self.example)
        check_rows(options, source)
        check_encoding(options.encoding)

    def deliveries(self, source: Source, settings: Settings, as_of: datetime) -> Iterator[Delivery]:
        """One delivery per file (wide: one of all files), then the node table where the world names one.

        Raises:
            NotYetAvailable: No such file is there.
            ConfigError: The location can never be read.
        """
        yield from file_deliveries(source, settings, together=read_options(CsvOptions, source).layout == "wide")

    def parse(self, source: Source, parts: Mapping[str, bytes]) -> Readings:
        """The readings in a delivery's bytes.

        Raises:
            ContractError: The file as a whole cannot be read (truncated, a column missing).
        """
        options = read_options(CsvOptions, source)
        if options.layout == "wide":
            return parse_wide(source, options, parts)
        [(file, data)] = parts.items()
        return parse_long(source, options, file, data)


def parse_long(source: Source, options: CsvOptions, file: str, packed: bytes) -> Readings:
    """The readings of one long file.

    Raises:
        ContractError: It cannot be read as a whole.
    """
    encoding, data = readable(options.encoding, unpacked(packed, file), file)
    options = options.model_copy(update={"encoding": encoding})
    data = _renamed(source, options, file, data)
    options.refuse_column_as_node(header_of(data, options.dialect, file), file)
    time = time_kind(options, data, file)
    published: Kind = "number"
    stamped = options.published or options.init
    if stamped is not None and options.published_format == "iso":
        published = iso_kind(options, data, file, stamped)
    found = read_columns(data, row_kinds(options, source, time, published), options.dialect, file)
    return readings_of(source, options, file, found, time, published)


def _renamed(source: Source, options: CsvOptions, file: str, data: bytes) -> bytes:
    """The file with the contract's names in its header."""
    if not options.strict or options.columns:
        return data
    names = header_of(data, options.dialect, file)
    found = options.contract_names(names, row_kinds(options, source, "stamp", "stamp"), file)
    if found == names:
        return data
    head = io.StringIO()
    csv.writer(head, delimiter=options.separator, lineterminator="").writerow(found)
    return head.getvalue().encode(options.encoding) + data[data.find(b"\n") if b"\n" in data else len(data) :]

"""The documents of a build: which streams have news, and those hashed and put into the cube."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.contracts.provenance import digest_json
from pipeline.contracts.times import format_instant
from pipeline.contracts.worlds import World
from pipeline.cube.documents import Encode, documents_of
from pipeline.cube.plan import KEPT_BYTES
from pipeline.errors import NotYetAvailable
from pipeline.settings import Settings
from pipeline.sources.sentences import ENCODING_BYTES, encoder_bytes, encoder_of
from pipeline.stores.cube_format import FORMAT
from pipeline.stores.cube_text_writer import add_documents
from pipeline.stores.cube_writer import CubeWriter
from pipeline.stores.cubes import CubeStore
from pipeline.stores.kept import Kept
from pipeline.stores.objects import ObjectStore
from pipeline.stores.observations import ObservationStore, contract_digest
from pipeline.telemetry import Progress

_AT_ONCE = 2**21
_HASHING_BYTES = 96 * 2**20
"""What hashing so many characters takes, and writing what comes of it."""

_UNPACKED = 4
"""Bytes of rows of documents for each at rest."""

_COLUMNS = ("node", "valid_time", "available_time", "text", "text_flag")


def text_recipe(world: World, stream: str) -> str:
    """Identity of every setting that a stream's stored documents depend on."""
    declared = world.texts[stream]
    source = contract_digest(world.sources[declared.source])
    plain = [FORMAT, source, declared.buckets, declared.words, declared.longest]
    return digest_json(plain if declared.encoder is None else [*plain, declared.encoder.digest])


def encoder_notes(world: World, first: datetime) -> list[str]:
    """What is to be said of encoders where forecasts from `first` on are learnt or scored: which of them were not there yet."""
    return [
        f"texts.{name}: its encoder was published {format_instant(e.published)}; what is forecast before is told by a model of later texts"
        for name, stream in world.texts.items()
        if (e := stream.encoder) is not None and first < e.published
    ]


def streams_with_news(world: World, consumed: Mapping[str, int], store: CubeStore) -> dict[str, int]:
    """Streams with observations that the cube has not, each with the number of commits that it was made of."""
    held = {}
    with contextlib.suppress(NotYetAvailable):
        held = {name: state for name, state in store.texts().items() if name in world.texts and state.recipe == text_recipe(world, name)}
    before = {name: held[name].consumed if name in held else 0 for name in world.texts}
    return {name: before[name] for name, stream in world.texts.items() if consumed[stream.source] > before[name]}


def encoders_of(world: World, news: Iterable[str], settings: Settings, progress: Progress) -> dict[str, Encode]:
    """What gives documents their vectors, by stream; raises as `encoder_of` does."""
    return {name: encoder_of(name, e, settings, progress) for name in news if (e := world.texts[name].encoder) is not None}


def texts_bytes(world: World, news: Mapping[str, int], consumed: Mapping[str, int], settings: Settings) -> int:
    """What taking in documents takes: their encoders, all at once, and of the streams, one after the other, the most; raises as `encoder_bytes` does."""
    each = [encoder_bytes(e, settings) for name in news if (e := world.texts[name].encoder) is not None]
    most = 0
    for name, before in news.items():
        source = world.texts[name].source
        for file in ObservationStore(ObjectStore(settings.store), world, source, at=consumed[source]).files_since(before):
            most = max(most, file.bytes + _UNPACKED * file.bytes * max(file.rows) // max(sum(file.rows), 1))
    return (ENCODING_BYTES if each else 0) + sum(each) + (_HASHING_BYTES + most if news else 0)


def build_texts(
    world: World,
    news: Mapping[str, int],
    consumed: Mapping[str, int],
    encoders: Mapping[str, Encode],
    settings: Settings,
    writer: CubeWriter,
    progress: Progress,
) -> dict[str, str]:
    """The new documents of every stream, hashed, in the session of a build; returns each stream's digest."""
    digests = {}
    with progress.stage("texts", len(news), "streams") as stage:
        for name, before in news.items():
            stream = world.texts[name]
            kept = Kept(KEPT_BYTES)
            source = ObservationStore(ObjectStore(settings.store), world, stream.source, at=consumed[stream.source], kept=kept)
            places, title, count = source.nodes(), f"documents of {stream.source}", 0
            for rows in _portions(source.rows_since(before, _COLUMNS)):
                documents = documents_of(rows, stream, places, encoders.get(name))
                count += len(documents)
                digests[name] = add_documents(
                    writer, name, title, documents, recipe=text_recipe(world, name), consumed=consumed[stream.source]
                )
            stage.advance(1, f"{count:,} documents")
    return digests


def _portions(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """The same rows in tables of about so much text that hashing one takes no more than is planned."""
    waiting, size = list[pa.Table](), 0
    for table in tables:
        ends = np.cumsum(pc.fill_null(pc.binary_length(table["text"]), 0).to_numpy(), dtype=np.int64)
        bounds = [0, *(np.flatnonzero(np.diff(ends // _AT_ONCE)) + 1).tolist(), table.num_rows]
        for first, stop in pairwise(bounds):
            length = int(ends[first:stop].max(initial=0)) - (int(ends[first - 1]) if first else 0)
            if waiting and size + length > _AT_ONCE:
                yield pa.concat_tables(waiting)
                waiting, size = [], 0
            waiting.append(table.slice(first, stop - first))
            size += length
    yield pa.concat_tables(waiting)

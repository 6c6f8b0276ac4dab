"""The documents of a build: which streams have news, and those hashed and put into the cube."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from datetime import datetime

from pipeline.contracts.provenance import digest_json
from pipeline.contracts.times import format_instant
from pipeline.contracts.worlds import World
from pipeline.cube.documents import Encode, documents_of
from pipeline.errors import NotYetAvailable
from pipeline.settings import Settings
from pipeline.sources.sentences import encoder_of
from pipeline.stores.cube_format import FORMAT
from pipeline.stores.cube_text_writer import add_documents
from pipeline.stores.cube_writer import CubeWriter
from pipeline.stores.cubes import CubeStore
from pipeline.stores.objects import ObjectStore
from pipeline.stores.observations import ObservationStore, contract_digest
from pipeline.telemetry import Progress

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
            source = ObservationStore(ObjectStore(settings.store), world, stream.source, at=consumed[stream.source])
            documents = documents_of(source.rows_since(before, _COLUMNS), stream, source.nodes(), encoders.get(name))
            title = f"documents of {stream.source}"
            digests[name] = add_documents(writer, name, title, documents, recipe=text_recipe(world, name), consumed=consumed[stream.source])
            stage.advance(1, f"{len(documents):,} documents")
    return digests

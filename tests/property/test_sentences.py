"""Sentence vectors in cubes: as of, in pieces, and one encoder at a time."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.contracts.times import from_seconds
from pipeline.contracts.windows import WindowSet
from pipeline.errors import ConfigError
from pipeline.sources.sentences import encoder_of, folder_digest
from pipeline.stores.cubes import CubeStore
from pipeline.telemetry import QUIET
from tests.feeds import Place, Row, build, make_place, observe
from tests.property.test_texts import END, REACH, START, WORLD, documents, road_rows, windows_at
from tests.sentences import WIDTH, save_encoder


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = tmp_path_factory.mktemp("data")
    save_encoder(data / "encoder")
    return data


def encoded(data: Path) -> Place:
    told = f'encoder = {{ folder = "data://encoder", digest = "{folder_digest(data / "encoder")}", published = "2021-08-30T00:00Z" }}\n'
    place = make_place(Path(tempfile.mkdtemp()), WORLD.replace("buckets = 64\n", "buckets = 64\n" + told))
    return replace(place, settings=replace(place.settings, data=data))


def place_with(data: Path, news: list[Row]) -> Place:
    place = encoded(data)
    observe(place, "road", road_rows())
    observe(place, "news", news)
    return place


def test_another_encoder_is_refused_before_a_byte_of_the_cube_is_written(data: Path) -> None:
    place = place_with(data, documents(np.random.default_rng(4)))
    text = Path(place.file).read_text()
    Path(place.file).write_text(text.replace(folder_digest(data / "encoder"), "0" * 64))
    with pytest.raises(ConfigError, match=r"texts\.news\.encoder"):
        build(place, END)
    assert not (Path(place.settings.store) / "cubes").exists()
    Path(place.file).write_text(text)
    assert build(place, END).outcome == "done"


def vectors(windows: WindowSet) -> np.ndarray:
    return windows.texts["news"].vector_DW


def test_vectors_built_in_pieces_are_those_built_at_once_and_each_is_its_texts(data: Path) -> None:
    rows = documents(np.random.default_rng(1))
    at_once, pieces = place_with(data, rows), encoded(data)
    observe(pieces, "road", road_rows())
    for batch in (rows[40:], rows[:40]):
        observe(pieces, "news", batch)
        build(pieces, END)
    first, second = build(at_once, END), build(pieces, END)
    assert first.ids["digest.texts.news"] == second.ids["digest.texts.news"]
    whole = windows_at(at_once, END)
    assert vectors(whole).tobytes() == vectors(windows_at(pieces, END)).tobytes()
    encoder = at_once.world.texts["news"].encoder
    assert encoder is not None
    own = encoder_of("news", encoder, at_once.settings, QUIET)([row.text for row in rows])
    assert len(vectors(whole)) == len(whole.texts["news"].place_D) > len(rows) // 2
    assert {v.tobytes() for v in vectors(whole)} <= {v.tobytes() for v in own}
    assert set(CubeStore(at_once.settings.store, "little").verify(QUIET)) == {"traffic", "same", "texts.news"}


def test_no_document_known_after_the_cut_off_changes_a_byte_of_a_vector(data: Path) -> None:
    rows, as_of = documents(np.random.default_rng(2)), START + 15 * 3600 + 420
    clean = place_with(data, rows)
    poisoned = place_with(data, [replace(r, text="jam " * 9, node="hall") if r.available_time > as_of else r for r in rows])
    for place in (clean, poisoned):
        build(place, END)
    assert windows_at(clean, as_of).digest == windows_at(poisoned, as_of).digest
    live = windows_at(clean, as_of, {n: d.scaler for n, d in windows_at(clean, as_of).domains.items()})
    texts, later = live.texts["news"], windows_at(clean, END).texts["news"]
    seen = np.flatnonzero((later.available_time_D > as_of - REACH) & (later.available_time_D <= as_of))
    shown = np.flatnonzero((texts.available_time_D > as_of - REACH) & (texts.available_time_D <= as_of))
    assert len(seen) == len(shown) > 0
    assert sorted(v.tobytes() for v in later.vector_DW[seen]) == sorted(v.tobytes() for v in texts.vector_DW[shown])


def test_a_world_that_takes_an_encoder_or_leaves_it_encodes_all_documents_anew(data: Path) -> None:
    rows = documents(np.random.default_rng(3))
    place = place_with(data, rows)
    build(place, END)
    unencoded = make_place(Path(tempfile.mkdtemp()), WORLD)
    plain = replace(place, world=unencoded.world, file=unencoded.file)
    assert build(plain, END).counts["documents"] == len(rows)
    known = sum(row.available_time <= END for row in rows)
    assert CubeStore(place.settings.store, "little").open_texts(from_seconds(END), "news").vector_DW.shape == (known, 0)
    assert build(place, END).counts["documents"] == len(rows)
    assert CubeStore(place.settings.store, "little").open_texts(from_seconds(END), "news").vector_DW.shape == (known, WIDTH)

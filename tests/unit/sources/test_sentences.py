"""Sentence encoders: the vector of a text is its own, and an encoder that is not the declared one is refused."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from pipeline.contracts.modalities import Encoder
from pipeline.errors import ConfigError, NotYetAvailable
from pipeline.settings import Settings
from pipeline.sources.sentences import encoder_of, folder_digest
from pipeline.telemetry import QUIET
from tests.sentences import WIDTH, save_encoder


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = tmp_path_factory.mktemp("data")
    save_encoder(data / "encoder")
    return data


def declared(data: Path, folder: str = "encoder", digest: str | None = None) -> Encoder:
    return Encoder(folder=f"data://{folder}", digest=digest or folder_digest(data / folder), published="2021-08-30T00:00Z")


def settings_of(data: Path) -> Settings:
    return Settings(store=str(data / "store"), data=data, dask=None)


def test_a_text_has_the_same_vector_whatever_else_is_encoded_with_it(data: Path) -> None:
    encode = encoder_of("news", declared(data), settings_of(data), QUIET)
    texts = ["rain again", "", "strøget closed " * 40, "rain again", "jam"]
    vector_DW = encode(texts)
    assert (vector_DW.shape, vector_DW.dtype) == ((5, WIDTH), np.float16)
    np.testing.assert_allclose(np.linalg.norm(vector_DW.astype(float), axis=1), 1, rtol=2e-3)
    assert vector_DW[0].tobytes() == vector_DW[3].tobytes() != vector_DW[4].tobytes()
    again = encoder_of("news", declared(data), settings_of(data), QUIET)
    assert [again([text])[0].tobytes() for text in reversed(texts)] == [v.tobytes() for v in vector_DW[::-1]]
    assert encode([]).shape == (0, WIDTH)


def test_another_encoder_than_the_declared_one_is_refused_with_both_digests(data: Path) -> None:
    with pytest.raises(ConfigError) as found:
        encoder_of("news", declared(data, digest="0" * 64), settings_of(data), QUIET)
    for words in ("texts.news.encoder", "0" * 64, folder_digest(data / "encoder"), "write its digest"):
        assert words in str(found.value)


def test_one_changed_byte_or_name_is_another_encoder(data: Path) -> None:
    other = data / "other"
    shutil.copytree(data / "encoder", other)
    same = folder_digest(other)
    assert same == folder_digest(data / "encoder")
    (other / "vocab.txt").write_text("sun")
    with_vocab = folder_digest(other)
    (other / "vocab.txt").rename(other / "words.txt")
    assert len({same, with_vocab, folder_digest(other)}) == 3


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda folder: (folder / "model.safetensors").rename(folder / "pytorch_model.bin"), "no safetensors"),
        (lambda folder: (folder / "pytorch_model.bin").write_bytes(b"\x80\x04."), "no safetensors"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"\0" * 64), "SentenceTransformer.save"),
        (lambda folder: (folder / "modules.json").write_text("[{}]"), "SentenceTransformer.save"),
    ],
)
def test_a_folder_that_is_no_encoder_is_refused(data: Path, tmp_path: Path, change, said: str) -> None:
    shutil.copytree(data / "encoder", tmp_path / "encoder")
    change(tmp_path / "encoder")
    with pytest.raises(ConfigError, match=r"texts\.news\.encoder") as found:
        encoder_of("news", declared(tmp_path), settings_of(tmp_path), QUIET)
    assert said in str(found.value)


def test_a_folder_that_is_not_there_is_waited_for_and_a_path_elsewhere_is_refused(data: Path) -> None:
    with pytest.raises(NotYetAvailable, match="no folder"):
        encoder_of("news", declared(data, "absent", "0" * 64), settings_of(data), QUIET)
    with pytest.raises(ConfigError, match="absolute"):
        encoder_of("news", declared(data, "../encoder", "0" * 64), settings_of(data), QUIET)


def test_without_the_extra_the_error_names_it(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(ConfigError, match=r"pip install 'cubecast\[sentences\]'"):
        encoder_of("news", declared(data), settings_of(data), QUIET)

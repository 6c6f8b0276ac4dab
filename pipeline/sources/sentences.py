"""Sentence encoders: a vector for each document, by a model that lies in a folder; nothing is fetched and no code of it is run.

Each document is encoded by itself on one thread, so that its vector does not depend on what else is there.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.contracts.modalities import Encoder
from pipeline.cube.documents import Encode
from pipeline.errors import ConfigError
from pipeline.settings import Settings
from pipeline.sources.locations import find_folder
from pipeline.telemetry import Progress

ENCODING_BYTES = 384 * 2**20
"""The libraries of encoders in a process that has not needed them before."""

_DOCUMENT_BYTES = 64 * 2**20
"""What an encoder takes while it has a document of 512 tokens, and its tokenizer."""


def encoder_bytes(encoder: Encoder, settings: Settings) -> int:
    """What an encoder takes once it is loaded, without its libraries: its weights as they lie there, and one document.

    Raises:
        NotYetAvailable: There is no such folder.
        ConfigError: The folder is none that a world may name.
    """
    weights = find_folder(encoder.folder, settings).rglob("*.safetensors")
    return sum(file.stat().st_size for file in weights) + _DOCUMENT_BYTES


def folder_digest(folder: Path) -> str:
    """sha256 over the files of an encoder: of each, sorted by its path below the folder, the path and the content."""
    state = hashlib.sha256()
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        state.update(f"{file.relative_to(folder).as_posix()}\0{file.stat().st_size}\0".encode())
        with file.open("rb") as opened:
            while block := opened.read(1 << 20):
                state.update(block)
    return state.hexdigest()


def encoder_of(stream: str, encoder: Encoder, settings: Settings, progress: Progress) -> Encode:
    """What gives documents their vectors, for `texts.STREAM.encoder` of a world.

    Raises:
        NotYetAvailable: There is no such folder.
        ConfigError: It holds another encoder, weights that are no safetensors, or the extra `sentences` is not installed.
    """
    asked = f"texts.{stream}.encoder"
    folder = find_folder(encoder.folder, settings)
    with progress.stage(asked, 1, "encoders") as stage:
        found = folder_digest(folder)
        if found != encoder.digest:
            mend = "give the folder that the world was made with; for another encoder write its digest, and all documents are encoded anew"
            raise ConfigError(asked=f"{asked}, digest {encoder.digest}", found=f"digest {found} of {folder}", mend=mend)
        model = _loaded(asked, folder)
        stage.advance(1, folder.name)

    def encode(texts: Sequence[str]) -> NDArray[np.float16]:
        from threadpoolctl import threadpool_limits

        known: dict[str, NDArray[np.float16]] = {}
        vector_DW = np.zeros((len(texts), model.get_embedding_dimension()), np.float16)
        with threadpool_limits(1), progress.stage(f"vectors of {stream}", len(texts), "documents") as stage:
            for d, text in enumerate(texts):
                if text not in known:
                    known[text] = model.encode(text, show_progress_bar=False, normalize_embeddings=True).astype(np.float16)
                vector_DW[d] = known[text]
                stage.advance()
        return vector_DW

    return encode


def _loaded(asked: str, folder: Path) -> Any:
    if list(folder.rglob("*.bin")) or not list(folder.rglob("*.safetensors")):
        raise ConfigError(
            asked=asked,
            found=f"{folder} with weights that are no safetensors, or with none",
            mend="keep its weights as *.safetensors alone",
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from sentence_transformers import SentenceTransformer
            from transformers.utils import logging
    except ImportError as error:
        mend = "install the extra: pip install 'cubecast[sentences]'"
        raise ConfigError(asked=asked, found=f"sentence-transformers is not there: {error}", mend=mend) from error
    without_bars: Any = logging.disable_progress_bar
    without_bars()
    try:
        return SentenceTransformer(str(folder), device="cpu", local_files_only=True, trust_remote_code=False)
    except Exception as error:  # whatever a folder that is no encoder makes the library raise
        found = f"{folder}: {type(error).__name__}: {' '.join(str(error).split())[:300]}"
        raise ConfigError(asked=asked, found=found, mend="give a folder as SentenceTransformer.save leaves it") from error

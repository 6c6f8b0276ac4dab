"""What trainings that are not over have learned so far: one file per model, replaced after each epoch, gone at the end."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.errors import NotYetAvailable
from pipeline.stores.objects import ObjectStore
from pipeline.telemetry import Progress, Stage

_SUFFIX = ".safetensors"
_LENGTH = 8
"""Bytes at the start of a safetensors file that say how long its JSON header is."""


@dataclass(frozen=True, kw_only=True)
class Running:
    """A training that has ended an epoch and is not over: its curve so far, and when its newest epoch ended (seconds UTC)."""

    model_id: str
    written: float
    epoch: int
    history: list[dict[str, Any]]


class Checkpoints:
    """The checkpoints of a world's trainings, on a local folder or on S3."""

    def __init__(self, objects: ObjectStore, world_name: str) -> None:
        self._objects, self._base = objects, f"work/{world_name}"

    @contextmanager
    def open(self, model_id: str, progress: Progress) -> Iterator[tuple[Path, Progress]]:
        """The file that a training writes after each epoch and goes on from, and the progress it reports to.

        On S3 the file is a local copy, which goes up whenever the next stage begins: a kill costs at most one epoch.
        """
        key = self._key(model_id)
        if "://" not in self._objects.url(key):
            yield Path(self._objects.url(key)), progress
            return
        with tempfile.TemporaryDirectory(prefix="cubecast-") as folder:
            file = Path(folder) / f"{model_id}{_SUFFIX}"
            if self._objects.exists(key):
                file.write_bytes(self._objects.get(key))
            yield file, _Shipping(self._objects, key, file, progress)

    def forget(self, model_id: str) -> None:
        """Take the checkpoint of a training that is over away."""
        self._objects.delete(self._key(model_id))

    def running(self) -> list[Running]:
        """The trainings that are not over, the newest epoch first; a file that ends meanwhile is no more among them."""
        found = [self._running(name.removesuffix(_SUFFIX)) for name in self._objects.children(self._base) if name.endswith(_SUFFIX)]
        return sorted((each for each in found if each is not None), key=lambda each: -each.written)

    def _running(self, model_id: str) -> Running | None:
        written = self._objects.written(self._key(model_id))
        if written is None:
            return None
        try:
            data = self._objects.get(self._key(model_id))
        except NotYetAvailable:  # it has ended meanwhile
            return None
        length = int.from_bytes(data[:_LENGTH], "little")
        record = json.loads(json.loads(data[_LENGTH : _LENGTH + length])["__metadata__"]["record"])
        return Running(model_id=model_id, written=written, epoch=record["epoch"], history=record["history"])

    def _key(self, model_id: str) -> str:
        return f"{self._base}/{model_id}{_SUFFIX}"


class _Shipping:
    """Progress that sends a file to the store, where it has changed, before each stage."""

    def __init__(self, objects: ObjectStore, key: str, file: Path, progress: Progress) -> None:
        self._objects, self._key, self._file, self._progress = objects, key, file, progress
        self._sent = self._state()

    @contextmanager
    def stage(self, name: str, total: float | None, unit: str = "") -> Iterator[Stage]:
        """A piece of work."""
        state = self._state()
        if state != self._sent:
            self._objects.overwrite(self._key, self._file.read_bytes())
            self._sent = state
        with self._progress.stage(name, total, unit) as stage:
            yield stage

    def _state(self) -> tuple[int, int] | None:
        if not self._file.is_file():
            return None
        found = self._file.stat()
        return found.st_mtime_ns, found.st_size

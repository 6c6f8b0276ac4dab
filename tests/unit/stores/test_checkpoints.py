"""A training that is killed goes on from its last epoch, on disk and on S3, and its curve can be read meanwhile."""

import json
from pathlib import Path

import pytest

from pipeline.stores.checkpoints import Checkpoints
from pipeline.stores.objects import ObjectStore
from pipeline.telemetry import QUIET
from tests.s3 import s3_store


class Killed(Exception):
    pass


def written(file: Path, epoch: int) -> None:
    """Write what a training writes at the end of an epoch."""
    record = {
        "identity": {},
        "epoch": epoch,
        "history": [{"epoch": n + 1, "loss": {}, "validation": {"road": {"relative_to_anchor": 1 - n / 10}}} for n in range(epoch)],
    }
    header = json.dumps({"__metadata__": {"record": json.dumps(record)}}).encode()
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(len(header).to_bytes(8, "little") + header + bytes(epoch))


def train(checkpoints: Checkpoints, *, dies_in: int, epochs: int) -> int:
    """Train some epochs, and die within one; the epoch it began with."""
    with checkpoints.open("m1", QUIET) as (file, progress):
        found = checkpoints.running()
        began = found[0].epoch if file.is_file() else 0
        for epoch in range(began + 1, epochs + 1):
            with progress.stage(f"epoch {epoch}", 1):
                if epoch == dies_in:
                    raise Killed
            written(file, epoch)
    checkpoints.forget("m1")
    return began


def goes_on(root: str) -> None:
    checkpoints = Checkpoints(ObjectStore(root), "tiny")
    with pytest.raises(Killed):
        train(checkpoints, dies_in=4, epochs=5)
    [running] = checkpoints.running()
    assert (running.model_id, running.epoch, len(running.history)) == ("m1", 3, 3)
    assert train(checkpoints, dies_in=0, epochs=5) == 3, "no epoch that was ended is trained again"
    assert checkpoints.running() == []


def test_on_disk(tmp_path):
    goes_on(str(tmp_path))


def test_on_s3():
    with s3_store() as root:
        goes_on(root)

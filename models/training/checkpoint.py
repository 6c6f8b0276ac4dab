"""Checkpoints: one safetensors file with its JSON in the header, replaced whole or not at all."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from pipeline.errors import ContractError, StoreError


def write_checkpoint(path: Path, tensors: dict[str, Tensor], record: dict[str, Any]) -> None:
    """Put a checkpoint in place of the last one, atomically and durably.

    Raises:
        StoreError: The folder is full or cannot be written; the last checkpoint is still there.
    """
    data = save({name: t.detach().contiguous() for name, t in tensors.items()}, metadata={"record": json.dumps(record, sort_keys=True)})
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, staged = tempfile.mkstemp(prefix=".staged-", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(staged, path)
        except BaseException:
            os.unlink(staged)
            raise
    except OSError as error:
        raise StoreError(
            asked=f"checkpoint {path} ({len(data)} bytes)",
            found=f"{type(error).__name__}: {error.strerror or error}",
            mend="free space, then run the same command again; it goes on from the last checkpoint",
        ) from error


def read_checkpoint(path: Path, identity: dict[str, Any]) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """The checkpoint's tensors and record; None where there is no checkpoint.

    Raises:
        ContractError: It is unreadable, or its `identity` is not the one given.
    """
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            record = json.loads(file.metadata()["record"])
            tensors = {name: torch.clone(file.get_tensor(name)) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ContractError(
            asked=f"checkpoint {path}", found=f"unreadable: {error}", mend="delete it; training then starts anew"
        ) from error
    known = record.get("identity") if isinstance(record, dict) else None
    if not isinstance(known, dict):
        raise ContractError(
            asked=f"checkpoint {path}", found="a record that does not say of which training", mend="delete it; training then starts anew"
        )
    for key, value in identity.items():
        if known.get(key) != value:
            raise ContractError(
                asked=f"checkpoint {path} of {key} {value}",
                found=f"{key} {known.get(key)}",
                mend="give another checkpoint file, or delete this one",
            )
    return tensors, record

"""Fitted: what a training leaves, as bytes without pickle, and how it is read back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load as load_arrays
from safetensors.numpy import save as save_arrays

from models.shapes import DomainShape, shape_from
from pipeline.contracts.windows import WindowSet
from pipeline.errors import ContractError

SCHEMA = 1
"""Version of the state and of its meta data."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Fitted:
    """A fitted model: `state` is a safetensors file, `meta` is JSON-able; both together make a Predictor again."""

    state: bytes
    meta: dict[str, Any]


def pack(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """Arrays as the bytes of a safetensors file, the same bytes for the same arrays."""
    return bytes(save_arrays({name: np.ascontiguousarray(arrays[name]) for name in sorted(arrays)}))


def unpack(state: bytes) -> dict[str, NDArray[Any]]:
    """The arrays of a safetensors file.

    Raises:
        ContractError: The bytes are no such file.
    """
    try:
        return dict(load_arrays(state))
    except SafetensorError as error:
        raise ContractError(asked="model state", found=f"no safetensors file: {error}", mend="fetch it again, or train again") from error


def common_meta(kind: str, windows: WindowSet, shapes: Mapping[str, DomainShape]) -> dict[str, Any]:
    """What every fitted model says about itself."""
    return {
        "schema": SCHEMA,
        "kind": kind,
        "world": windows.world,
        "as_of": windows.as_of,
        "snapshot": windows.snapshot,
        "window_digest": windows.digest,
        "domains": {name: shape.as_json() for name, shape in sorted(shapes.items())},
    }


def shape_arrays(shapes: Mapping[str, DomainShape]) -> dict[str, NDArray[Any]]:
    """The arrays of all shapes, named `shape/DOMAIN/NAME`."""
    return {f"shape/{name}/{key}": array for name, shape in shapes.items() for key, array in shape.arrays().items()}


def read_shapes(meta: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]], kind: str) -> dict[str, DomainShape]:
    """The shapes of a fitted model.

    Raises:
        ContractError: It is of another kind or schema, or something is missing.
    """
    if meta.get("kind") != kind or meta.get("schema") != SCHEMA:
        raise ContractError(
            asked=f"model state of kind '{kind}', schema {SCHEMA}",
            found=f"kind '{meta.get('kind')}', schema {meta.get('schema')}",
            mend="train again with this version",
        )
    found = {}
    for name, plain in meta["domains"].items():
        prefix = f"shape/{name}/"
        own = {key.removeprefix(prefix): array for key, array in arrays.items() if key.startswith(prefix)}
        if not own:
            raise ContractError(asked=f"model state of domain '{name}'", found="incomplete", mend="fetch it again, or train again")
        found[name] = shape_from(name, plain, own)
    return found

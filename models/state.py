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

from models.migration import SCHEMA, upgraded
from models.shapes import DomainShape, TextShape, shape_from
from pipeline.contracts.windows import WindowSet
from pipeline.errors import ContractError


@dataclass(frozen=True, kw_only=True, eq=False)
class Fitted:
    """A fitted model: `state` is a safetensors file, `meta` is JSON-able; both together make a Predictor again.

    Of several processes that trained it together only the `first` should write it.
    """

    state: bytes
    meta: dict[str, Any]
    first: bool = True


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


def common_meta(kind: str, windows: WindowSet, shapes: Mapping[str, DomainShape], texts: Mapping[str, TextShape]) -> dict[str, Any]:
    """What every fitted model says about itself."""
    return {
        "schema": SCHEMA,
        "kind": kind,
        "world": windows.world,
        "as_of": windows.as_of,
        "snapshot": windows.snapshot,
        "window_digest": windows.digest,
        "domains": {name: shape.as_json() for name, shape in sorted(shapes.items())},
        "texts": {name: shape.as_json() for name, shape in sorted(texts.items())},
    }


def shape_arrays(shapes: Mapping[str, DomainShape]) -> dict[str, NDArray[Any]]:
    """The arrays of all shapes, named `shape/DOMAIN/NAME`."""
    return {f"shape/{name}/{key}": array for name, shape in shapes.items() for key, array in shape.arrays().items()}


def opened(state: bytes, meta: Mapping[str, Any], kind: str) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Meta data and arrays of a fitted model, as this version writes them.

    Raises:
        ContractError: It is of another kind, of a schema that this version does not know, or no state at all.
    """
    if meta.get("kind") != kind:
        raise ContractError(
            asked=f"model state of kind '{kind}'", found=f"kind '{meta.get('kind')}'", mend="give the files of the model that is meant"
        )
    return upgraded(meta, unpack(state))


def read_shapes(meta: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> dict[str, DomainShape]:
    """The shapes of a fitted model.

    Raises:
        ContractError: Something is missing.
    """
    found = {}
    for name, plain in meta["domains"].items():
        own = below(arrays, f"shape/{name}/")
        if not own:
            raise ContractError(asked=f"model state of domain '{name}'", found="incomplete", mend="fetch it again, or train again")
        found[name] = shape_from(name, plain, own)
    return found


def read_texts(meta: Mapping[str, Any]) -> dict[str, TextShape]:
    """The streams of documents that a fitted model knows."""
    return {name: TextShape(**plain) for name, plain in meta["texts"].items()}


def below(named: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """What has names with this prefix, by the rest of its name."""
    return {name.removeprefix(prefix): value for name, value in named.items() if name.startswith(prefix)}

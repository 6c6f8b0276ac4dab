"""A WindowSet as one safetensors file, for a machine that has neither the cube nor Dask nor Zarr."""

from __future__ import annotations

import json
import os
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.contracts.windows import DomainWindows, Future, Scaler, Texts, WindowSet
from pipeline.errors import ContractError, NotYetAvailable, StoreError

_FORMAT = "cubecast windows 2"
_KINDS: dict[str, type[Any]] = {kind.__name__: kind for kind in (WindowSet, DomainWindows, Future, Texts, Scaler)}
Arrays = dict[str, NDArray[Any]]


def save_windows(windows: WindowSet, path: Path) -> None:
    """Write a file, whole or not at all.

    Raises:
        StoreError: The disk refused.
    """
    from safetensors.numpy import save_file

    arrays: Arrays = {}
    settings = {"format": _FORMAT, "windows": _taken_apart(windows, "", arrays)}
    staged = path.with_name(f".staged-{os.getpid()}-{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(arrays, staged, metadata={"cubecast": json.dumps(settings)})
        os.replace(staged, path)
    except OSError as error:
        raise StoreError(asked=f"write {path}", found=str(error), mend="free space or mend access, then repeat") from error
    finally:
        staged.unlink(missing_ok=True)


def load_windows(path: Path) -> WindowSet:
    """What `save_windows` wrote, with the same digest.

    Raises:
        NotYetAvailable: There is no such file.
        ContractError: It is no such file.
    """
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise NotYetAvailable(asked=f"windows {path}", found="no such file", mend="write it with save_windows")
    try:
        with safe_open(path, framework="numpy") as file:
            settings = json.loads((file.metadata() or {}).get("cubecast", "{}"))
            if settings.get("format") != _FORMAT:
                raise ContractError(asked=f"windows {path}", found=f"format {settings.get('format')}", mend=f"write it again as {_FORMAT}")
            arrays = {key: file.get_tensor(key) for key in list(file.keys())}
    except SafetensorError as error:
        raise ContractError(asked=f"windows {path}", found=f"no whole safetensors file: {error}", mend="write it again") from error
    found = _put_together(settings["windows"], arrays)
    if not isinstance(found, WindowSet):
        raise ContractError(asked=f"windows {path}", found=f"a {type(found).__name__}", mend="write it again")
    return found


def _taken_apart(content: Any, place: str, arrays: Arrays) -> Any:
    """Content as JSON, its arrays put aside under their place."""
    if isinstance(content, np.ndarray):
        arrays[place] = np.ascontiguousarray(content)
        return {"array": place}
    if is_dataclass(content) and not isinstance(content, type):
        parts = {f.name: _taken_apart(getattr(content, f.name), f"{place}/{f.name}", arrays) for f in fields(content)}
        return {"kind": type(content).__name__, "parts": parts}
    if isinstance(content, dict):
        return {"named": {key: _taken_apart(value, f"{place}/{key}", arrays) for key, value in content.items()}}
    if isinstance(content, tuple):
        return [_taken_apart(value, f"{place}/{k}", arrays) for k, value in enumerate(content)]
    return content


def _put_together(content: Any, arrays: Arrays) -> Any:
    """What was taken apart."""
    if isinstance(content, list):
        return tuple(_put_together(value, arrays) for value in content)
    if not isinstance(content, dict):
        return content
    if "array" in content:
        return arrays[content["array"]]
    inner = {key: _put_together(value, arrays) for key, value in (content.get("parts") or content.get("named") or {}).items()}
    return _KINDS[content["kind"]](**inner) if "kind" in content else inner

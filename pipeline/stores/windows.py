"""A WindowSet as one safetensors file, for a machine that has neither the cube nor Dask nor Zarr."""

from __future__ import annotations

import json
import os
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.contracts.windows import DomainWindows, Scaler, WindowSet
from pipeline.errors import ContractError, NotYetAvailable, StoreError

_FORMAT = "cubecast windows 1"
_HEADER = ("world", "world_digest", "zone", "as_of", "snapshot")


def save_windows(windows: WindowSet, path: Path) -> None:
    """Write a file, whole or not at all.

    Raises:
        StoreError: The disk refused.
    """
    from safetensors.numpy import save_file

    arrays: dict[str, np.ndarray[Any, Any]] = {}
    settings: dict[str, Any] = {"format": _FORMAT, "domains": {}} | {k: getattr(windows, k) for k in _HEADER}
    for name, domain in windows.domains.items():
        plain: dict[str, Any] = {}
        for field in fields(DomainWindows):
            content = getattr(domain, field.name)
            if isinstance(content, Scaler):
                arrays |= {f"{name}/scaler/{f.name}": np.ascontiguousarray(getattr(content, f.name)) for f in fields(Scaler)}
            elif isinstance(content, np.ndarray):
                arrays[f"{name}/{field.name}"] = np.ascontiguousarray(content)
            else:
                plain[field.name] = content
        settings["domains"][name] = plain
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
    domains = {name: _domain(name, plain, arrays) for name, plain in settings["domains"].items()}
    return WindowSet(domains=domains, **{k: settings[k] for k in _HEADER})


def _domain(name: str, plain: dict[str, Any], arrays: dict[str, np.ndarray[Any, Any]]) -> DomainWindows:
    content: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in plain.items()}
    content |= {k.split("/")[1]: v for k, v in arrays.items() if k.startswith(f"{name}/") and k.count("/") == 1}
    scaler = Scaler(**{f.name: arrays[f"{name}/scaler/{f.name}"] for f in fields(Scaler)})
    return DomainWindows(**content, scaler=scaler)

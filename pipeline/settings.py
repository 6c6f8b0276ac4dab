"""The only reader of the environment."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

VERSION = "0.1.0"
_PROJECT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Where things are and go.

    Attributes:
        store: Root of everything Cubecast keeps: a local folder or an `s3://bucket/prefix` URL.
        data: Folder that `data://` locations of world files name, or None where there is none.
        dask: Address of a Dask scheduler (`tcp://host:8786`), `processes:N` for a local cluster, or None for threads.
    """

    store: str
    data: Path | None
    dask: str | None


def read_settings(environment: Mapping[str, str] | None = None) -> Settings:
    """The settings that the environment gives: CUBECAST_STORE, CUBECAST_DATA, CUBECAST_DASK."""
    env = os.environ if environment is None else environment
    shared = _PROJECT.parent / "shared" / "data"
    data = Path(env["CUBECAST_DATA"]) if env.get("CUBECAST_DATA") else shared if shared.is_dir() else None
    store = env.get("CUBECAST_STORE") or "./store"
    return Settings(store=store if "://" in store else str(Path(store).resolve()), data=data, dask=env.get("CUBECAST_DASK") or None)


def code_version() -> str:
    """Version and a digest of the source files that make results: `0.1.0+3f2a9c81d0b4`."""
    state = hashlib.sha256()
    for folder in ("pipeline", "models"):
        for path in sorted((_PROJECT / folder).rglob("*.py")):
            state.update(path.relative_to(_PROJECT).as_posix().encode() + b"\0" + path.read_bytes())
    return f"{VERSION}+{state.hexdigest()[:12]}"

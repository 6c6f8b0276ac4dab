"""The only reader of the environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

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
    return Settings(
        store=store if "://" in store else str(Path(store).resolve()), data=data, dask=env.get("CUBECAST_DASK") or None
    )

"""Older states of fitted models, brought up to this version one step at a time; what cannot be read is refused."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import ContractError

SCHEMA = 2
"""Version of a fitted model's state and of its meta data."""

Meta = dict[str, Any]
Arrays = dict[str, NDArray[Any]]


def upgraded(meta: Mapping[str, Any], arrays: Arrays) -> tuple[Meta, Arrays]:
    """Meta data and arrays as this version writes them; forecasts stay the same.

    Raises:
        ContractError: The state is of a version that this one does not know.
    """
    version = meta.get("schema")
    if not isinstance(version, int) or not 1 <= version <= SCHEMA:
        raise ContractError(
            asked=f"a model state of schema 1 to {SCHEMA}",
            found=f"schema {version}",
            mend="read it with the version of Cubecast that wrote it (its card says which), or train again with this one",
        )
    found = dict(meta), dict(arrays)
    for step in range(version, SCHEMA):
        found = _STEPS[step](*found)
    return found[0] | {"schema": SCHEMA}, found[1]


def _from_1(meta: Meta, arrays: Arrays) -> tuple[Meta, Arrays]:
    """Schema 2 knows static features of nodes, forecasts by others, documents, and maps in a grid's summary."""
    domains = {name: plain | {"future": []} for name, plain in meta["domains"].items()}
    for name, plain in domains.items():
        arrays[f"shape/{name}/position_N2"] = np.zeros((len(plain["node_ids"]), 2), np.float32)
        arrays[f"shape/{name}/future_2F"] = np.zeros((2, 0), np.float32)
    meta = meta | {"domains": domains, "texts": {}}
    if meta["kind"] == "baselines":
        return meta | {"kinds": ["persistence", "historical_average", "ridge"]}, arrays
    width = int(meta["config"]["hidden"])
    for name in meta["leading"]:
        place = f"weights/{name}/nets.{name}.place"
        arrays |= {f"{place}.weight": np.zeros((width, 2), np.float32), f"{place}.bias": np.zeros(width, np.float32)}
    return meta | {"config": meta["config"] | {"grid_tokens": 0}}, arrays


_STEPS: dict[int, Callable[[Meta, Arrays], tuple[Meta, Arrays]]] = {1: _from_1}

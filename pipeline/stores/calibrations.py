"""Calibrations at rest: how a model's quantiles are moved, after each block of time since its cut-off."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.calibration.calibration import Calibration, Cases
from pipeline.contracts.provenance import digest_bytes
from pipeline.errors import ConflictError, ContractError
from pipeline.stores.objects import ObjectStore
from pipeline.stores.turns import taking_turns

_FORMAT = "cubecast calibration 3"
_CASES = tuple(field.name for field in fields(Cases))

States = Mapping[str, Mapping[str, Calibration]]
"""Per domain and predictor (`joint` or a baseline) its calibration."""


def dump_calibrations(states: States, groups: Mapping[str, NDArray[np.int64]]) -> bytes:
    """Calibrations, and per domain the group of each node, as bytes that are the same for the same content."""
    from safetensors.numpy import save

    arrays: dict[str, NDArray[Any]] = {f"{domain}/groups": group_N.astype(np.int16) for domain, group_N in groups.items()}
    described: dict[str, Any] = {}
    for domain, by_model in states.items():
        for model, state in by_model.items():
            described[f"{domain}/{model}"] = {"block": state.block, "events": list(state.events)}
            arrays |= {f"{domain}/{model}/{name}": getattr(state.cases, name).astype(np.float32) for name in _CASES}
            arrays[f"{domain}/{model}/missed_V"] = state.missed_V
    content = json.dumps({"format": _FORMAT, "states": described}, sort_keys=True)
    return bytes(save({name: np.ascontiguousarray(arrays[name]) for name in sorted(arrays)}, metadata={"cubecast": content}))


def load_calibrations(data: bytes) -> tuple[dict[str, dict[str, Calibration]], dict[str, NDArray[np.int64]]]:
    """What `dump_calibrations` wrote: calibrations by domain and predictor, and per domain the group of each node.

    Raises:
        ContractError: It is no such file.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        arrays = load(data)
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        described = json.loads(header["__metadata__"]["cubecast"])
    except (SafetensorError, ValueError, KeyError) as error:
        raise ContractError(asked="a calibration", found=f"no readable one: {error}", mend="run cubecast evaluate again") from error
    if described["format"] != _FORMAT:
        raise ContractError(asked="a calibration", found=described["format"], mend="run cubecast evaluate again")
    states: dict[str, dict[str, Calibration]] = {}
    for name, content in described["states"].items():
        domain, model = name.split("/")
        cases = Cases(**{field: arrays[f"{name}/{field}"].astype(np.float64) for field in _CASES})
        missed = arrays[f"{name}/missed_V"]
        state = Calibration(block=content["block"], events=tuple(content["events"]), cases=cases, missed_V=missed)
        states.setdefault(domain, {})[model] = state
    groups = {name.split("/")[0]: array.astype(np.int64) for name, array in arrays.items() if name.endswith("/groups")}
    return states, groups


class CalibrationStore:
    """What a model's calibration became, block by block: a view, for it follows from the model and the cube.

    `origin` are the bytes that an evaluation left; another evaluation begins another line.
    """

    def __init__(self, objects: ObjectStore, world_name: str, model_id: str, origin: bytes) -> None:
        self._objects = objects
        self._base = f"registry/{world_name}/calibrations/{model_id}-{digest_bytes(origin)[:12]}"

    @contextlib.contextmanager
    def turn(self, domain: str) -> Iterator[None]:
        """One process at a time makes the calibrations of a domain, so that none makes what another is about to keep."""
        with taking_turns(self._objects.url(f"{self._base}/{domain}")):
            yield

    def read(self, domain: str, block: int) -> bytes | None:
        """The calibrations of a domain after a block, or None where nobody made them yet."""
        key = self._key(domain, block)
        return self._objects.get(key) if self._objects.exists(key) else None

    def keep(self, domain: str, block: int, data: bytes) -> bytes:
        """Keep the calibrations of a domain after a block; those kept first are the ones in force, and are returned."""
        try:
            self._objects.put_once(self._key(domain, block), data)
        except ConflictError:
            return self._objects.get(self._key(domain, block))
        return data

    def _key(self, domain: str, block: int) -> str:
        return f"{self._base}/{domain}/{block:08d}.safetensors"
